/** Latencies of one kind of operation, and what is told of them. */
import type { Latency } from './report.ts'

/** 1.6 MB of numbers; a loop that gets so far has measured enough. */
export const MOST_SAMPLES = 200_000

export class Latencies {
  readonly #milliseconds: number[] = []

  get count(): number {
    return this.#milliseconds.length
  }

  add(milliseconds: number): void {
    if (this.#milliseconds.length < MOST_SAMPLES) this.#milliseconds.push(milliseconds)
  }

  /** `undefined` without samples. With fewer than 100 of them, p99 is the largest. */
  summary(): Latency | undefined {
    const sorted = Float64Array.from(this.#milliseconds).sort()
    if (sorted.length === 0) return undefined
    // Nearest rank: the smallest sample that at least this part of all samples does not exceed.
    const at = (part: number): number => round(sorted[Math.ceil(part * sorted.length) - 1] as number)
    return { p50Us: at(0.5), p99Us: at(0.99), maxUs: at(1) }
  }
}

/** Milliseconds as microseconds, with one digit behind the point. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 10_000) / 10
}
