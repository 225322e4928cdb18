import type { CleanableJudgement } from '../compaction/cleanable.ts'
import type { CleanedLog, CleanOptions } from './log-cleaner.ts'

/** What a store does by itself. Times are in milliseconds. */
export interface UpkeepOptions {
  /** False: nothing happens by itself, only what is asked for. True by default. */
  readonly background?: boolean | undefined
  /** Time between two looks at what is due; 15,000 by default. */
  readonly lookEveryMs?: number | undefined
  /** Time between two passes of retention; 300,000 by default. */
  readonly retentionEveryMs?: number | undefined
  /** From the opening to the first one; 30,000 by default. */
  readonly firstRetentionMs?: number | undefined
  /** What all segment files of a data directory may take up together, bytes; no limit by default. */
  readonly diskBudgetBytes?: number | undefined
  /** What the volume of a data directory shall have left, bytes; no limit by default. */
  readonly diskFreeMinBytes?: number | undefined
  /** Memory for the map of keys while a log is cleaned; 128 MiB by default, as Kafka's. */
  readonly cleanerMapBytes?: number | undefined
  /** Read and written together; no limit by default. */
  readonly cleanerBytesPerSecond?: number | undefined
  /** False: logs are cleaned on the calling thread. A worker thread by default, on the machine's file system. */
  readonly cleanerThread?: boolean | undefined
}

export interface CompactOptions extends CleanOptions {
  /** Only these topics; all by default. */
  readonly topics?: readonly string[] | undefined
  /** Only this partition of them. */
  readonly partition?: number | undefined
}

export interface CompactReport {
  readonly dryRun: boolean
  /** By topic and partition. Topics that are not compacted are there as well, with that reason. */
  readonly partitions: readonly (CompactedPartition | FailedCompaction)[]
}

export interface CompactedPartition {
  readonly topic: string
  readonly partition: number
  readonly judgement: CleanableJudgement
  /** `undefined` where nothing was cleaned. */
  readonly cleaned: CleanedLog | undefined
}

export interface FailedCompaction {
  readonly topic: string
  readonly partition: number
  readonly error: { readonly code: string; readonly message: string }
}

/** Of one log that could not be cleaned, or retained, when it was due. */
export interface UpkeepSetback {
  readonly topic: string
  readonly partition: number
  readonly what: 'compaction' | 'retention'
  readonly failures: number
  readonly error: { readonly code: string; readonly message: string }
  /** Wall clock, ms. */
  readonly failedAt: number
  /** From now. 0: with the next look. */
  readonly retryInMs: number
}

export interface UpkeepStatus {
  /** Whether anything happens by itself. */
  readonly background: boolean
  readonly paused: boolean
  /** Where logs are cleaned. */
  readonly cleanerHost: 'worker' | 'inline'
  /** The log that is being cleaned, since when (wall clock, ms) and how far. */
  readonly cleaning:
    | {
        readonly topic: string
        readonly partition: number
        readonly since: number
        readonly phase: 'building' | 'cleaning'
        readonly doneBytes: number
        readonly totalBytes: number
      }
    | undefined
  /** Logs cleaned since the store was opened, and what that freed, bytes. */
  readonly cleanings: number
  readonly cleanedAwayBytes: number
  /** Since the store was opened; `at` is the wall clock of the last pass, ms. */
  readonly retention: {
    readonly at: number | undefined
    readonly deletedSegments: number
    readonly deletedBytes: number
  }
  /** The wall clock is ahead by so much: retention by time waits. */
  readonly clockJumpMs: number | undefined
  /** Of files that are out of use and wait for `file.delete.delay.ms`. */
  readonly reclaimableBytes: number
  /** Of such files that were removed since their logs were opened. */
  readonly reclaimedBytes: number
  /** Compaction or retention that stopped, and why. Empty when all goes well. */
  readonly setbacks: readonly UpkeepSetback[]
}
