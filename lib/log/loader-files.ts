/**
 * The files of a partition's folder: what each is for, and what an interrupted deletion, compaction or split left.
 *
 * Steps as in Kafka's LogLoader, with the folder synced wherever a power cut could otherwise reorder them:
 *   1. `.swap` files that an unfinished rewrite made go, then its `.cleaned` files: in this order, because a `.swap`
 *      without its `.cleaned` looks complete.
 *   2. What the remaining `.swap` files replace goes; then they take their names, logs first.
 *   3. `.deleted` files go.
 *   4. Index files without a log go, and side-cars of segments that are gone.
 * Each step can be cut short and done again.
 */
import { join } from 'node:path'
import type { DirectoryEntry, FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentFileName,
  SNAPSHOT_SUFFIX,
  SWAP_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { HOLDS_FILE } from './holds-file.ts'
import { HOLES_FILE } from './holes.ts'
import { LEADER_EPOCH_FILE } from './leader-epochs.ts'
import { MANIFEST_FILE } from './manifest.ts'
import { QUARANTINE_FOLDER } from './quarantine.ts'
import type { ReportBuilder } from './recovery-report.ts'
import { scanLogFile } from './recovery-scan.ts'
import { WATERMARK_FILE } from './watermark-file.ts'

const INDEX_SUFFIXES: readonly string[] = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX]
const SEGMENT_SUFFIXES: readonly string[] = [LOG_SUFFIX, ...INDEX_SUFFIXES]
/** Side-cars of one segment are named so; what each says is for its owner. */
const SEGMENT_SIDECAR = '.heartwood-'
const KNOWN_FILES: ReadonlySet<string> = new Set([LEADER_EPOCH_FILE, 'partition.metadata', WATERMARK_FILE])
/** Files of our own for the whole partition, of this release and of later ones. */
const OWN_PREFIX = 'heartwood-'
const TEMPORARY_SUFFIX = '.tmp'
/** `replaceFile` works so. */
const TEMPORARY_FILES: ReadonlySet<string> = new Set(
  [LEADER_EPOCH_FILE, MANIFEST_FILE, HOLDS_FILE, HOLES_FILE].map(name => name + TEMPORARY_SUFFIX)
)
const TEMPORARY_SUFFIXES = [...INDEX_SUFFIXES, SNAPSHOT_SUFFIX].map(suffix => suffix + TEMPORARY_SUFFIX)

interface NamedFile {
  readonly name: string
  readonly offset: number
  /** Without the suffix on top. */
  readonly suffix: string
}

/** What lies in a partition's folder. */
export interface FolderListing {
  /** Base offsets of the segments, ascending. */
  readonly bases: readonly number[]
  /** Plain segment files: logs and indexes. */
  readonly files: readonly NamedFile[]
  readonly deleted: readonly NamedFile[]
  readonly cleaned: readonly NamedFile[]
  readonly swaps: readonly NamedFile[]
  readonly sidecars: readonly NamedFile[]
  /** Names of derived files that somebody did not live to finish. */
  readonly temporary: readonly { readonly name: string }[]
  /** Offsets of the producer snapshots, in no order. */
  readonly snapshots: readonly number[]
  readonly unknown: readonly string[]
  /** All names. */
  readonly names: ReadonlySet<string>
}

/**
 * @throws {LogError} UNSAFE_PATH for a symbolic link: what it leads to is not ours to read, let alone to write.
 * @throws the system's error; ENOENT if there is no such folder.
 */
export async function listFolder(fs: FileSystem, dir: string): Promise<FolderListing> {
  const entries = await fs.readDirectory(dir)
  const listing = {
    files: [] as NamedFile[],
    deleted: [] as NamedFile[],
    cleaned: [] as NamedFile[],
    swaps: [] as NamedFile[],
    sidecars: [] as NamedFile[],
    temporary: [] as { name: string }[],
    snapshots: [] as number[],
    unknown: [] as string[]
  }
  for (const entry of entries) {
    if (entry.kind === 'symlink') {
      const path = join(dir, entry.name)
      const message = `${path} is a symbolic link. A partition's files are kept in its own folder: put the file itself here.`
      throw new LogError('UNSAFE_PATH', message, { path })
    }
    sortIn(listing, entry)
  }
  const bases = listing.files.filter(file => file.suffix === LOG_SUFFIX).map(file => file.offset)
  return { ...listing, bases: bases.sort((a, b) => a - b), names: new Set(entries.map(entry => entry.name)) }
}

function sortIn(
  listing: { [K in 'files' | 'deleted' | 'cleaned' | 'swaps' | 'sidecars']: NamedFile[] } & {
    temporary: { name: string }[]
    snapshots: number[]
    unknown: string[]
  },
  { name, kind }: DirectoryEntry
): void {
  const parsed = kind === 'file' ? parseSegmentFileName(name) : undefined
  if (parsed === undefined) {
    if (kind === 'file' && TEMPORARY_FILES.has(name)) listing.temporary.push({ name })
    else if (!isKnown(name, kind)) listing.unknown.push(name)
    return
  }
  const { offset, suffix } = parsed
  const strip = (top: string): NamedFile => ({ name, offset, suffix: suffix.slice(0, -top.length) })
  if (suffix.endsWith(DELETED_SUFFIX)) listing.deleted.push(strip(DELETED_SUFFIX))
  else if (suffix.endsWith(CLEANED_SUFFIX)) listing.cleaned.push(strip(CLEANED_SUFFIX))
  else if (suffix.endsWith(SWAP_SUFFIX)) listing.swaps.push(strip(SWAP_SUFFIX))
  else if (SEGMENT_SUFFIXES.includes(suffix)) listing.files.push({ name, offset, suffix })
  else if (suffix.startsWith(SEGMENT_SIDECAR)) listing.sidecars.push({ name, offset, suffix })
  else if (TEMPORARY_SUFFIXES.includes(suffix)) listing.temporary.push({ name })
  else if (suffix === SNAPSHOT_SUFFIX) listing.snapshots.push(offset)
  else listing.unknown.push(name)
}

