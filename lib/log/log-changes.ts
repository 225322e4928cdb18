/**
 * What was done to records that readers may have seen already, for those that keep something of what they read: cuts of
 * the log's end, and segments that were replaced by what compaction left of them.
 *
 * Whoever keeps something remembers `count` and asks later what happened `since`. Raising the log start is not among
 * these: `logStartOffset` tells it at any time.
 */
export interface ChangesSince {
  /** Lowest offset that the log was cut at: what lies there and above may be something else now. */
  readonly truncatedTo: number | undefined
  /** Records below it may be gone because later ones of their keys, or nothing, took their place. Exclusive. */
  readonly replacedUpTo: number | undefined
}

/** A reader that looks less often than this is told the worst. */
const REMEMBERED = 64

export class LogChanges {
  #count = 0
  readonly #last: ChangesSince[] = []

  /** How many there have been. */
  get count(): number {
    return this.#count
  }

  /** In the same step in which readers stop seeing what lies at `offset` and above. */
  truncated(offset: number): void {
    this.#push({ truncatedTo: offset, replacedUpTo: undefined })
  }

  /** In the same step in which readers begin to see the segments that compaction left. */
  replaced(upTo: number): void {
    this.#push({ truncatedTo: undefined, replacedUpTo: upTo })
  }

  since(count: number): ChangesSince {
    const missed = this.#count - count
    if (missed > this.#last.length) return { truncatedTo: 0, replacedUpTo: Number.POSITIVE_INFINITY }
    let truncatedTo: number | undefined
    let replacedUpTo: number | undefined
    for (const change of missed === 0 ? [] : this.#last.slice(-missed)) {
      if (change.truncatedTo !== undefined)
        truncatedTo = Math.min(truncatedTo ?? change.truncatedTo, change.truncatedTo)
      if (change.replacedUpTo !== undefined) replacedUpTo = Math.max(replacedUpTo ?? 0, change.replacedUpTo)
    }
    return { truncatedTo, replacedUpTo }
  }

  #push(change: ChangesSince): void {
    this.#count += 1
    this.#last.push(change)
    if (this.#last.length > REMEMBERED) this.#last.shift()
  }
}
