/** The files of a partition's folder that are no segment: read, and told of where they cannot be. */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { HOLDS_FILE, readHolds } from '../log/holds-file.ts'
import { HOLES_FILE, type Hole, readHoles } from '../log/holes.ts'
import { LEADER_EPOCH_FILE, type LeaderEpochEntry, LeaderEpochs } from '../log/leader-epochs.ts'
import type { FolderListing } from '../log/loader-files.ts'
import { MANIFEST_FILE, type Manifest, readManifest } from '../log/manifest.ts'
import { parseSlot, SLOT_BYTES, WATERMARK_FILE, type Watermark } from '../log/watermark-file.ts'
import { PARTITION_METADATA, readPartitionMetadata } from '../store/partition-metadata.ts'
import { isLogError } from '../util/errors.ts'
import type { FindingCode, Findings, Severity } from './findings.ts'

export interface FolderContext {
  readonly fs: FileSystem
  /** The partition's folder. */
  readonly path: string
  readonly findings: Findings
}

/** What the side files say, as far as they can be read. */
export interface SideFiles {
  readonly epochs: readonly LeaderEpochEntry[] | undefined
  readonly manifest: Manifest | undefined
  readonly holes: readonly Hole[]
}

interface Trouble {
  readonly name: string
  readonly code: FindingCode
  readonly severity: Severity
  /** What it means that this file is lost, and what to do. */
  readonly consequence: string
}

/** What `read` gives; `undefined`, and a finding, where the file is damaged or of a newer version. */
async function orFinding<T>(
  { findings }: FolderContext,
  trouble: Trouble,
  read: () => Promise<T>
): Promise<T | undefined> {
  const { name, code, severity, consequence } = trouble
  try {
    return await read()
  } catch (error) {
    if (isLogError(error, 'UNSUPPORTED_VERSION')) {
      findings.add('note', 'NEWER_VERSION', name, `${error.message}: it was not checked.`)
      return undefined
    }
    if (isSystemError(error, 'ENOENT')) return undefined
    if (isLogError(error, 'CORRUPT_FILE'))
      findings.add(severity, code, name, `${name} cannot be read: ${plain(error.message, name)}. ${consequence}`)
    else throw error
    return undefined
  }
}

/** Without the path in front, which the finding names already. */
function plain(message: string, name: string): string {
  const at = message.lastIndexOf(`${name} `)
  return (at < 0 ? message : message.slice(at + name.length + 1)).replace(/\.$/, '')
}

export async function readSideFiles(context: FolderContext, listing: FolderListing): Promise<SideFiles> {
  const { fs, path } = context
  const holds: Trouble = {
    name: HOLDS_FILE,
    code: 'HOLDS',
    severity: 'corrupt',
    consequence:
      'Which readers the log is kept for is lost; no record is. Until this file is removed, retention takes nothing from this partition.'
  }
  const manifest: Trouble = {
    name: MANIFEST_FILE,
    code: 'MANIFEST',
    severity: 'derived',
    consequence:
      'Nothing tells any more which segment files there should be; the next opening for writing makes it anew.'
  }
  const epochs: Trouble = {
    name: LEADER_EPOCH_FILE,
    code: 'LEADER_EPOCHS',
    severity: 'derived',
    consequence: 'It is made anew from the batches.'
  }
  if (listing.names.has(HOLDS_FILE)) await orFinding(context, holds, () => readHolds(fs, path))
  const holes: Trouble = {
    name: HOLES_FILE,
    code: 'HOLES',
    severity: 'corrupt',
    consequence:
      'Which records of this partition are known to be lost is not known any more: readers pass over those gaps without a word.'
  }
  const marked = await orFinding(context, holes, () => readHoles(fs, path))
  for (const { fromOffset, toOffset, reason } of marked ?? []) {
    const message = `The records from offset ${fromOffset} up to ${toOffset - 1} are lost, and marked so (${reason}): who reads there gets DATA_LOSS, and goes on at ${toOffset}.`
    context.findings.add('note', 'HOLE', HOLES_FILE, message, { offset: fromOffset })
  }
  const found = await orFinding(context, manifest, () => readManifest(fs, path))
  const loaded = listing.names.has(LEADER_EPOCH_FILE)
    ? await orFinding(context, epochs, () => LeaderEpochs.load(fs, path))
    : undefined
  return { manifest: found, epochs: loaded?.entries, holes: marked ?? [] }
}

/** @returns the topic's id as the folder names it. */
export function readTopicId(context: FolderContext): Promise<string | undefined> {
  const trouble: Trouble = {
    name: PARTITION_METADATA,
    code: 'PARTITION_METADATA',
    severity: 'corrupt',
    consequence:
      'No record is lost, but the partition cannot be opened. Copy the file from another partition of the topic, or remove it: the topic’s id is unknown then.'
  }
  return orFinding(context, trouble, () => readPartitionMetadata(context.fs, context.path))
}

/**
 * The watermark as far as it can be read. To be read before the folder is listed: a writer beside us moves it only
 * after what it speaks of.
 */
export async function readWatermark({ fs, path, findings }: FolderContext): Promise<Watermark | undefined> {
  const bytes = await readWholeFile(fs, join(path, WATERMARK_FILE), 64 * SLOT_BYTES)
  if (bytes === undefined) return undefined
  let newest: { sequence: number; watermark: Watermark } | undefined
  let torn = 0
  for (const at of [0, SLOT_BYTES]) {
    try {
      const slot = parseSlot(Buffer.concat([bytes.subarray(at, at + SLOT_BYTES)], SLOT_BYTES))
      if (slot.kind === 'torn') torn += 1
      if (slot.kind === 'sound' && slot.sequence > (newest?.sequence ?? -1)) newest = slot
    } catch (error) {
      if (!isLogError(error, 'UNSUPPORTED_VERSION')) throw error
      findings.add('note', 'NEWER_VERSION', WATERMARK_FILE, `${error.message}: it was not checked.`)
      return undefined
    }
  }
  const isWhole = bytes.length === 2 * SLOT_BYTES
  if (torn > 0 || !isWhole) {
    const what =
      newest === undefined
        ? `${WATERMARK_FILE} cannot be read: nothing tells a torn end from damage but the batches themselves.`
        : `One of the two entries of ${WATERMARK_FILE} cannot be read; the other one serves.`
    findings.add('derived', 'WATERMARK', WATERMARK_FILE, `${what} The next opening for writing makes it anew.`)
  }
  return newest?.watermark
}

/** Files that are no part of the log as it is: notes, one for each kind. */
export function noteStrays({ findings }: FolderContext, listing: FolderListing): void {
  const { deleted, cleaned, swaps, temporary, unknown } = listing
  const kinds = [
    [deleted, 'out of use and waiting to be removed'],
    [cleaned, 'left of a compaction that was interrupted; the next opening for writing removes them'],
    [swaps, 'about to take the place of other segments; the next opening for writing finishes that'],
    [temporary, 'not finished; the next opening for writing removes them']
  ] as const
  for (const [files, what] of kinds) {
    const names = files.map(({ name }) => name).sort()
    const [first] = names
    if (first === undefined) continue
    findings.add('note', 'INTERRUPTED', first, `${names.length} file(s), this one first, are ${what}.`)
  }
  for (const name of unknown) {
    findings.add('note', 'UNKNOWN_FILE', name, `${name} is none of a log’s files; it was not looked into.`)
  }
}
