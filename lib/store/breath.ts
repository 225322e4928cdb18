import type { Clock } from '../util/clock.ts'

/** So long a walk over thousands of logs may keep the event loop from turning. */
const LONGEST_MS = 2

/** Lets the event loop turn now and then in a walk whose steps seldom wait for anything. */
export class Breath {
  readonly #clock: Clock
  #since = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async take(): Promise<void> {
    if (this.#clock.monotonic() - this.#since < LONGEST_MS) return
    await new Promise(resolve => setImmediate(resolve))
    this.#since = this.#clock.monotonic()
  }
}