function isKnown(name: string, kind: DirectoryEntry['kind']): boolean {
  if (kind === 'directory') return name === QUARANTINE_FOLDER
  if (kind !== 'file') return false
  const stem = name.endsWith(TEMPORARY_SUFFIX) ? name.slice(0, -TEMPORARY_SUFFIX.length) : name
  return KNOWN_FILES.has(stem) || stem.startsWith(OWN_PREFIX)
}

export interface TidyOptions {
  readonly fs: FileSystem
  readonly dir: string
  readonly report: ReportBuilder
}

/**
 * Finishes or undoes what was interrupted.
 *
 * @returns the folder as it is now.
 * @throws {LogError} CORRUPT_LOG if a `.swap` file, which was complete and synced before it got its name, is damaged:
 *   nothing has been removed then.
 */
export async function tidyFolder(options: TidyOptions): Promise<FolderListing> {
  const { fs, dir, report } = options
  let listing = await listFolder(fs, dir)
  const { cleaned } = listing
  const unfinishedFrom = cleaned.reduce((least, file) => Math.min(least, file.offset), Number.POSITIVE_INFINITY)
  const swaps = listing.swaps.filter(file => file.offset < unfinishedFrom)
  const unfinished = listing.swaps.filter(file => file.offset >= unfinishedFrom)
  const range = await replacedRange(options, swaps)
  if (swaps.length + unfinished.length + cleaned.length > 0) {
    report.note('INTERRUPTED_COMPACTION', 'A rewrite of segments was interrupted; it was finished or undone.', {
      finished: swaps.length,
      undone: unfinished.length + cleaned.length
    })
  }
  await remove(options, unfinished)
  await remove(options, cleaned)
  if (swaps.length > 0) {
    const replaced = listing.files.filter(file => file.offset >= range.from && file.offset < range.to)
    await remove(options, replaced)
    await takeNames(options, swaps)
  }
  await remove(options, listing.deleted)
  // Nearly always nothing was interrupted, and the folder is as it was.
  const isChanged = listing.swaps.length + cleaned.length + listing.deleted.length > 0
  if (isChanged) listing = await listFolder(fs, dir)
  const gone = orphans(listing)
  if (gone.length === 0) return listing
  await remove(options, gone)
  return listFolder(fs, dir)
}

/** Files that only make sense beside a log which is not there, and unfinished ones. */
function orphans({ files, sidecars, temporary, bases }: FolderListing): { readonly name: string }[] {
  const known = new Set(bases)
  return [...[...files, ...sidecars].filter(file => !known.has(file.offset)), ...temporary]
}

/** The offsets that the complete segments in `.swap` files cover. */
async function replacedRange(
  { fs, dir }: TidyOptions,
  swaps: readonly NamedFile[]
): Promise<{ from: number; to: number }> {
  let from = Number.POSITIVE_INFINITY
  let to = 0
  for (const { name, offset, suffix } of swaps) {
    if (suffix !== LOG_SUFFIX) continue
    const handle = await fs.open(join(dir, name), 'read')
    try {
      const { size } = await handle.stat()
      const scan = await scanLogFile(handle, { baseOffset: offset, from: 0, to: size, nextOffset: offset })
      if (scan.damage !== undefined) {
        const { position, reason } = scan.damage
        const message = `${join(dir, name)} is damaged at byte ${position}: ${reason}. It was to replace other segments; nothing was removed.`
        throw new LogError('CORRUPT_LOG', message, { segment: offset, position, fromOffset: scan.nextOffset })
      }
      from = Math.min(from, offset)
      to = Math.max(to, scan.nextOffset)
    } finally {
      await handle.close()
    }
  }
  return { from, to }
}

async function takeNames({ fs, dir }: TidyOptions, swaps: readonly NamedFile[]): Promise<void> {
  // The log first: it says which range is replaced, so it must not be the one that is left over.
  const inOrder = [...swaps].sort((a, b) => rank(a) - rank(b) || a.offset - b.offset)
  for (const { name, offset, suffix } of inOrder) {
    await fs.rename(join(dir, name), join(dir, segmentFileName(offset, suffix)))
  }
  if (swaps.length > 0) await fs.syncDirectory(dir)
}

const rank = (file: NamedFile): number => (file.suffix === LOG_SUFFIX ? 0 : 1)

/** Removes files, durably: what follows must not come to pass without it. */
async function remove({ fs, dir, report }: TidyOptions, files: readonly { readonly name: string }[]): Promise<void> {
  for (const { name } of files) {
    try {
      await fs.unlink(join(dir, name))
      report.deleted(name)
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
    }
  }
  if (files.length > 0) await fs.syncDirectory(dir)
}
