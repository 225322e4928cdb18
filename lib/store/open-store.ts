/** From paths to an open store's parts: all directories located, locked together, read, and taken over. */
import { join } from 'node:path'
import { lockDirectory, probeHolder } from '../fs/directory-lock.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { HandleCache } from '../fs/handle-cache.ts'
import { LOCK_FILE } from '../fs/lock-holder.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { ArenaPool } from '../log/arena.ts'
import { BatchCache } from '../log/batch-cache.ts'
import { logConfig } from '../log/log-config.ts'
import { type SharedParts, sharedParts } from '../log/open-log.ts'
import { systemClock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { attributesFrom, DataDirectory } from './data-directory.ts'
import { locateDirectory } from './locate-directory.ts'
import { LogTable } from './log-table.ts'
import { defaultMaxOpenFiles } from './open-file-limit.ts'
import { Topics } from './topics.ts'
import type { DirectoryStatus, HeldLock, LockDirectory, StoreOptions } from './types.ts'
import { Upkeep } from './upkeep.ts'

const CHECKPOINT_INTERVAL_MS = 60_000

export interface StoreParts {
  readonly directories: readonly DataDirectory[]
  readonly table: LogTable
  readonly topics: Topics
  readonly shared: SharedParts
  readonly readOnly: boolean
  readonly checkpointIntervalMs: number
  readonly upkeep: Upkeep
}

export async function openStoreParts(dirs: readonly string[], options: StoreOptions): Promise<StoreParts> {
  const { readOnly = false, defaults = {}, onCorruption = 'fail' } = options
  if (dirs.length === 0) throw new TypeError('a store needs at least one data directory')
  const { checkpointIntervalMs = CHECKPOINT_INTERVAL_MS } = options
  if (!(checkpointIntervalMs > 0 && checkpointIntervalMs < Number.POSITIVE_INFINITY)) {
    throw new TypeError(`checkpointIntervalMs must be positive, not ${checkpointIntervalMs}`)
  }
  logConfig(defaults)
  const fs = options.fs ?? nodeFileSystem
  const paths: string[] = []
  for (const dir of dirs) {
    const { createIfMissing = true, forceUnsafeFileSystem = false } = options
    paths.push(await locateDirectory(dir, { fs, readOnly, createIfMissing, forceUnsafeFileSystem }))
  }
  if (new Set(paths).size < paths.length) {
    throw new LogError('INVALID_REQUEST', `a data directory is named twice: ${paths.join(', ')}`, {})
  }
  const directories = readOnly
    ? await openForReading(fs, paths)
    : await openForWriting(fs, paths, options.lock ?? usualLock(fs))
  try {
    const handles = new HandleCache(fs, { maxOpen: options.maxOpenFiles ?? defaultMaxOpenFiles() })
    const arena = new ArenaPool(options.tailBytes === undefined ? {} : { maxRetainedBytes: options.tailBytes })
    const batchCache = new BatchCache(
      options.batchCacheBytes === undefined ? {} : { maxBytes: options.batchCacheBytes }
    )
    const shared = sharedParts({ fs, clock: options.clock ?? systemClock, handles, arena, batchCache })
    const table = new LogTable({ shared, readOnly, onCorruption })
    addPartitions(table, directories)
    const topics = new Topics({ fs, directories, table, readOnly, defaults })
    const upkeep = new Upkeep({ table, topics, shared, options: options.upkeep ?? {} })
    return { directories, table, topics, shared, readOnly, checkpointIntervalMs, upkeep }
  } catch (error) {
    for (const { lock } of directories) await lock?.release().catch(() => undefined)
    throw error
  }
}

/** How a directory is locked where nothing else was asked for. */
export function usualLock(fs: FileSystem): LockDirectory {
  if (fs.name === 'node') return dir => lockAsOwner(fs, dir)
  // Nobody else can reach into a file system of this process.
  return async () => ({ kind: 'none', release: async () => undefined })
}

/** The lock file must be one that a broker, who may be another user than we, can lock as well. */
async function lockAsOwner(fs: FileSystem, dir: string): Promise<HeldLock> {
  const { filePermissions, owner } = attributesFrom((await fs.stat(dir))!)
  const lock = await lockDirectory(dir, { allowOneSided: true, permissions: filePermissions })
  // By path: to open the file and close it again would give the record lock up.
  if (owner !== undefined) await fs.changeOwner(join(dir, LOCK_FILE), owner.uid, owner.gid).catch(() => undefined)
  return lock
}

async function openForWriting(fs: FileSystem, paths: readonly string[], lock: LockDirectory): Promise<DataDirectory[]> {
  const locks = new Map<string, HeldLock>()
  try {
    // In one order for everybody, so that two stores with the same directories never wait half-way for each other.
    for (const path of [...paths].sort()) locks.set(path, await lock(path))
    const directories: DataDirectory[] = []
    for (const path of paths) directories.push(await DataDirectory.open(fs, path, { lock: locks.get(path) }))
    return directories
  } catch (error) {
    for (const held of locks.values()) await held.release().catch(() => undefined)
    throw error
  }
}

async function openForReading(fs: FileSystem, paths: readonly string[]): Promise<DataDirectory[]> {
  const directories: DataDirectory[] = []
  for (const path of paths) {
    const holder: DirectoryStatus['holder'] = fs.name === 'node' ? await probeHolder(path) : undefined
    directories.push(await DataDirectory.open(fs, path, { lock: undefined, holder }))
  }
  return directories
}

function addPartitions(table: LogTable, directories: readonly DataDirectory[]): void {
  for (const directory of directories) {
    const clean = directory.verdict.clean && directory.holder === undefined
    for (const folder of directory.partitions.values()) {
      const twin = table.slot(folder.topic, folder.partition)
      if (twin !== undefined) {
        const message = `partition ${folder.name} lies in two directories: ${twin.directory.path} and ${directory.path}`
        throw new LogError('CORRUPT_FILE', message, { partition: folder.name })
      }
      table.add(directory, folder, clean)
    }
  }
}
