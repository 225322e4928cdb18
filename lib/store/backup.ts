/**
 * A consistent copy of a store in a new folder, while appends go on.
 *
 * For each partition: what is accepted is synced and its high watermark taken as the bound; then segments that are
 * durable with all their derived files are hard-linked (copied where the file system has no links), the others copied
 * without derived files. The copy is then opened as a store: it recovers the copied segments, is cut at the bound, and
 * closed cleanly. It is built in `TO.incomplete` and renamed when it is whole.
 *
 * Invariants:
 *   B1  Nothing that recovery of the copy may write to is shared with the original.
 *   B2  Every record below a partition's high watermark at some moment during the backup is in the copy, none above.
 *   B3  `TO` is whole, or not there.
 *
 * Linked segments share their blocks with the original: such a copy helps against mistakes, not against a broken disk.
 * `copy: true` shares nothing.
 */
import { dirname, join, resolve, sep } from 'node:path'
import { MAX_CHECKPOINT_BYTES, writeOffsetCheckpoint } from '../fs/checkpoint-file.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { type CopiedPartition, PartitionCopier } from './backup-partition.ts'
import { copyFile } from './copy-files.ts'
import { attributesFrom, type DataDirectory } from './data-directory.ts'
import { METADATA_TOPIC } from './directory-listing.ts'
import { forEachLimited } from './for-each-limited.ts'
import type { LogTable } from './log-table.ts'
import { META_PROPERTIES, META_PROPERTIES_MAX_BYTES } from './meta-properties.ts'
import { CHECKPOINT_FILES, type CheckpointKind, TELLTALE_CHECKPOINTS } from './offset-checkpoints.ts'
import { removeTree } from './remove-tree.ts'
import { translated } from './storage-errors.ts'
import type { Store } from './store.ts'
import type { Topics } from './topics.ts'
import { digestOf, emptyTopicsFile, formatTopicsFile, TOPICS_FILE } from './topics-file.ts'
import type { StoreOptions } from './types.ts'

export interface BackupOptions {
  /** True: copies every byte. False: hard links where possible, at next to no cost in space. False by default. */
  readonly copy?: boolean
}

export interface BackupReport {
  readonly dir: string
  readonly partitions: number
  readonly linkedFiles: number
  readonly copiedFiles: number
  readonly copiedBytes: number
  /** Partitions that could not be opened and are not in the copy. Empty, or the backup is not whole. */
  readonly skipped: readonly { readonly partition: string; readonly error: LogError }[]
}

export interface BackupSource {
  readonly directories: readonly DataDirectory[]
  readonly table: LogTable
  readonly topics: Topics
  readonly fs: FileSystem
  /** `Store.open`, for the copy. */
  readonly open: (dir: string, options: StoreOptions) => Promise<Store>
}

const PARTITIONS_AT_A_TIME = 2

/**
 * @param to - a folder that does not exist, or is empty, outside the store's own.
 * @throws {LogError} INVALID_REQUEST for such a target; LOCKED beside a live writer whose logs are not all `batch`, or
 *   that is a broker; NO_SPACE and other errors of the system, after which nothing is left at `to`.
 */
export async function backupStore(
  to: string,
  source: BackupSource,
  options: BackupOptions = {}
): Promise<BackupReport> {
  const { fs } = source
  refuseLiveWriter(source)
  const target = await freshTarget(to, source)
  const building = `${target}.incomplete`
  if ((await fs.stat(building)) !== undefined) {
    const message = `${building} is there already, from a backup that runs or did not finish: remove it first`
    throw new LogError('INVALID_REQUEST', message, { path: building })
  }
  await translated('create', building, () => fs.makeDirectory(building, 0o700))
  try {
    const report = await translated('back up to', target, () => build(building, source, options))
    await translated('rename', building, async () => {
      await fs.rename(building, target)
      await fs.syncDirectory(dirname(target))
    })
    return { ...report, dir: target }
  } catch (error) {
    await removeTree(fs, building).catch(() => undefined)
    throw error
  }
}

async function build(dir: string, source: BackupSource, { copy = false }: BackupOptions): Promise<BackupReport> {
  const { fs, table, topics } = source
  const attributes = attributesFrom((await fs.stat(dir))!)
  const copier = new PartitionCopier({ fs, to: dir, attributes, link: !copy })
  const copied = new Map<string, CopiedPartition>()
  const skipped: { partition: string; error: LogError }[] = []
  await forEachLimited(table.slots(), PARTITIONS_AT_A_TIME, async slot => {
    try {
      // A log that is neither open nor clean has damage, or belongs to another writer: its opening tells.
      if (slot.log === undefined && !slot.clean) await table.open(slot, () => topics.config(slot.folder.topic))
      copied.set(slot.folder.name, await copier.copy(slot))
    } catch (error) {
      if (slot.failure === undefined || !isLogError(error)) throw error
      skipped.push({ partition: slot.folder.name, error })
    }
  })
  await writeCheckpoints(fs, dir, copied)
  await copyDirectoryFiles(dir, source)
  await fs.syncDirectory(dir)
  await finish(dir, source, copied)
  const { linkedFiles, copiedFiles, copiedBytes } = copier
  return { dir, partitions: copied.size, linkedFiles, copiedFiles, copiedBytes, skipped }
}

