import type { Clock } from '../util/clock.ts'

const FIRST_PAUSE_MS = 15_000
const LONGEST_PAUSE_MS = 60 * 60_000

export interface Setback {
  /** In a row. */
  readonly failures: number
  readonly error: { readonly code: string; readonly message: string }
  /** Wall clock, ms. */
  readonly failedAt: number
  /** On the monotonic clock: not before. */
  readonly retryAt: number
}

/** What goes wrong again and again is tried after pauses that double, up to an hour, until it goes well once. */
export class Setbacks<T extends object> {
  readonly #clock: Clock
  readonly #setbacks = new Map<T, Setback>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(thing: T): Setback | undefined {
    return this.#setbacks.get(thing)
  }

  mayTry(thing: T): boolean {
    const setback = this.#setbacks.get(thing)
    return setback === undefined || setback.retryAt <= this.#clock.monotonic()
  }

  failed(thing: T, error: Setback['error']): Setback {
    const failures = (this.#setbacks.get(thing)?.failures ?? 0) + 1
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1))
    const setback = { failures, error, failedAt: this.#clock.now(), retryAt: this.#clock.monotonic() + pause }
    this.#setbacks.set(thing, setback)
    return setback
  }

  went(thing: T): void {
    this.#setbacks.delete(thing)
  }
}
