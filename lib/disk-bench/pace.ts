/**
 * How a measuring loop stays interruptible. Disk rows are measured with synchronous calls, because a hop through the
 * thread pool costs as much as a fast disk's sync; between two of them the loop lets signals and progress through.
 */
import { performance } from 'node:perf_hooks'
import { LogError } from '../util/errors.ts'

const BREATH_MS = 20

export class Pace {
  readonly #signal: AbortSignal
  #lastBreath = performance.now()

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Whether `breathe` is due; asked once an operation, outside what is timed. */
  get isDue(): boolean {
    return performance.now() - this.#lastBreath > BREATH_MS
  }

  /**
   * Lets timers, signals and output run.
   *
   * @throws {LogError} ABORTED once the signal has fired.
   */
  async breathe(): Promise<void> {
    // A signal's handler runs in the poll phase: one turn of the loop is over after the second immediate.
    await new Promise(resolve => setImmediate(resolve))
    await new Promise(resolve => setImmediate(resolve))
    this.#lastBreath = performance.now()
    this.check()
  }

  /**
   * For loops that await anyway.
   *
   * @throws {LogError} ABORTED once the signal has fired.
   */
  check(): void {
    if (this.#signal.aborted) throw new LogError('ABORTED', 'the benchmark was interrupted')
  }
}

/** Seconds since `begun`, a value of `performance.now()`; never 0, so that rates are finite. */
export function secondsSince(begun: number): number {
  return Math.max(performance.now() - begun, 0.001) / 1000
}
