import type { Clock, Timer } from '../../lib/util/clock.ts'

/**
 * A clock that stands still until it is told to go on. Timers fire in the order of their time, those of one time in
 * the order they were set, with the clock showing the moment they were set for.
 */
export class ManualClock implements Clock {
  #wall: number
  #monotonic = 0
  #timers: { at: number; f: () => void }[] = []

  constructor(wall = 1_700_000_000_000) {
    this.#wall = wall
  }

  now(): number {
    return this.#wall
  }

  monotonic(): number {
    return this.#monotonic
  }

  setTimer(ms: number, f: () => void): Timer {
    const timer = { at: this.#monotonic + Math.max(0, ms), f }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter(other => other !== timer)
      }
    }
  }

  /** Timers that have neither fired nor been called off. */
  get pendingTimers(): number {
    return this.#timers.length
  }

  /** Lets `ms` milliseconds pass on both clocks and fires what falls due, also what those timers set. */
  advance(ms: number): void {
    const target = this.#monotonic + ms
    for (;;) {
      const next = this.#earliestUpTo(target)
      if (next === undefined) break
      this.#timers = this.#timers.filter(other => other !== next)
      this.#moveTo(next.at)
      next.f()
    }
    this.#moveTo(target)
  }

  /** Like `advance`, but gives promises a chance to run after each millisecond-exact step: for code that awaits. */
  async advanceAsync(ms: number): Promise<void> {
    const target = this.#monotonic + ms
    await settle()
    for (;;) {
      const next = this.#earliestUpTo(target)
      if (next === undefined) break
      this.advance(next.at - this.#monotonic)
      await settle()
    }
    this.#moveTo(target)
    await settle()
  }

  /** Sets the wall clock alone, as an operator or a time server does. May go back. */
  jumpTo(wall: number): void {
    this.#wall = wall
  }

  #earliestUpTo(target: number): { at: number; f: () => void } | undefined {
    let earliest: { at: number; f: () => void } | undefined
    for (const timer of this.#timers) {
      if (timer.at <= target && (earliest === undefined || timer.at < earliest.at)) earliest = timer
    }
    return earliest
  }

  #moveTo(monotonic: number): void {
    this.#wall += monotonic - this.#monotonic
    this.#monotonic = monotonic
  }
}

function settle(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
