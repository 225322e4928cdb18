/**
 * Whether the offsets of the batches of a partition follow one another.
 *
 * No CRC covers a batch's base offset, so it is held against its neighbours. A larger one than promised leaves a gap,
 * which compaction does too; but when the batch behind it goes on where the gap began, it was this one's base offset
 * that lies. A smaller one is wrong in any case.
 */
import type { BatchView } from '../record/batch-view.ts'

export interface Gap {
  readonly segment: number
  readonly position: number
  readonly fromOffset: number
  /** Exclusive. */
  readonly toOffset: number
}

export interface Misplaced {
  readonly segment: number
  readonly position: number
  /** As the batch says. */
  readonly baseOffset: number
  /** Where its neighbours put it. */
  readonly expected: number
  /** Offsets that the batch covers. */
  readonly count: number
}

export interface ChainListener {
  gap(gap: Gap): void
  misplaced(found: Misplaced): void
}

/** A batch behind a gap, as long as the next one has not confirmed it. */
interface Suspect extends Gap {
  readonly count: number
}

export class OffsetChain {
  readonly #listener: ChainListener
  #next: number
  #suspect: Suspect | undefined
  /** Up to where a batch with a wrong base offset explains that offsets are missing. */
  #excusedTo = -1

  constructor(first: number, listener: ChainListener) {
    this.#next = first
    this.#listener = listener
  }

  /** Behind the last batch that was accepted. */
  get next(): number {
    return this.#next
  }

  /** Least base offset with which a batch may go on. */
  get least(): number {
    const suspect = this.#suspect
    return suspect === undefined ? this.#next : suspect.fromOffset + suspect.count
  }

  /** @returns whether the batch is where it belongs. */
  accept(batch: BatchView, at: { readonly segment: number; readonly position: number }): boolean {
    const { baseOffset } = batch
    const count = batch.lastOffsetDelta + 1
    if (baseOffset < this.#next && this.#suspect !== undefined && baseOffset >= this.least) this.#retract()
    if (baseOffset < this.#next) {
      this.#listener.misplaced({ ...at, baseOffset, expected: this.#next, count })
      this.#excusedTo = this.#next + count
      return false
    }
    this.#confirm()
    if (baseOffset > this.#next && baseOffset > this.#excusedTo) {
      this.#suspect = { ...at, fromOffset: this.#next, toOffset: baseOffset, count }
    }
    this.#excusedTo = -1
    this.#next = batch.nextOffset
    return true
  }

  /** The next segment begins at `baseOffset`. @returns whether that can follow what came before. */
  beginSegment(baseOffset: number): boolean {
    if (baseOffset < this.#next && this.#suspect !== undefined && baseOffset >= this.least) this.#retract()
    return baseOffset >= this.#next
  }

  /** What is damaged or missing up to here explains that offsets are missing. */
  excuseUpTo(offset: number): void {
    this.#excusedTo = Math.max(this.#excusedTo, offset)
  }

  /** Passes over offsets whose loss is told of elsewhere. */
  skipTo(offset: number): void {
    this.#confirm()
    this.#next = Math.max(this.#next, offset)
  }

  /** Something else than the next batch shows that the base offset of the one before is wrong, or right. */
  judgeSuspect(isWrong: boolean): void {
    if (isWrong) this.#retract()
    else this.#confirm()
  }

  get suspect(): Gap | undefined {
    return this.#suspect
  }

  #confirm(): void {
    const suspect = this.#suspect
    this.#suspect = undefined
    if (suspect === undefined) return
    const { segment, position, fromOffset, toOffset } = suspect
    this.#listener.gap({ segment, position, fromOffset, toOffset })
  }

  #retract(): void {
    const suspect = this.#suspect
    this.#suspect = undefined
    if (suspect === undefined) return
    const { segment, position, fromOffset, toOffset, count } = suspect
    this.#listener.misplaced({ segment, position, baseOffset: toOffset, expected: fromOffset, count })
    this.#next = fromOffset + count
  }
}
