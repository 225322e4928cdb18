/**
 * What a partition log knows of itself, shared by the parts that append, write, read and truncate.
 *
 * Invariants (checked where they could break; tests in test/log/partition-log*.test.ts):
 *   L1  logStartOffset <= highWatermark <= logEndOffset.
 *   L2  durableOffset <= writtenOffset <= sealedOffset <= logEndOffset.
 *   L3  recoveryPoint <= durableOffset, and all below it is durable together with its derived files.
 *   L4  Segments are in ascending order of base offset; the last one is active; there is always one.
 *   L5  Everything below writtenOffset is in the files of `segments`; everything from tail.baseOffset to
 *       sealedOffset is in `tail`.
 *
 * No I/O here, and nothing asynchronous: each change is one synchronous step of whoever holds the log's turn.
 */
import type { Segment } from '../segment/segment.ts'
import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'
import type { LogHoles } from './holes.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import { LogChanges } from './log-changes.ts'
import type { LogConfig } from './log-config.ts'
import { ReaderWaiters } from './offset-waiters.ts'
import type { AbortedTransaction, ProducerStateManager } from './producer-state.ts'
import { Tail } from './tail.ts'
import type { Isolation } from './types.ts'

/** `poisoned`: a sync failed; reading goes on, appending needs a reopen. `corrupt`: opened with `read-prefix`. */
export type LogCondition = 'open' | 'poisoned' | 'corrupt' | 'closed'

export class LogState {
  config: LogConfig
  segments: Segment[]
  readonly tail = new Tail()
  readonly readers = new ReaderWaiters()
  /** State of the producers by what is in the files: for snapshots and the last stable offset. */
  producers: ProducerStateManager
  /** The same with what was accepted since: new appends are checked against it. */
  acceptedProducers: ProducerStateManager
  /** Of transactions whose abort marker is accepted but not in a file yet, so that no transaction index has them. */
  unwrittenAborts: readonly AbortedTransaction[] = []
  readonly epochs: LeaderEpochs
  condition: LogCondition = 'open'
  logStartOffset: number
  /** Offset the next record will get: includes the batch that is still open. */
  logEndOffset: number
  sealedOffset: number
  writtenOffset: number
  durableOffset: number
  recoveryPoint: number
  /** A bound below the log's own, for a log opened with `read-prefix`, or one that another process writes. */
  readableUpTo: number | undefined
  /** Counts what takes something away that a read may be looking at: cuts at either end. */
  cuts = 0
  /** The same in words, for readers that keep something of what they read. */
  readonly changes = new LogChanges()
  /** The lowest offset that the log's end was cut to since that was last asked: what lies above is not what was there. */
  lowestCut = Number.POSITIVE_INFINITY
  /** Segments below the log start are out of the list, and their names may come back: a crash may leave any of them. */
  isShedding = false
  /** Counts cuts of the log's end. */
  endCuts = 0

  /** Ranges of offsets whose records are known to be lost. */
  holes: LogHoles | undefined

  constructor(
    from: {
      segments: Segment[]
      producers: ProducerStateManager
      epochs: LeaderEpochs
      logStartOffset: number
      logEndOffset: number
      durableOffset: number
      recoveryPoint: number
    },
    config: LogConfig
  ) {
    this.config = config
    this.segments = from.segments
    this.producers = from.producers
    this.acceptedProducers = from.producers.clone()
    this.epochs = from.epochs
    this.logStartOffset = from.logStartOffset
    this.logEndOffset = from.logEndOffset
    this.sealedOffset = from.logEndOffset
    this.writtenOffset = from.logEndOffset
    this.durableOffset = from.durableOffset
    this.recoveryPoint = from.recoveryPoint
    assert(this.logStartOffset <= this.logEndOffset, 'L1: the log starts at or before its end')
  }

  get active(): Segment {
    const segment = this.segments[this.segments.length - 1]
    assert(segment !== undefined, 'L4: there is always an active segment')
    return segment
  }

  /** First offset that readers do not see yet. Exclusive. */
  get highWatermark(): number {
    const visible = this.#visibleOffset()
    const bounded = this.readableUpTo === undefined ? visible : Math.min(visible, this.readableUpTo)
    return Math.max(bounded, this.logStartOffset)
  }

  /** First offset of an undecided transaction, or the high watermark. Exclusive. */
  get lastStableOffset(): number {
    // What is visible before it is written includes transactions that only the accepted state knows of.
    const producers = this.#visibility === 'accepted' ? this.acceptedProducers : this.producers
    return Math.max(this.logStartOffset, producers.lastStableOffset(this.highWatermark))
  }

  bound(isolation: Isolation): number {
    return isolation === 'read_committed' ? this.lastStableOffset : this.highWatermark
  }

  get leaderEpoch(): number {
    // Offline appends continue the latest epoch and never raise it: see format notes on leader epochs.
    return this.epochs.latestEpoch ?? 0
  }

  /** Called after any of the offsets moved, so that readers and the producer state follow. */
  advanced(): void {
    const highWatermark = this.highWatermark
    this.producers.onHighWatermark(highWatermark)
    this.acceptedProducers.onHighWatermark(highWatermark)
    if (this.readers.size > 0) this.readers.notify(this.#boundOf)
  }

  /** The transaction indexes have what lies below `writtenOffset`. */
  abortsWritten(): void {
    this.unwrittenAborts = this.unwrittenAborts.filter(({ lastOffset }) => lastOffset >= this.writtenOffset)
  }

  /** Everything above what is written is as if it had never been accepted. */
  takeBackTo(offset: number): void {
    this.tail.truncateTo(offset)
    this.logEndOffset = offset
    this.sealedOffset = offset
    this.epochs.truncateFromEnd(offset)
    this.acceptedProducers = this.producers.clone()
    this.unwrittenAborts = this.unwrittenAborts.filter(({ lastOffset }) => lastOffset < offset)
  }

  /** Index of the segment that holds `offset` if any does: the last one whose base offset is at or below it. */
  segmentIndexFor(offset: number): number {
    let low = 0
    let high = this.segments.length // [0, low) begin at or below offset; [high, length) begin above it
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.segments[middle] as Segment).baseOffset <= offset) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }

  readonly #boundOf = (isolation: Isolation): number => this.bound(isolation)

  get #visibility(): 'synced' | 'written' | 'accepted' {
    return this.config.visibility ?? defaultVisibility(this.config)
  }

  #visibleOffset(): number {
    switch (this.#visibility) {
      case 'synced':
        return this.durableOffset
      case 'written':
        return this.writtenOffset
      case 'accepted':
        return this.sealedOffset
    }
  }
}

/**
 * What was acknowledged as synced is shown only once it is: a record that was read survives any crash. The other
 * settings show what their acknowledgement covers.
 */
function defaultVisibility(config: LogConfig): 'synced' | 'written' | 'accepted' {
  if (config.durability === 'batch') return 'synced'
  return config.durability === 'buffered' ? 'accepted' : 'written'
}

/** Why a log in this condition takes no append; one that is open is so for reading only. */
export function notWritable(name: string, condition: LogCondition): LogError {
  if (condition === 'closed') return new LogError('LOG_CLOSED', `${name} is closed. Open it again to go on.`)
  if (condition === 'poisoned') {
    return new LogError(
      'LOG_POISONED',
      `${name} takes no append since a sync failed: nobody can know what is on the disk. Reopen it to recover.`
    )
  }
  const upTo = condition === 'corrupt' ? ', up to the damage that was found' : ''
  return new LogError('READ_ONLY', `${name} is open for reading only${upTo}.`)
}
