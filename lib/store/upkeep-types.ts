import type { CleanableJudgement } from '../compaction/cleanable.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { CleanedLog, CleanOptions } from './log-cleaner.ts'
import type { LogTable } from './log-table.ts'
import type { Topics } from './topics.ts'

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
  /**
   * What the scrubber reads to verify sealed segments of open logs; 4 MiB by default, 0: it does not run. A segment
   * counts for at least 1 MiB, and while anything is appended it reads at most 10 MiB a second.
   */
  readonly scrubBytesPerSecond?: number | undefined
  /** A segment is verified again after so long; 7 days by default. */
  readonly scrubEveryMs?: number | undefined
}

/** What the upkeep of a store works with. */
export interface UpkeepParts {
  readonly table: LogTable
  readonly topics: Topics
  readonly shared: SharedParts
  readonly options: UpkeepOptions
}

/** A sealed segment in which the scrubber found damage. Nothing was changed; the log is read on elsewhere. */
export interface DamagedSegment {
  readonly topic: string
  readonly partition: number
  /** Its base offset. */
  readonly segment: number
  readonly file: string | undefined
  /** Where in the file, byte; 0 where only the digest of the whole file tells. */
  readonly position: number | undefined
  /** Records that are concerned; exclusive at the end. */
  readonly fromOffset: number | undefined
  readonly toOffset: number | undefined
  /** Wall clock, ms. */
  readonly foundAt: number
  readonly error: { readonly code: string; readonly message: string }
}

/** Of the scrubber, since the store was opened. */
export interface ScrubStatus {
  /** 0: it does not run. */
  readonly bytesPerSecond: number
  readonly verifying: { readonly topic: string; readonly partition: number; readonly segment: number } | undefined
  /** Found sound. */
  readonly verifiedSegments: number
  readonly verifiedBytes: number
  readonly damagedSegments: number
  /** The first 100 of them. */
  readonly damage: readonly DamagedSegment[]
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
  /** Verification of sealed segments, and what it found. */
  readonly scrub: ScrubStatus
}