/** Identity, settings, and in a broker's directory the broker's own metadata, which must fit its topics. */
async function copyDirectoryFiles(dir: string, { fs, directories, topics, table }: BackupSource): Promise<void> {
  const attributes = attributesFrom((await fs.stat(dir))!)
  const first = directories[0]!
  const meta = await readWholeFile(fs, join(first.path, META_PROPERTIES), META_PROPERTIES_MAX_BYTES)
  if (meta !== undefined) await replaceFile(fs, join(dir, META_PROPERTIES), meta)
  const own = emptyTopicsFile()
  own.brokerEpoch = first.topicsFile.brokerEpoch
  for (const kind of TELLTALE_CHECKPOINTS) {
    const name = CHECKPOINT_FILES[kind]
    const bytes = await readWholeFile(fs, join(dir, name), MAX_CHECKPOINT_BYTES)
    if (bytes !== undefined) own.checkpoints.set(name, [digestOf(bytes)])
  }
  for (const topic of table.topicNames()) {
    const entry = topics.entry(topic)
    if (entry !== undefined) own.topics.set(topic, { ...entry, pending: undefined })
  }
  await replaceFile(fs, join(dir, TOPICS_FILE), formatTopicsFile(own))
  for (const { path, brokerOwned } of directories) {
    if (!brokerOwned) continue
    const bootstrap = 'bootstrap.checkpoint'
    const stat = await fs.stat(join(path, bootstrap))
    const paths = { from: join(path, bootstrap), to: join(dir, bootstrap) }
    if (stat?.kind === 'file') await copyFile(fs, paths, stat.size, attributes)
    await copyMetadataLog(fs, path, dir)
  }
}

async function copyMetadataLog(fs: FileSystem, from: string, to: string): Promise<void> {
  const name = `${METADATA_TOPIC}-0`
  const attributes = attributesFrom((await fs.stat(to))!)
  await fs.makeDirectory(join(to, name), attributes.folderPermissions)
  for (const entry of await fs.readDirectory(join(from, name))) {
    if (entry.kind !== 'file') continue
    const paths = { from: join(from, name, entry.name), to: join(to, name, entry.name) }
    await copyFile(fs, paths, (await fs.stat(paths.from))!.size, attributes)
  }
  await fs.syncDirectory(join(to, name))
}

async function writeCheckpoints(
  fs: FileSystem,
  dir: string,
  copied: ReadonlyMap<string, CopiedPartition>
): Promise<void> {
  const write = (kind: CheckpointKind, offsetOf: (partition: CopiedPartition) => number | undefined): Promise<void> => {
    const offsets: [string, number][] = []
    for (const [name, partition] of copied) {
      const offset = offsetOf(partition)
      if (offset !== undefined) offsets.push([name, offset])
    }
    return writeOffsetCheckpoint(fs, join(dir, CHECKPOINT_FILES[kind]), offsets)
  }
  await write('recoveryPoint', partition => partition.recoveryPoint)
  await write('logStart', partition => partition.logStartOffset)
  await write('highWatermark', partition => partition.bound)
}

/** Recovers what was copied, cuts it at the bounds, closes it cleanly. */
async function finish(dir: string, source: BackupSource, copied: ReadonlyMap<string, CopiedPartition>): Promise<void> {
  const store = await source.open(dir, { fs: source.fs })
  try {
    for (const { error } of store.status().failed) throw error
    for (const { bound, topic, partition } of copied.values()) {
      if (bound === undefined) continue
      const log = await store.openLog(topic, partition)
      if (log.logEndOffset > bound) await log.truncateTo(bound)
    }
  } finally {
    await store.close()
  }
}

function refuseLiveWriter({ directories, table, topics }: BackupSource): void {
  for (const { path, holder } of directories) {
    if (holder === undefined) continue
    const who = holder.pid === undefined ? 'another process' : `process ${holder.pid}`
    if (holder.kind !== 'heartwood') {
      throw new LogError('LOCKED', `${path} is in use by ${who}, which is no heartwood: stop it first`, {
        path,
        pid: holder.pid
      })
    }
    for (const topic of table.topicNames()) {
      const { durability } = topics.config(topic)
      if (durability === 'batch') continue
      const message =
        `topic ${topic} has durability ${durability} and ${who} writes it: from outside nobody can tell how far it is ` +
        'safe. Back up from within that process (store.backup), or stop it'
      throw new LogError('LOCKED', message, { path, topic, pid: holder.pid })
    }
  }
}

/** The target's absolute path. Its parent exists. */
async function freshTarget(to: string, { fs, directories }: BackupSource): Promise<string> {
  const asked = resolve(to)
  let parent: string
  try {
    parent = await fs.realPath(dirname(asked))
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
    throw new LogError('INVALID_REQUEST', `the folder that shall hold ${to} does not exist`, { path: to }, error)
  }
  const target = join(parent, asked.slice(dirname(asked).length).replaceAll(sep, ''))
  const inside = directories.find(
    ({ path }) => target === path || target.startsWith(path + sep) || path.startsWith(target + sep)
  )
  if (inside !== undefined) {
    throw new LogError('INVALID_REQUEST', `${target} and the data directory ${inside.path} lie in one another`, {
      path: target
    })
  }
  const stat = await fs.stat(target)
  if (stat === undefined) return target
  if (stat.kind !== 'directory' || (await fs.readDirectory(target)).length > 0) {
    throw new LogError('INVALID_REQUEST', `${target} is there already: a backup needs a new or empty folder`, {
      path: target
    })
  }
  return target
}
