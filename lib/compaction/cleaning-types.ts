/** What goes into a cleaning and what comes out of it. All of it can be sent to a worker thread. */
import type { AbortedTransaction, TransactionsDigest } from '../segment/transaction-index.ts'

/** A sealed segment. */
export interface SourceSegment {
  readonly baseOffset: number
  /** One past its last offset; its base offset when it is empty. */
  readonly nextOffset: number
  /** Of its `.log`, `.index` and `.timeindex`. */
  readonly bytes: number
  readonly indexBytes: number
  readonly timeIndexBytes: number
  /** Of its transaction index, where that is known: another one is damaged. */
  readonly transactions?: TransactionsDigest | undefined
  /** When its `.log` was last changed, ms. */
  readonly modifiedMs: number
}

export interface CleaningSettings {
  readonly segmentBytes: number
  /** Bound of each index file. */
  readonly indexBytes: number
  readonly indexIntervalBytes: number
  readonly deleteRetentionMs: number
  /** Of a batch when it is decompressed; 128 MiB by default. */
  readonly maxDecompressedBytes?: number
}

/** A producer that the log remembers. */
export interface LiveProducer {
  readonly producerId: number
  readonly producerEpoch: number
  /** Last offset of its last batch of records; `undefined` where only a marker of it is remembered. */
  readonly lastDataOffset?: number | undefined
}

export interface CleaningInput {
  /** The partition's folder. */
  readonly dir: string
  /** `topic-partition`, for messages. */
  readonly name: string
  /** The log's sealed segments from its first one on, ascending, without a gap in the list. */
  readonly segments: readonly SourceSegment[]
  readonly firstDirtyOffset: number
  /** Exclusive: the base of a segment. Nothing from it on is read or rewritten. */
  readonly firstUncleanableOffset: number
  /** The moment of the cleaning, ms: what delete horizons are compared with and set from. */
  readonly now: number
  readonly settings: CleaningSettings
  readonly producers: readonly LiveProducer[]
  /**
   * Aborted transactions that began below `firstUncleanableOffset` and whose marker lies behind `segments`, in the
   * active one: the indexes of `segments` do not have them.
   */
  readonly abortedLater?: readonly AbortedTransaction[]
  /** Memory for the offset map, bytes. */
  readonly mapBytes: number
  /** Four random words for the hash of the keys. */
  readonly hashSeeds: Uint32Array
  /**
   * Keys whose records go in this pass, wherever below `firstUncleanableOffset` they are and whether they are the
   * latest or not. Tombstones go by the usual rule.
   */
  readonly eraseKeys?: readonly Uint8Array[]
  /**
   * Base offsets of the segments to rewrite, each by itself, and then nothing goes but records of `eraseKeys`: no
   * record for being superseded, for want of a key or for its transaction, no marker, no tombstone. For topics of any
   * cleanup policy.
   */
  readonly eraseOnly?: readonly number[] | undefined
  /** Mode and owner of the files that are made. */
  readonly permissions?: number | undefined
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
}

/** What was read and what became of it. */
export interface CleaningStats {
  batchesRead: number
  recordsRead: number
  bytesRead: number
  batchesKept: number
  recordsKept: number
  bytesKept: number
  /** Batches that were written as they were, among those kept. */
  batchesCopied: number
  /** Why records went: a later one of the key; a tombstone past its horizon; of an aborted transaction; no key; asked for. */
  superseded: number
  tombstonesDropped: number
  abortedDropped: number
  withoutKeyDropped: number
  erased: number
  /** Transaction markers. */
  markersRead: number
  markersDropped: number
}

export function noStats(): CleaningStats {
  return {
    batchesRead: 0,
    recordsRead: 0,
    bytesRead: 0,
    batchesKept: 0,
    recordsKept: 0,
    bytesKept: 0,
    batchesCopied: 0,
    superseded: 0,
    tombstonesDropped: 0,
    abortedDropped: 0,
    withoutKeyDropped: 0,
    erased: 0,
    markersRead: 0,
    markersDropped: 0
  }
}

export function addStats(to: CleaningStats, more: CleaningStats): void {
  for (const name of Object.keys(more) as (keyof CleaningStats)[]) to[name] += more[name]
}

/** One new segment; its files bear the suffix `.cleaned`. */
export interface CleanedSegment {
  readonly baseOffset: number
  /** One past its last offset; its base offset when it is empty. */
  readonly nextOffset: number
  readonly bytes: number
  readonly indexBytes: number
  readonly timeIndexBytes: number
  /** Of its transaction index; of 0 bytes: there is no such file. */
  readonly transactions: TransactionsDigest
}

/** Segments that were written anew: `cleaned` take the place of `sources`. */
export interface CleanedGroup {
  /** Base offsets, ascending. */
  readonly sources: readonly number[]
  readonly cleaned: readonly CleanedSegment[]
  readonly stats: CleaningStats
}

export interface CleaningResult {
  /** The new first dirty offset. */
  readonly endOffset: number
  /** The keys did not fit into the map: from `endOffset` on another round is needed. */
  readonly isPartial: boolean
  /** Distinct keys of the dirty part that was cleaned, and bytes of memory that their map took. */
  readonly keys: number
  readonly mapBytes: number
  readonly groups: number
  readonly stats: CleaningStats
  readonly buildMs: number
  readonly cleanMs: number
}

export interface CleaningProgress {
  readonly phase: 'building' | 'cleaning'
  /** Bytes read in this phase, and how many there are to read. */
  readonly doneBytes: number
  readonly totalBytes: number
}
