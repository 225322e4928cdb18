import type { CleanableReason } from '../compaction/cleanable.ts'
import type { FileSystem } from '../fs/file-system.ts'
import type { HandleCacheStats } from '../fs/handle-cache.ts'
import type { LockHolder } from '../fs/lock-holder.ts'
import type { LogConfig } from '../log/log-config.ts'
import type { LogStats } from '../log/log-metrics.ts'
import type { LogCondition } from '../log/log-state.ts'
import type { RecoveryReport } from '../log/recovery-report.ts'
import type { Clock } from '../util/clock.ts'
import type { LogError } from '../util/errors.ts'
import type { DamagedSegment, UpkeepOptions, UpkeepStatus } from './upkeep-types.ts'

export interface StoreOptions {
  /**
   * Changes no byte, takes no lock, and works beside a running Kafka or heartwood. The high watermark is then what
   * has been written to the files so far. False by default.
   */
  readonly readOnly?: boolean
  /** False: a missing folder is an error rather than created. True by default; never with `readOnly`. */
  readonly createIfMissing?: boolean
  readonly fs?: FileSystem
  readonly clock?: Clock
  /** What holds for topics whose own settings say nothing else: `{ durability: 'interval' }`. */
  readonly defaults?: Partial<LogConfig>
  /** Files kept open at once; by default what the process may open, less a reserve, at most 512. */
  readonly maxOpenFiles?: number
  /** Memory for the batches written last, from which readers of a log's end are served; 16 MiB by default. */
  readonly tailBytes?: number
  /** Memory for the batches that `get` looked into last, for all logs together; 8 MiB by default, 1 to 32 MiB. */
  readonly batchCacheBytes?: number
  /** Writes on NFS, SMB or 9p all the same, where a lock and a sync promise little. False by default. */
  readonly forceUnsafeFileSystem?: boolean
  /** `read-prefix`: a corrupt log is open for reading up to its first bad offset. `fail` by default. */
  readonly onCorruption?: 'fail' | 'read-prefix'
  /** Time between two writings of the checkpoints, ms; 60,000 by default. */
  readonly checkpointIntervalMs?: number
  /** What the store does by itself: retention, compaction, removing files that are out of use. */
  readonly upkeep?: UpkeepOptions
  /** How a directory is locked; for file systems other than the machine's. */
  readonly lock?: LockDirectory
}

/** Takes the exclusive lock of a data directory. */
export type LockDirectory = (dir: string) => Promise<HeldLock>

export interface HeldLock {
  /** `fcntl`, `sqlite`: a broker respects it. `socket-only`: only heartwood does. `none`: nothing was locked. */
  readonly kind: 'fcntl' | 'sqlite' | 'socket-only' | 'none'
  release(): Promise<void>
}

export interface CreateTopicOptions {
  /** 1 by default. */
  readonly partitions?: number
  /** Kafka's keys and values, and ours (`heartwood.durability`). `retention.ms` is -1 unless given. */
  readonly configs?: Readonly<Record<string, string>>
}

export interface AlterTopicOptions {
  readonly set?: Readonly<Record<string, string>>
  readonly delete?: readonly string[]
  /** New number of partitions; it can only grow. */
  readonly partitions?: number
}

export interface TopicSummary {
  readonly topic: string
  /** `undefined`: not known without looking into the topic's folders, which `describe` does. */
  readonly topicId: string | undefined
  readonly internal: boolean
  readonly partitions: readonly number[]
  /** `undefined`: another engine made this topic and nobody has stated its settings here. */
  readonly configs: Readonly<Record<string, string>> | undefined
  /**
   * Whether retention and compaction may touch the topic: heartwood created it, or `alterTopic` stated its
   * `cleanup.policy`.
   */
  readonly managed: boolean
}

/** The shape that `topics describe --json` prints. */
export interface TopicDescription {
  readonly topic: string
  readonly topicId: string | null
  readonly internal: boolean
  /** `null`: unknown, see `TopicSummary.configs`. */
  readonly configs: Readonly<Record<string, string>> | null
  readonly partitions: readonly (PartitionDescription | BrokenPartition)[]
}

export interface PartitionDescription {
  readonly partition: number
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly segments: number
  readonly bytes: number
  readonly leaderEpoch: number
  /** Where a sealed segment was verified. */
  readonly verification?: VerificationDescription
  /** Of a compacted topic whose settings are known. */
  readonly compaction?: CompactionDescription
}

/** How many of a log's sealed segments were verified, and what was found in them. */
export interface VerificationDescription {
  readonly sealedSegments: number
  /** Found sound at some time, in this process or in one before. */
  readonly verifiedSegments: number
  /** When the one was verified that was verified longest ago, ms since 1970; `null` if none was. */
  readonly oldestMs: number | null
  /** Found by this process. */
  readonly damage: readonly DamagedSegment[]
}

/** How far a log is cleaned, and why it is not cleaned further. */
export interface CompactionDescription {
  readonly firstDirtyOffset: number
  /** Exclusive. */
  readonly firstUncleanableOffset: number
  readonly dirtyRatio: number
  /** Whether it is cleaned with the next look, and why or why not. */
  readonly due: boolean
  readonly reason: CleanableReason
  readonly overdueMs: number
  /** Cleanings in a row that failed in this process, and the last one's error. */
  readonly failures: number
  readonly lastError: { readonly code: string; readonly message: string } | null
}

/** A partition that could not be opened. */
export interface BrokenPartition {
  readonly partition: number
  readonly error: { readonly code: string; readonly message: string }
}

export interface DirectoryStatus {
  readonly dir: string
  /** `undefined` when opened read-only. */
  readonly lock: HeldLock['kind'] | undefined
  /** It was closed cleanly before. */
  readonly cleanAtOpen: boolean
  /** Why we think that another engine used it since we did; `undefined`: none did. */
  readonly otherEngine: string | undefined
  /** Who has it open for writing, seen from a read-only opening. */
  readonly holder: LockHolder | undefined
  readonly partitions: number
}

export interface LogStatus {
  readonly topic: string
  readonly partition: number
  readonly condition: LogCondition
  readonly stats: LogStats
}

export interface StoreStatus {
  readonly readOnly: boolean
  readonly brokerOwned: boolean
  readonly directories: readonly DirectoryStatus[]
  /** Logs that are open now. */
  readonly logs: readonly LogStatus[]
  /** Partitions that could not be opened, and why. While there are any, no clean-shutdown marker is written. */
  readonly failed: readonly { readonly topic: string; readonly partition: number; readonly error: LogError }[]
  /** What each log's opening found and did. */
  readonly recoveries: readonly {
    readonly topic: string
    readonly partition: number
    readonly report: RecoveryReport
  }[]
  readonly openFiles: HandleCacheStats & { readonly maxOpen: number }
  readonly warnings: readonly string[]
  /** What the store does by itself, how far it got, and what keeps failing. */
  readonly upkeep: UpkeepStatus
  /** What the last writing of the checkpoints met; it is tried again at the next one. */
  readonly checkpointError: LogError | undefined
}
