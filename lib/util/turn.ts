/**
 * One at a time, first come first served.
 *
 * Holds the check-then-act sequences of a log together: whatever runs in a turn sees no other turn's half-done work.
 * A failure belongs to the one who asked; the next in line runs all the same. A turn must not wait for a turn of the
 * same queue, which would wait for itself.
 */
export class Turn {
  #last: Promise<unknown> = Promise.resolve()
  #unfinished = 0

  /** True if nothing runs or waits. */
  get idle(): boolean {
    return this.#unfinished === 0
  }

  /** True if somebody waits behind what runs. */
  get isAwaited(): boolean {
    return this.#unfinished > 1
  }

  /**
   * Runs `f` after everything asked for before has settled, never synchronously.
   *
   * @returns what `f` gives or throws.
   */
  run<T>(f: () => Promise<T> | T): Promise<T> {
    this.#unfinished += 1
    const result = this.#last.then(f)
    const done = (): void => {
      this.#unfinished -= 1
    }
    // `#last` never rejects, so a failed turn neither stops the queue nor counts as an unhandled rejection here.
    this.#last = result.then(done, done)
    return result
  }
}
