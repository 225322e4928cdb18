/** A timer that can be called off. Calling off one that has fired does nothing. */
export interface Timer {
  cancel(): void
}

export interface TimerOptions {
  /** The process does not end by itself before the timer has fired or was called off. */
  readonly keepsProcess?: boolean
}

/** The only source of time in the engine, so that a test or a simulation can own it. */
export interface Clock {
  /** Wall clock, whole milliseconds since 1970. May jump, in both directions. */
  now(): number
  /** Milliseconds from an arbitrary start, with a fraction. Never goes back. For durations. */
  monotonic(): number
  /**
   * Calls `f` once, at the earliest `ms` milliseconds from now. Any finite `ms` is good. The timer does not keep the
   * process alive, unless asked to: what must happen is awaited by someone, what need not happen may be dropped at
   * exit.
   */
  setTimer(ms: number, f: () => void, options?: TimerOptions): Timer
}

/** Above this, Node fires a timer after 1 ms instead of waiting. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, f, { keepsProcess = false } = {}) {
    let left = ms
    let handle = wait()
    function wait(): NodeJS.Timeout {
      const part = Math.min(left, LONGEST_TIMEOUT_MS)
      left -= part
      const timer = setTimeout(() => {
        if (left > 0) handle = wait()
        else f()
      }, part)
      return keepsProcess ? timer : timer.unref()
    }
    return { cancel: () => clearTimeout(handle) }
  }
}
