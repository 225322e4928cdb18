/** What lies in a data directory, told by names alone, and whether it is one. */
import { join } from 'node:path'
import type { DirectoryEntry, FileSystem } from '../fs/file-system.ts'
import { parsePartitionDirectoryName } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { CLEAN_SHUTDOWN_MARKER, MARKER_ASIDE } from './clean-shutdown.ts'
import { DISK_RESERVE } from './disk-reserve.ts'
import { META_PROPERTIES } from './meta-properties.ts'
import { CHECKPOINT_FILES } from './offset-checkpoints.ts'
import { PARTITION_METADATA } from './partition-metadata.ts'
import { TOPICS_FILE } from './topics-file.ts'

/** The broker's own metadata log: its owner is a broker, and it is no partition like the others. */
export const METADATA_TOPIC = '__cluster_metadata'

export interface PartitionFolder {
  /** `orders-0` */
  readonly name: string
  readonly topic: string
  readonly partition: number
}

export interface DirectoryListing {
  readonly partitions: readonly PartitionFolder[]
  /** Named like partitions, but symbolic links: never followed. */
  readonly unsafe: readonly PartitionFolder[]
  /** Folders on their way out (`…-delete`), strays and copies under way: left alone. */
  readonly leftAlone: readonly string[]
  /** It holds `__cluster_metadata-0`: topics are created and deleted by that broker alone. */
  readonly brokerOwned: boolean
  /** Nothing but what we may ignore. */
  readonly empty: boolean
  /** At least one thing that only a data directory has. */
  readonly isDataDirectory: boolean
  /** What else was found, for a message. */
  readonly unknown: readonly string[]
}

const KAFKA_FILES: ReadonlySet<string> = new Set([
  META_PROPERTIES,
  CLEAN_SHUTDOWN_MARKER,
  MARKER_ASIDE,
  TOPICS_FILE,
  DISK_RESERVE,
  'bootstrap.checkpoint',
  ...Object.values(CHECKPOINT_FILES)
])

/** Found in folders that are empty for all purposes, or left by an open of ours that a crash interrupted. */
const IGNORABLE: ReadonlySet<string> = new Set(['.lock', 'lost+found', '.DS_Store', 'Thumbs.db', 'desktop.ini'])
/** Of the lock among heartwoods (lock files are gone with their process, sooner or later). */
const SOCKET_LOCK_PREFIX = '.heartwood-lock-'
const isIgnorable = (name: string): boolean =>
  IGNORABLE.has(name) ||
  name.startsWith(SOCKET_LOCK_PREFIX) ||
  name === `${META_PROPERTIES}.tmp` ||
  name === `${TOPICS_FILE}.tmp`

const LEFT_ALONE = /-(delete|stray|future)$/

/** Enough for a look at what a folder named like a partition holds. */
const LOOKED_AT = 8

export async function listDirectory(fs: FileSystem, dir: string): Promise<DirectoryListing> {
  const entries = await fs.readDirectory(dir)
  const partitions: PartitionFolder[] = []
  const unsafe: PartitionFolder[] = []
  const leftAlone: string[] = []
  const unknown: string[] = []
  let brokerOwned = false
  let known = false
  for (const { name, kind } of entries) {
    if (isIgnorable(name)) continue
    const parsed = parsePartitionDirectoryName(name)
    if (parsed?.topic === METADATA_TOPIC) brokerOwned = true
    else if (KAFKA_FILES.has(name)) known = true
    else if (LEFT_ALONE.test(name)) leftAlone.push(name)
    else if (parsed !== undefined && kind === 'directory') partitions.push({ name, ...parsed })
    else if (parsed !== undefined && kind === 'symlink') unsafe.push({ name, ...parsed })
    else unknown.push(name)
  }
  partitions.sort(byTopicAndNumber)
  const somethingElse = partitions.length + unsafe.length + leftAlone.length + unknown.length > 0
  const empty = !brokerOwned && !known && !somethingElse
  const isDataDirectory = brokerOwned || known || (await holdsALog(fs, dir, partitions))
  return { partitions, unsafe, leftAlone, brokerOwned, empty, isDataDirectory, unknown }
}

/**
 * @throws {LogError} NOT_A_DATA_DIRECTORY for a folder that holds other things: nothing is written into it.
 */
export function refuseOtherFolders(dir: string, listing: DirectoryListing): void {
  if (listing.empty || listing.isDataDirectory) return
  const folders = [...listing.partitions, ...listing.unsafe].map(folder => folder.name)
  const names = [...listing.unknown, ...folders, ...listing.leftAlone]
  const found = names.slice(0, 3).join(', ')
  const more = names.length > 3 ? ` and ${names.length - 3} more` : ''
  const message = `${dir} is no data directory: it holds ${found}${more} and nothing of Kafka's or heartwood's`
  throw new LogError('NOT_A_DATA_DIRECTORY', message, { dir, found })
}

/** `notes-1` may be anybody's folder; one with a log or a topic's id in it is a partition. */
async function holdsALog(fs: FileSystem, dir: string, partitions: readonly PartitionFolder[]): Promise<boolean> {
  for (const { name } of partitions.slice(0, LOOKED_AT)) {
    const entries: DirectoryEntry[] = await fs.readDirectory(join(dir, name))
    if (entries.some(entry => entry.name === PARTITION_METADATA || /^\d{20}\.log$/.test(entry.name))) return true
  }
  return false
}

function byTopicAndNumber(a: PartitionFolder, b: PartitionFolder): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition
}
