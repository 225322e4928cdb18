import type { FileSystem } from '../fs/file-system.ts'
import type { HandleCache } from '../fs/handle-cache.ts'
import type { Clock } from '../util/clock.ts'
import type { IndexCache } from './index-cache.ts'
import type { TransactionsDigest } from './transaction-index.ts'

/** What a segment needs to know of its log's configuration. */
export interface SegmentConfig {
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly segmentJitterMs: number
  /** `segment.index.bytes`: bound of each index file. */
  readonly indexBytes: number
  readonly indexIntervalBytes: number
  readonly preallocate: boolean
  readonly cleanupPolicy?: readonly string[]
  /** `undefined`: no limit. */
  readonly maxCompactionLagMs?: number | undefined
}

/** Decides which small reads, of bytes that may be in the page cache, are made on the calling thread. */
export interface WarmReadRule {
  /** Whether the next one may. Each question is taken for a read. */
  mayRead(): boolean
  /** Makes a read that may, and notes how long it took. */
  timed<T>(read: () => T): T
}

/** What the segments of a log share. */
export interface SegmentEnv {
  readonly fs: FileSystem
  readonly handles: HandleCache
  readonly clock: Clock
  readonly indexCache: IndexCache
  /** For pages of indexes; without it they are read by way of the thread pool. */
  readonly warmReads?: WarmReadRule
  /** Of new files; 0600 unless said otherwise. */
  readonly permissions?: number
  /** Of new files, when the process may give them away. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
  /** The log's configuration of the moment. */
  readonly config: () => SegmentConfig
  /** In [0, 1), for `segment.jitter.ms`; without it there is no jitter. */
  readonly random?: () => number
  /** Told when an index had to be rebuilt from the log, for the report. */
  readonly indexRebuilt?: (event: IndexRebuilt) => void
}

export interface OpenSegmentOptions {
  /** Nothing is written, whatever is called. */
  readonly readOnly: boolean
  /** The log was closed in good order, so its index files hold just the right entries. */
  readonly trustIndexes: boolean
  /** What the files' names end in beside `.log`, `.index`: `.swap`, `.cleaned`. */
  readonly suffix?: string
  /** Bytes from the start that are sound, where the file goes on behind them; all of it unless said otherwise. */
  readonly validBytes?: number
  /** Length of the file, where the caller has just looked at it. */
  readonly length?: number
  /** Of its transaction index, where that was noted: another one is damaged. */
  readonly transactions?: TransactionsDigest | undefined
}

export interface IndexRebuilt {
  /** Of the .log file. */
  readonly path: string
  readonly baseOffset: number
  readonly reason: string
}

/** One batch as the log file holds it. */
export interface BatchFacts {
  /** Byte of the file at which it starts. */
  readonly position: number
  readonly size: number
  readonly baseOffset: number
  /** Inclusive. */
  readonly lastOffset: number
  /** The nearest number; -1 none, as in the header. */
  readonly maxTimestamp: number
}

/** Part of a log file. */
export interface ReadRange {
  /** A batch starts here. */
  readonly from: number
  /** Exclusive. */
  readonly to: number
  /**
   * Last offset of the batch at `from`, as the index has it; `undefined` at the start of the file. If the batch says
   * something else, the index is damaged: see `Segment.distrustIndexes`.
   */
  readonly lastOffset?: number | undefined
}

/** Why the next batch goes to a new segment. */
export type RollCause = 'size' | 'time' | 'index-full' | 'offset-overflow'
