/** Opens what a partition log consists of: files, state, memory. */
import type { FileSystem } from '../fs/file-system.ts'
import { HandleCache } from '../fs/handle-cache.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { partitionDirectoryName } from '../segment/file-names.ts'
import { IndexCache } from '../segment/index-cache.ts'
import type { SegmentEnv } from '../segment/segment.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { hasSubscribers, publish } from '../util/diagnostics.ts'
import { LogError } from '../util/errors.ts'
import { ArenaPool } from './arena.ts'
import { BatchCache } from './batch-cache.ts'
import { FileFollower, type FollowerParts } from './file-follower.ts'
import { type LoadedLog, loadLog } from './loader.ts'
import { type LogConfig, logConfig } from './log-config.ts'
import { LogState } from './log-state.ts'
import { ProducerSnapshots } from './producer-snapshots.ts'
import type { RecoveryReport } from './recovery-report.ts'
import { WarmReads } from './warm-reads.ts'
import { WatermarkFile } from './watermark-file.ts'
import { WatermarkKeeper } from './watermark-keeper.ts'
import { WriteThread } from './write-thread.ts'

export interface OpenLogOptions {
  /** The partition's folder, `TOPIC-PARTITION`. Created when missing, unless `readOnly`. */
  readonly dir: string
  readonly topic: string
  readonly partition: number
  readonly config?: Partial<LogConfig>
  readonly readOnly?: boolean
  /** `fail` by default: a damaged log does not open. `read-prefix`: it opens for reading up to the damage. */
  readonly onCorruption?: 'fail' | 'read-prefix'
  /** The directory's clean-shutdown marker was there and covered this log. */
  readonly clean?: boolean
  /** From the directory's checkpoints. */
  readonly recoveryPoint?: number
  readonly logStartOffset?: number
  /** Another engine wrote here since our last close. */
  readonly foreign?: boolean
  /** With `readOnly`: a heartwood of another process has the log open for writing. */
  readonly liveWriter?: boolean
  /** Makes a log start offset durable outside the partition's folder, where Kafka keeps it. */
  readonly persistLogStart?: (offset: number) => Promise<void>
  /** Of new files and folders; 0600 and 0700 by default. */
  readonly permissions?: { readonly file: number; readonly folder: number }
  /** Of new files, when the process may give them away. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly shared?: SharedParts
}

/** What the logs of one process have in common. */
export interface SharedParts {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly handles: HandleCache
  readonly arena: ArenaPool
  readonly indexCache: IndexCache
  readonly batchCache: BatchCache
  readonly warmReads: WarmReads
  readonly writeThread: WriteThread
}

export function sharedParts(given: Partial<SharedParts> = {}): SharedParts {
  const fs = given.fs ?? nodeFileSystem
  const clock = given.clock ?? systemClock
  return {
    fs,
    clock,
    handles: given.handles ?? new HandleCache(fs),
    arena: given.arena ?? new ArenaPool(),
    indexCache: given.indexCache ?? new IndexCache(),
    batchCache: given.batchCache ?? new BatchCache(),
    warmReads: given.warmReads ?? new WarmReads(clock),
    writeThread: given.writeThread ?? new WriteThread()
  }
}

/** Everything a log engine is made of. */
export interface LogParts extends SharedParts {
  readonly topic: string
  readonly partition: number
  readonly dir: string
  /** For messages: `orders-0`. */
  readonly name: string
  readonly readOnly: boolean
  readonly state: LogState
  readonly env: SegmentEnv
  readonly snapshots: ProducerSnapshots
  readonly watermark: WatermarkKeeper | undefined
  readonly report: RecoveryReport
  readonly persistLogStart: (offset: number) => Promise<void>
  /** Of a log that another process may be writing. */
  readonly follow: FileFollower | undefined
}

export async function openParts(options: OpenLogOptions): Promise<LogParts> {
  const shared = options.shared ?? sharedParts()
  const config = logConfig(options.config)
  const readOnly = options.readOnly ?? false
  const { topic, partition, dir } = options
  let state: LogState | undefined
  const env: SegmentEnv = {
    ...shared,
    permissions: options.permissions?.file ?? 0o600,
    ...(options.owner === undefined ? {} : { owner: options.owner }),
    config: () => state?.config ?? config
  }
  const load = (): Promise<LoadedLog> =>
    loadLog({
      ...shared,
      env,
      dir,
      topic,
      partition,
      config,
      readOnly,
      clean: options.clean ?? false,
      recoveryPoint: options.recoveryPoint,
      logStartOffset: options.logStartOffset,
      foreign: options.foreign ?? false,
      onCorruption: options.onCorruption ?? 'fail',
      createIfMissing: !readOnly,
      permissions: options.permissions
    })
  const loaded = await load()
  state = new LogState({ ...loaded, config })
  if (loaded.corrupt !== undefined) state.condition = 'corrupt'
  if (loaded.readableUpTo < loaded.logEndOffset) state.readableUpTo = loaded.readableUpTo
  // Transactions that were decided below the high watermark are settled.
  state.advanced()
  const name = partitionDirectoryName(topic, partition)
  if (!loaded.report.clean && hasSubscribers('recovery'))
    publish('recovery', () => ({ topic, partition, report: loaded.report }))
  const failed = (error: unknown): void => publish('error', () => ({ topic, partition, error }))
  const follow = readOnly ? await openFollower(options, { ...shared, dir, env, state, reload: load }) : undefined
  return {
    ...shared,
    follow,
    topic,
    partition,
    dir,
    name,
    readOnly,
    state,
    env,
    snapshots: new ProducerSnapshots(shared.fs, dir, { permissions: env.permissions, owner: options.owner }),
    watermark: loaded.watermark === undefined ? undefined : new WatermarkKeeper(loaded.watermark, shared.clock, failed),
    report: loaded.report,
    persistLogStart: options.persistLogStart ?? refuseLogStart
  }
}

async function openFollower(options: OpenLogOptions, parts: Omit<FollowerParts, 'watermark'>): Promise<FileFollower> {
  // What is not synced yet the writer's own readers do not see either.
  const isBounded = options.liveWriter === true && parts.state.config.durability === 'batch'
  const watermark = isBounded ? await WatermarkFile.open(parts.fs, parts.dir, { readOnly: true }) : undefined
  return new FileFollower({ ...parts, watermark })
}

/** Kafka keeps log start offsets in a checkpoint of the data directory, which only a store knows. */
async function refuseLogStart(): Promise<void> {
  throw new LogError(
    'INVALID_REQUEST',
    'Records are deleted before an offset through a store, which keeps log start offsets.'
  )
}
