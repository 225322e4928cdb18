/**
 * Tells whether the wall clock may decide what is old enough to be deleted.
 *
 * A wall clock that is set ahead by mistake makes every record look old at once. The monotonic clock does not move with
 * it, so the two going apart shows the jump. The rule:
 *
 *   - Ahead by more than `boundMs` (5 minutes) of what the monotonic clock says: suspended, retention by time waits.
 *   - It ends when the wall clock is back where it was to be, when somebody calls `acknowledge`, or when `settleMs`
 *     (1 hour) have passed on the monotonic clock without a further jump: then the new time is taken for the right one.
 *   - Set back: records only look younger, nothing is suspended. Ahead again from there is a jump like any other.
 *   - Up to 1 ms in a second is a clock that is being adjusted, however long it goes on.
 *
 * A machine that slept looks the same as a clock set ahead: retention goes on an hour after it woke up. What happens
 * to a clock while no process runs cannot be seen by anybody.
 */
import type { Clock } from '../util/clock.ts'

export const DEFAULT_JUMP_BOUND_MS = 5 * 60_000
export const DEFAULT_SETTLE_MS = 60 * 60_000
/** NTP adjusts a clock by at most half of it. */
const ADJUSTMENT_PER_MS = 1 / 1000

export type ClockVerdict =
  | { readonly trusted: true }
  | {
      readonly trusted: false
      /** How far the wall clock is ahead of where it was to be. */
      readonly jumpMs: number
      /** Until the new time is taken for the right one, if nothing else happens. */
      readonly settlesInMs: number
    }

export interface ClockGuardOptions {
  readonly boundMs?: number
  readonly settleMs?: number
}

interface Suspension {
  /** Monotonic. */
  since: number
  /** Wall less monotonic, when it was last found to be a jump. */
  ahead: number
}

const TRUSTED: ClockVerdict = { trusted: true }

export class ClockGuard {
  readonly #clock: Clock
  readonly #boundMs: number
  readonly #settleMs: number
  /** Wall less monotonic, as it is to be. */
  #expected: number
  #lastLook: number
  #suspended: Suspension | undefined

  constructor(clock: Clock, { boundMs = DEFAULT_JUMP_BOUND_MS, settleMs = DEFAULT_SETTLE_MS }: ClockGuardOptions = {}) {
    this.#clock = clock
    this.#boundMs = boundMs
    this.#settleMs = settleMs
    this.#expected = clock.now() - clock.monotonic()
    this.#lastLook = clock.monotonic()
  }

  /** Looks at both clocks. To be called before each time they decide; between two calls a jump there and back is unseen. */
  check(): ClockVerdict {
    const monotonic = this.#clock.monotonic()
    const found = this.#clock.now() - monotonic
    const elapsed = monotonic - this.#lastLook
    this.#lastLook = monotonic
    const jump = found - this.#expected
    if (jump <= this.#boundMs) {
      this.#suspended = undefined
      // Set back it is followed at once; ahead only as fast as clocks are adjusted.
      this.#expected += Math.min(jump, elapsed * ADJUSTMENT_PER_MS)
      return TRUSTED
    }
    this.#suspended ??= { since: monotonic, ahead: found }
    if (Math.abs(found - this.#suspended.ahead) > this.#boundMs) this.#suspended = { since: monotonic, ahead: found }
    const settlesInMs = this.#suspended.since + this.#settleMs - monotonic
    if (settlesInMs <= 0) {
      this.acknowledge()
      return TRUSTED
    }
    return { trusted: false, jumpMs: Math.round(jump), settlesInMs: Math.ceil(settlesInMs) }
  }

  /** The wall clock is right as it is. */
  acknowledge(): void {
    this.#lastLook = this.#clock.monotonic()
    this.#expected = this.#clock.now() - this.#lastLook
    this.#suspended = undefined
  }
}
