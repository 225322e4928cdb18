/**
 * The transactions that hold the last stable offset back: open ones, and ended ones whose marker is not yet below the
 * high watermark.
 *
 *   U1  Open ones are in ascending order of first offset: they begin in the order of the log.
 *   U2  Ended ones are in ascending order of their markers' offsets.
 *   U3  `firstOffset` is the smallest first offset of both, worked out on change, because readers ask all the time.
 */
interface EndedTransaction {
  readonly firstOffset: number
  readonly markerOffset: number
}

/** Of the many logs without a transaction; never written to. */
const NO_OPEN = new Map<number, number>()

export class UndecidedTransactions {
  /** Producer id to first offset. */
  #open = NO_OPEN
  #ended: EndedTransaction[] = []
  #firstOffset: number | undefined

  get firstOffset(): number | undefined {
    return this.#firstOffset
  }

  get firstOngoingOffset(): number | undefined {
    return this.#open.values().next().value
  }

  ongoing(): { readonly producerId: number; readonly firstOffset: number }[] {
    return Array.from(this.#open, ([producerId, firstOffset]) => ({ producerId, firstOffset }))
  }

  begin(producerId: number, firstOffset: number): void {
    if (this.#open === NO_OPEN) this.#open = new Map()
    this.#open.set(producerId, firstOffset)
    this.#firstOffset ??= firstOffset
  }

  end(producerId: number, markerOffset: number): void {
    const firstOffset = this.#open.get(producerId)
    if (firstOffset === undefined) return
    this.#open.delete(producerId)
    // Still undecided as far as readers are concerned, so that `firstOffset` stays what it is.
    this.#ended.push({ firstOffset, markerOffset })
  }

  onHighWatermark(highWatermark: number): void {
    // Called after each group of appends: where there is no transaction it costs one comparison.
    if (this.#ended.length === 0) return
    const kept = this.#ended.findIndex(({ markerOffset }) => markerOffset >= highWatermark)
    if (kept === 0) return
    this.#ended = kept < 0 ? [] : this.#ended.slice(kept)
    const firstEnded = this.#ended.reduce((least, { firstOffset }) => Math.min(least, firstOffset), Infinity)
    const first = Math.min(this.firstOngoingOffset ?? Infinity, firstEnded)
    this.#firstOffset = first === Infinity ? undefined : first
  }

  copyFrom(other: UndecidedTransactions): void {
    this.#open = other.#open.size === 0 ? NO_OPEN : new Map(other.#open)
    this.#ended = other.#ended.slice()
    this.#firstOffset = other.#firstOffset
  }
}
