import type { Clock, Timer } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'

/** Longest rest in one go, ms: a change of the rate, a pause or a cancellation need not wait for more. */
const LONGEST_REST_MS = 200
/** What was not used in the last second is lost: no burst makes up for a pause. */
const LARGEST_CREDIT_MS = 1_000

/**
 * How fast a cleaning goes: bytes a second, read and written together, and whether at all. One object may serve many
 * cleanings, one after the other or at once; all of them share the rate.
 */
export class CleaningPace {
  readonly #clock: Clock
  #bytesPerSecond: number | undefined
  #isPaused = false
  /** On the monotonic clock: when all that was spent is paid for. */
  #paidUntil = Number.NEGATIVE_INFINITY
  readonly #waiting = new Set<() => void>()

  /** @param bytesPerSecond - above 0; default no limit. */
  constructor(clock: Clock, bytesPerSecond?: number) {
    this.#clock = clock
    this.#bytesPerSecond = bytesPerSecond
  }

  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond
  }

  /** Takes effect at the next rest. */
  set bytesPerSecond(rate: number | undefined) {
    this.#bytesPerSecond = rate
    this.#wake()
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Cleanings stop at the next piece they come to, and hold no more than they have. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#wake()
  }

  /**
   * Notes bytes that were read or written, and rests as long as the rate, or a pause, asks for.
   *
   * @throws {LogError} ABORTED once `signal` says so.
   */
  async spend(bytes: number, signal?: AbortSignal): Promise<void> {
    const rate = this.#bytesPerSecond
    const now = this.#clock.monotonic()
    if (rate !== undefined) {
      this.#paidUntil = Math.max(this.#paidUntil, now - LARGEST_CREDIT_MS) + (bytes / rate) * 1000
    }
    for (;;) {
      throwIfAborted(signal)
      const rest = this.#bytesPerSecond === undefined ? 0 : this.#paidUntil - this.#clock.monotonic()
      if (!this.#isPaused && rest <= 0) return
      await this.#rest(this.#isPaused ? undefined : Math.min(rest, LONGEST_REST_MS), signal)
    }
  }

  #rest(ms: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      let timer: Timer | undefined
      const done = (): void => {
        timer?.cancel()
        signal?.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      this.#waiting.add(done)
      signal?.addEventListener('abort', done)
      if (ms !== undefined) timer = this.#clock.setTimer(ms, done)
    })
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done()
  }
}

/** @throws {LogError} ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new LogError('ABORTED', 'the cleaning was cancelled', {}, signal.reason)
}
