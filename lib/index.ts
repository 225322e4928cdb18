/** The public names, nothing else. */

export type { CleanableBound, CleanableJudgement, CleanableReason } from './compaction/cleanable.ts'
export type { CleaningProgress, CleaningStats } from './compaction/cleaning-types.ts'
export type { AppendResult } from './log/acknowledgement.ts'
export { ArenaPool } from './log/arena.ts'
export type { EraseOptions, EraseReceipt, ErasureProof } from './log/erase-types.ts'
export type { Hold, HoldOptions } from './log/holds.ts'
export type { Hole } from './log/holes.ts'
export type { LatestOptions, LatestRecords } from './log/latest-records.ts'
export type { FollowOptions, ViewKey } from './log/latest-table.ts'
export type { LatestView, ViewCondition, ViewEntry } from './log/latest-view.ts'
export {
  type CleanupPolicy,
  type Durability,
  formatTopicConfigs,
  KNOWN_TOPIC_CONFIGS,
  type LogConfig,
  parseTopicConfigs
} from './log/log-config.ts'
export type { HistogramSummary, LogStats } from './log/log-metrics.ts'
export type { LogCondition } from './log/log-state.ts'
export { type OpenLogOptions, type SharedParts, sharedParts } from './log/open-log.ts'
export type { OpenTransaction } from './log/open-transactions.ts'
export { PartitionLog } from './log/partition-log.ts'
export type { BatchScan, BatchStream, RecordStream } from './log/record-stream.ts'
export type { RecoveryNote, RecoveryReport } from './log/recovery-report.ts'
export type { Because, DeletionRule, KeepingRule, RetentionDecision } from './log/retention.ts'
export type {
  AbortedRange,
  AckLevel,
  AppendOptions,
  EndTransactionOptions,
  FetchResult,
  GetOptions,
  Isolation,
  ReadOptions,
  SegmentInfo,
  StreamOptions,
  TimestampedOffset
} from './log/types.ts'
export type { CompressionName, TimestampType } from './record/batch-format.ts'
export { BatchView } from './record/batch-view.ts'
export { type EncodeOptions, encodeBatch } from './record/encode-batch.ts'
export { LazyRecord } from './record/lazy-record.ts'
export type { EagerRecord, Header, HeadersInput, LogRecord, RecordInput } from './record/record.ts'
export { RecordCursor } from './record/record-cursor.ts'
export type { DecodeOptions } from './record/records-section.ts'
export type { BackupReport } from './store/backup.ts'
export type { HandOverReport } from './store/hand-over.ts'
export type { CleanedLog } from './store/log-cleaner.ts'
export type {
  FailedRetention,
  RetainedPartition,
  RetainOptions,
  RetainReport,
  SegmentDecision
} from './store/retain.ts'
export { Store } from './store/store.ts'
export type * from './store/types.ts'
export type * from './store/upkeep-types.ts'
export { type Clock, systemClock } from './util/clock.ts'
export { type ErrorCode, type ErrorDetails, isLogError, LogError } from './util/errors.ts'
export { partitionForKey } from './util/murmur2.ts'
export { GiB, KiB, MiB } from './util/sizes.ts'
export type { Finding, FindingCode, Severity, VerifiedPartition } from './verify/findings.ts'
export {
  planRepairs,
  type Remedy,
  type RemedyPlan,
  type RepairOptions,
  type RepairReport,
  repairDirectory
} from './verify/repair.ts'
export { type VerifyOptions, type VerifyReport, verifyDirectory } from './verify/verify.ts'
