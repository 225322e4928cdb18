import type { FileSystem } from '../fs/file-system.ts'
import type { HandleCache } from '../fs/handle-cache.ts'
import type { Segment, SegmentEnv } from '../segment/segment.ts'
import type { Clock } from '../util/clock.ts'
import type { LogError } from '../util/errors.ts'
import type { LogHolds } from './holds.ts'
import type { LogHoles } from './holes.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import type { LogConfig } from './log-config.ts'
import type { Manifest } from './manifest.ts'
import type { ProducerStateManager } from './producer-state.ts'
import type { RecoveryReport } from './recovery-report.ts'
import type { WatermarkFile } from './watermark-file.ts'

export interface LoadOptions {
  readonly fs: FileSystem
  readonly handles: HandleCache
  readonly clock: Clock
  readonly env: SegmentEnv
  /** The partition's folder. */
  readonly dir: string
  readonly topic: string
  readonly partition: number
  readonly config: LogConfig
  /** Changes no byte: what would be rebuilt is built in memory. */
  readonly readOnly: boolean
  /** The data directory's clean-shutdown marker was there and covered this log. */
  readonly clean: boolean
  /** From the checkpoint: everything below is durable, derived files included. 0 by default. */
  readonly recoveryPoint?: number | undefined
  /** From the checkpoint; the first segment's base offset by default. */
  readonly logStartOffset?: number | undefined
  /** Another engine wrote here since our last close. The loader may also find out by itself. */
  readonly foreign: boolean
  /** `read-prefix`: a damaged log opens for reading up to the damage, and no byte of it is changed. */
  readonly onCorruption: 'fail' | 'read-prefix'
  /** Creates the folder, and the first segment, where there is none. */
  readonly createIfMissing: boolean
  /** Of files and folders that loading creates; 0600 and 0700 by default. */
  readonly permissions?: { readonly file: number; readonly folder: number } | undefined
}

export interface LoadedLog {
  /** Ascending; the last one is active. At least one, unless an empty folder was opened read-only. */
  readonly segments: Segment[]
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly recoveryPoint: number
  readonly durableOffset: number
  readonly producers: ProducerStateManager
  readonly epochs: LeaderEpochs
  /** `undefined` when opened read-only, or read-prefix in a damaged log. */
  readonly watermark: WatermarkFile | undefined
  /** As it is in its file now; `undefined` if there is none. */
  readonly manifest: Manifest | undefined
  readonly holds: LogHolds
  readonly holes: LogHoles
  readonly report: RecoveryReport
  /** The files are what closing leaves: as long as nothing changes, closing has nothing to write. */
  readonly isFinal: boolean
  /** Exclusive. Below `logEndOffset` only with `read-prefix` in a damaged log. */
  readonly readableUpTo: number
  /** The damage that a log opened with `read-prefix` has. */
  readonly corrupt: LogError | undefined
}
