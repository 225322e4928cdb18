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
import type { EraseOptions, EraseReceipt } from './erase-types.ts'
import { FileFollower } from './file-follower.ts'
import type { LogHolds } from './holds.ts'
import { type LoadedLog, type LoadOptions, loadLog } from './loader.ts'
import { type LogConfig, logConfig } from './log-config.ts'
import { LogState } from './log-state.ts'
import type { Manifest } from './manifest.ts'
import { ManifestKeeper, ManifestLimits } from './manifest-keeper.ts'
import type { PartitionLog } from './partition-log.ts'
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
  /** Makes sure, durably, that the directory's checkpoint names no recovery point above `offset`. */
  readonly lowerRecoveryPoint?: (offset: number) => Promise<void>
  /** Takes a key's records out of the files: what a layer above does for `PartitionLog.eraseKey`. */
  readonly eraseKey?: EraseKey
  /** Of new files and folders; 0600 and 0700 by default. */
  readonly permissions?: { readonly file: number; readonly folder: number }
  /** Of new files, when the process may give them away. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  readonly shared?: SharedParts
}

export type EraseKey = (log: PartitionLog, key: Uint8Array, options: EraseOptions) => Promise<EraseReceipt>

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
  readonly manifests: ManifestLimits
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
    writeThread: given.writeThread ?? new WriteThread(),
    manifests: given.manifests ?? new ManifestLimits()
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
  /** `undefined` where nothing is written. */
  readonly manifest: ManifestKeeper | undefined
  /** The manifest as it was found; of a log that is written, `manifest` knows better. */
  readonly foundManifest: Manifest | undefined
  readonly holds: LogHolds
  readonly report: RecoveryReport
  /** See `LoadedLog.isFinal`. */
  readonly wasFinal: boolean
  readonly persistLogStart: (offset: number) => Promise<void>
  readonly lowerRecoveryPoint: (offset: number) => Promise<void>
  readonly eraseKey: EraseKey | undefined
  /** Of a log that another process may be writing. */
  readonly follow: FileFollower | undefined
}

export async function openParts(options: OpenLogOptions): Promise<LogParts> {
  const shared = options.shared ?? sharedParts()
  const config = logConfig(options.config)
  const { topic, partition, dir, readOnly = false, permissions, owner } = options
  const current = new CurrentConfig(config)
  const { fs, clock, handles, indexCache, warmReads } = shared
  const filePermissions = permissions?.file ?? 0o600
  const read = current.read
  const env = { fs, handles, clock, indexCache, warmReads, permissions: filePermissions, owner, config: read }
  const toLoad = loadOptions(options, shared, env, config)
  const loaded = await loadLog(toLoad)
  const state = new LogState(loaded, config)
  state.holes = loaded.holes
  current.state = state
  if (loaded.corrupt !== undefined) state.condition = 'corrupt'
  if (loaded.readableUpTo < loaded.logEndOffset) state.readableUpTo = loaded.readableUpTo
  // Transactions that were decided below the high watermark are settled.
  state.advanced()
  announce(topic, partition, loaded.report)
  const { watermark, holds, report } = loaded
  return {
    fs,
    clock,
    handles,
    arena: shared.arena,
    indexCache,
    batchCache: shared.batchCache,
    warmReads,
    writeThread: shared.writeThread,
    manifests: shared.manifests,
    follow: readOnly ? await openFollower(options, toLoad, state) : undefined,
    topic,
    partition,
    dir,
    name: partitionDirectoryName(topic, partition),
    readOnly,
    state,
    env,
    snapshots: new ProducerSnapshots(fs, dir, { permissions: filePermissions, owner }),
    watermark: watermark && new WatermarkKeeper(watermark, clock, publisherOfErrors(topic, partition)),
    foundManifest: loaded.manifest,
    manifest: watermark && manifestKeeper({ options, shared, loaded, state, filePermissions }),
    holds,
    report,
    wasFinal: loaded.isFinal,
    persistLogStart: options.persistLogStart ?? refuseLogStart,
    lowerRecoveryPoint: options.lowerRecoveryPoint ?? (async () => {}),
    eraseKey: options.eraseKey
  }
}

/** The configuration of a log while it is being loaded, and of the moment from then on. */
class CurrentConfig {
  state: { readonly config: LogConfig } | undefined
  readonly #first: LogConfig

  constructor(first: LogConfig) {
    this.#first = first
  }

  readonly read = (): LogConfig => this.state?.config ?? this.#first
}

function loadOptions(
  options: OpenLogOptions,
  { fs, handles, clock }: SharedParts,
  env: SegmentEnv,
  config: LogConfig
): LoadOptions {
  const { topic, partition, dir, readOnly = false, permissions } = options
  return {
    fs,
    handles,
    clock,
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
    permissions
  }
}

// What is handed on as a closure is made by functions of its own: it keeps all that it could see for as long as the
// log is open, and there may be thousands of logs.

function announce(topic: string, partition: number, report: RecoveryReport): void {
  if (!report.clean && hasSubscribers('recovery')) publish('recovery', () => ({ topic, partition, report }))
}

function publisherOfErrors(topic: string, partition: number): (error: unknown) => void {
  return error => publish('error', () => ({ topic, partition, error }))
}

function manifestKeeper(from: {
  readonly options: OpenLogOptions
  readonly shared: SharedParts
  readonly loaded: LoadedLog
  readonly state: LogState
  readonly filePermissions: number
}): ManifestKeeper {
  const { options, shared, loaded, state, filePermissions } = from
  const { dir, owner, topic, partition } = options
  const { fs, clock, manifests, writeThread } = shared
  const parts = {
    fs,
    clock,
    dir,
    replace: { permissions: filePermissions, owner },
    limits: manifests,
    writeThread,
    state,
    failed: publisherOfErrors(topic, partition)
  }
  return new ManifestKeeper(parts, loaded.manifest)
}

async function openFollower(options: OpenLogOptions, toLoad: LoadOptions, state: LogState): Promise<FileFollower> {
  const { fs, clock, handles, dir, env } = toLoad
  // What is not synced yet the writer's own readers do not see either.
  const isBounded = options.liveWriter === true && state.config.durability === 'batch'
  const watermark = isBounded ? await WatermarkFile.open(fs, dir, { readOnly: true }) : undefined
  return new FileFollower({ fs, clock, handles, dir, env, state, watermark, reload: () => loadLog(toLoad) })
}

/** Kafka keeps log start offsets in a checkpoint of the data directory, which only a store knows. */
async function refuseLogStart(): Promise<void> {
  throw new LogError(
    'INVALID_REQUEST',
    'Records are deleted before an offset through a store, which keeps log start offsets.'
  )
}
