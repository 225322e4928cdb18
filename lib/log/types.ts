import type { CompressionName } from '../record/batch-format.ts'
import type { Durability } from './log-config.ts'

/** How safe an append is when its acknowledgement arrives; each level includes those before it. */
export type AckLevel = 'accepted' | 'written' | 'synced'

/** What a consumer sees of transactions: only decided ones, or everything below the high watermark. */
export type Isolation = 'read_committed' | 'read_uncommitted'

export interface AppendOptions {
  /** More safety than the log's own setting for this append; asking for less changes nothing. */
  readonly durability?: Durability
  /** Codec of this batch; the topic's `compression.type` wins where it names one. */
  readonly compression?: CompressionName
  readonly compressionLevel?: number
  /** True: these records form a batch of their own, never merged with neighbours. */
  readonly ownBatch?: boolean
  /**
   * Appends only if `logEndOffset` is this: if nobody has appended since the caller read up to here. Decided in the step
   * that gives the offsets, so of several who expect the same end one succeeds. Give where your reading ended, not the
   * log's `logEndOffset`: that counts appends of others which no reader sees yet. A repeated idempotent batch is
   * answered as ever.
   */
  readonly expectedEndOffset?: number
  /** Idempotent or transactional producer; all three go together. Such batches are never merged. */
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  /** Gives up waiting for room to append. An append that has its offsets is not taken back. */
  readonly signal?: AbortSignal
}

/** Order of the levels, weakest first. */
export const ACK_LEVELS: readonly AckLevel[] = ['accepted', 'written', 'synced']

export function strongest(a: AckLevel, b: AckLevel): AckLevel {
  return ACK_LEVELS.indexOf(a) >= ACK_LEVELS.indexOf(b) ? a : b
}

/** The level that an acknowledgement has under each durability setting (decision: reliability contract). */
export function ackLevelOf(durability: Durability): AckLevel {
  if (durability === 'batch') return 'synced'
  return durability === 'buffered' ? 'accepted' : 'written'
}

export interface EndTransactionOptions {
  readonly type: 'commit' | 'abort'
  readonly producerId: number
  readonly producerEpoch: number
  /** Epoch of the transaction coordinator that decided; 0 where there is none. */
  readonly coordinatorEpoch?: number
  /** Wall clock of the marker, ms; the log's clock by default. */
  readonly timestamp?: number
}

export interface ReadOptions {
  /** Size limit, bytes; 1 MiB by default. One whole batch is returned even if it is larger. */
  readonly maxBytes?: number
  /** `read_uncommitted` by default, as in Kafka. */
  readonly isolation?: Isolation
  /** Exclusive bound on base offsets, below the isolation's own bound. */
  readonly upTo?: number
  /** False skips the CRC check of what comes from the disk. */
  readonly checkCrc?: boolean
  readonly signal?: AbortSignal
}

export interface GetOptions {
  /** `read_uncommitted` by default, as in Kafka. */
  readonly isolation?: Isolation
}

/** An aborted transaction that concerns a fetched range: drop its producer's records from `firstOffset` on. */
export interface AbortedRange {
  readonly producerId: number
  readonly firstOffset: number
}

export interface FetchResult {
  /**
   * Whole v2 record batches back to back, bytes as stored, owned by the caller; empty when there is nothing to
   * read yet. The first batch may begin below the offset asked for; the consumer skips.
   */
  readonly batches: Buffer
  /** Base offset of the first batch; `undefined` when `batches` is empty. */
  readonly baseOffset: number | undefined
  /** Offset to ask for next: one past the last batch; without one, the first offset that may get one. */
  readonly nextOffset: number
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  /** With `read_committed`: ascending by first offset. `undefined` otherwise. */
  readonly abortedTransactions: readonly AbortedRange[] | undefined
}

export interface StreamOptions {
  /** First offset wanted; the log start offset by default. `latest` is the bound of the moment. */
  readonly from?: number | 'earliest' | 'latest'
  /** Exclusive; the bound of the moment (high watermark or last stable offset) by default, none with `follow`. */
  readonly to?: number
  /** Go on when new records arrive, until `signal` aborts, `to` is reached or the log closes. */
  readonly follow?: boolean
  readonly isolation?: Isolation
  /** Aborting ends the stream quietly. */
  readonly signal?: AbortSignal
  /** Bytes read at a time; 1 MiB by default. */
  readonly maxBytes?: number
  readonly checkCrc?: boolean
}

export interface TimestampedOffset {
  readonly offset: number
  /** Milliseconds; the nearest number where the exact one is beyond 2^53. */
  readonly timestamp: number
  readonly timestampExact: bigint
  readonly leaderEpoch: number | undefined
}

export interface SegmentInfo {
  readonly baseOffset: number
  readonly bytes: number
  readonly maxTimestamp: number | undefined
  readonly active: boolean
}
