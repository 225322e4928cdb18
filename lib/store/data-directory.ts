/**
 * One data directory that is open: its identity, its checkpoints, its side-car and its clean-shutdown marker.
 *
 * Order of writing (each step durable before the next):
 *
 *     open    lock -> meta.properties if fresh -> side-car says "open" -> marker removed
 *             or, after a clean close of ours: lock -> marker put aside, which says the same
 *     upkeep  side-car with the new digests -> checkpoints
 *     close   checkpoints -> side-car with the marker's digest -> marker -> side-car says "confirmed" -> unlock
 *             or, with a marker put aside: checkpoints -> marker put back -> side-car says "confirmed" unless it does
 *
 * Invariants:
 *   D1  The marker is written only by `closeCleanly`, after everything else (clean-shutdown.ts).
 *   D2  Files are written one at a time, in the order of the calls.
 */
import { join } from 'node:path'
import type { FileStat, FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isLogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import {
  CLEAN_SHUTDOWN_MARKER,
  type CleanShutdownMarker,
  formatCleanShutdownMarker,
  putMarkerAside,
  putMarkerBack,
  readCleanShutdownMarker,
  readMarkerAside,
  removeCleanShutdownMarker,
  writeCleanShutdownMarker
} from './clean-shutdown.ts'
import { type DirectoryListing, listDirectory, type PartitionFolder } from './directory-listing.ts'
import { DiskReserve } from './disk-reserve.ts'
import { judgeLastVisitor, type Verdict } from './last-visitor.ts'
import {
  createMetaProperties,
  formatMetaProperties,
  META_PROPERTIES,
  META_PROPERTIES_MAX_BYTES,
  type MetaProperties,
  parseMetaProperties
} from './meta-properties.ts'
import { CHECKPOINT_KINDS, type CheckpointKind, OffsetCheckpoint, TELLTALE_CHECKPOINTS } from './offset-checkpoints.ts'
import { translated } from './storage-errors.ts'
import {
  digestOf,
  emptyTopicsFile,
  formatTopicsFile,
  NO_CHECKPOINT,
  readTopicsFile,
  TOPICS_FILE,
  type TopicsFile
} from './topics-file.ts'
import type { DirectoryStatus, HeldLock } from './types.ts'

/** Modes and owner of what is created in a folder: those of the folder itself. */
export interface FileAttributes {
  readonly filePermissions: number
  readonly folderPermissions: number
  /** Set only where it differs from the process' user, which only root can bring about. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined
}

interface Parts {
  readonly fs: FileSystem
  readonly path: string
  readonly lock: HeldLock | undefined
  readonly holder: DirectoryStatus['holder']
  readonly listing: DirectoryListing
  readonly attributes: FileAttributes
  readonly meta: MetaProperties | undefined
  readonly topicsFile: TopicsFile
  readonly verdict: Verdict
  readonly checkpoints: ReadonlyMap<CheckpointKind, OffsetCheckpoint>
  readonly warnings: string[]
  /** The side-car that was found need not be written: once its marker is put aside, it says what is so. */
  readonly saysAll: boolean
}

export class DataDirectory {
  readonly path: string
  /** `undefined`: opened read-only. */
  readonly lock: HeldLock | undefined
  readonly holder: DirectoryStatus['holder']
  readonly brokerOwned: boolean
  readonly attributes: FileAttributes
  readonly meta: MetaProperties | undefined
  readonly verdict: Verdict
  /** Ours to change; durable after `saveTopicsFile`. */
  readonly topicsFile: TopicsFile
  /** Partitions' folders by name. Ours to change, along with the folders. */
  readonly partitions: Map<string, PartitionFolder>
  /** Symbolic links that look like partitions. */
  readonly unsafe: ReadonlyMap<string, PartitionFolder>
  readonly warnings: string[]
  readonly #fs: FileSystem
  readonly #checkpoints: ReadonlyMap<CheckpointKind, OffsetCheckpoint>
  readonly #turn = new Turn()
  readonly #saysAll: boolean
  readonly #reserve: DiskReserve
  /** Digest of the marker that is put aside. */
  #aside: string | undefined
  /** The side-car is what it was when this directory was opened, and says "confirmed". */
  #isConfirmed = false
  #queuedSave: Promise<void> | undefined
  #queuedCheckpoints: Promise<void> | undefined

  private constructor(parts: Parts) {
    this.path = parts.path
    this.lock = parts.lock
    this.holder = parts.holder
    this.brokerOwned = parts.listing.brokerOwned
    this.attributes = parts.attributes
    this.meta = parts.meta
    this.verdict = parts.verdict
    this.topicsFile = parts.topicsFile
    this.partitions = new Map(parts.listing.partitions.map(folder => [folder.name, folder]))
    this.unsafe = new Map(parts.listing.unsafe.map(folder => [folder.name, folder]))
    this.warnings = parts.warnings
    this.#fs = parts.fs
    this.#checkpoints = parts.checkpoints
    this.#saysAll = parts.saysAll
    this.#reserve = new DiskReserve(parts.fs, parts.path, this.#replaceOptions)
  }

  /**
   * @param path - as `locateDirectory` gave it.
   * @param access.lock - held from here on by the directory; `undefined` for a read-only opening, which writes nothing.
   * @throws {LogError} UNSUPPORTED_VERSION when a newer heartwood wrote the side-car and we are to write;
   *   CORRUPT_FILE for a `meta.properties` that is none.
   */
  static open(
    fs: FileSystem,
    path: string,
    access: { readonly lock: HeldLock | undefined; readonly holder?: DirectoryStatus['holder'] }
  ): Promise<DataDirectory> {
    return translated('open', path, async () => {
      const directory = new DataDirectory(await readParts(fs, path, access))
      if (access.lock !== undefined) await directory.#takeOver()
      return directory
    })
  }

  /** Path of a partition's folder. */
  folderPath(name: string): string {
    return join(this.path, name)
  }

  checkpoint(kind: CheckpointKind): OffsetCheckpoint {
    return this.#checkpoints.get(kind)!
  }

  /** Makes the side-car as it is now durable. Calls that wait share one writing. */
  saveTopicsFile(): Promise<void> {
    return (this.#queuedSave ??= this.#turn.run(() => {
      this.#queuedSave = undefined
      return this.#writeTopicsFile()
    }))
  }

  /** Makes the checkpoints as they are now durable; writes only those that changed. */
  saveCheckpoints(): Promise<void> {
    return (this.#queuedCheckpoints ??= this.#turn.run(() => {
      this.#queuedCheckpoints = undefined
      return this.#writeCheckpoints()
    }))
  }

  /** Writes what is left and the marker. Every log is closed, and every one was clean: the caller has seen to it. */
  closeCleanly(): Promise<void> {
    return this.#turn.run(async () => {
      await this.#writeCheckpoints()
      const marker = formatCleanShutdownMarker(this.topicsFile.brokerEpoch)
      const digest = digestOf(marker)
      await translated('write', join(this.path, CLEAN_SHUTDOWN_MARKER), () => this.#writeMarker(marker, digest))
      this.topicsFile.marker = { digest, confirmed: true }
      if (!this.#isConfirmed) await this.#writeTopicsFile()
    })
  }

  async #writeMarker(marker: Buffer, digest: string): Promise<void> {
    this.topicsFile.marker = { digest, confirmed: false }
    // Whatever the side-car says, it names this digest since the marker was found.
    if (this.#aside === digest) return putMarkerBack(this.#fs, this.path)
    await this.#writeTopicsFile()
    await removeCleanShutdownMarker(this.#fs, this.path)
    await writeCleanShutdownMarker(this.#fs, this.path, marker, this.#replaceOptions)
  }

  get #replaceOptions(): ReplaceOptions {
    return { permissions: this.attributes.filePermissions, owner: this.attributes.owner }
  }

  /** First writing after the lock was taken: from here on a crash shows as one. */
  async #takeOver(): Promise<void> {
    if (this.meta === undefined && this.partitions.size === 0 && !this.brokerOwned) {
      const bytes = formatMetaProperties(createMetaProperties())
      await replaceFile(this.#fs, join(this.path, META_PROPERTIES), bytes, this.#replaceOptions)
    }
    if (this.#saysAll) {
      await putMarkerAside(this.#fs, this.path)
      this.#aside = this.topicsFile.marker?.digest
      this.#isConfirmed = true
      return this.#reserve.take()
    }
    await this.#writeTopicsFile()
    await this.#reserve.take()
    await removeCleanShutdownMarker(this.#fs, this.path)
  }

  async #writeTopicsFile(): Promise<void> {
    this.#isConfirmed = false
    const path = join(this.path, TOPICS_FILE)
    const bytes = formatTopicsFile(this.topicsFile)
    await translated('write', path, () => this.#replace(path, bytes))
  }

  #replace(path: string, bytes: Uint8Array): Promise<void> {
    return this.#reserve.using(() => replaceFile(this.#fs, path, bytes, this.#replaceOptions))
  }

  async #writeCheckpoints(): Promise<void> {
    const writings: { checkpoint: OffsetCheckpoint; bytes: Buffer }[] = []
    for (const [kind, checkpoint] of this.#checkpoints) {
      if (!checkpoint.dirty) continue
      const bytes = checkpoint.bytes()
      if (TELLTALE_CHECKPOINTS.includes(kind)) this.#announce(checkpoint, digestOf(bytes))
      checkpoint.noteWriting(digestOf(bytes))
      writings.push({ checkpoint, bytes })
    }
    if (writings.length === 0) return
    // Again, where it was given up; not behind the writing, for who raises a log start has more to note.
    await this.#reserve.take()
    try {
      await this.#writeTopicsFile()
      for (const { checkpoint, bytes } of writings) {
        const path = join(this.path, checkpoint.name)
        await translated('write', path, () => this.#replace(path, bytes))
      }
      // The next side-car need not allow for what they were before: a file that is gone then is not ours.
      for (const { checkpoint } of writings) this.#settled(checkpoint)
    } catch (error) {
      for (const { checkpoint } of writings) checkpoint.noteFailure()
      throw error
    }
  }

  #settled({ name, digest }: OffsetCheckpoint): void {
    if (digest !== undefined && this.topicsFile.checkpoints.has(name)) this.topicsFile.checkpoints.set(name, [digest])
  }

  /** Until the next writing, what the file was and what it shall be both count as ours (topics-file.ts, T2). */
  #announce(checkpoint: OffsetCheckpoint, digest: string): void {
    const before = this.topicsFile.checkpoints.get(checkpoint.name) ?? [NO_CHECKPOINT]
    this.topicsFile.checkpoints.set(checkpoint.name, [...new Set([digest, ...before])].slice(0, 3))
  }
}

/** Modes and owner for what is created in a folder. */
export function attributesFrom(stat: FileStat): FileAttributes {
  const root = process.getuid?.() === 0
  const foreign = root && (stat.uid !== 0 || stat.gid !== (process.getgid?.() ?? 0))
  return {
    filePermissions: stat.mode & 0o666,
    folderPermissions: stat.mode & 0o777,
    owner: foreign ? { uid: stat.uid, gid: stat.gid } : undefined
  }
}

async function readParts(
  fs: FileSystem,
  path: string,
  { lock, holder }: { readonly lock: HeldLock | undefined; readonly holder?: DirectoryStatus['holder'] }
): Promise<Parts> {
  const warnings: string[] = []
  const listing = await listDirectory(fs, path)
  const attributes = attributesFrom((await fs.stat(path))!)
  const metaPath = join(path, META_PROPERTIES)
  const metaBytes = await readWholeFile(fs, metaPath, META_PROPERTIES_MAX_BYTES)
  const meta = metaBytes === undefined ? undefined : parseMetaProperties(metaBytes, metaPath)
  const found = await readOwnFile(fs, path, { writing: lock !== undefined, warnings })
  const { marker, aside } = await readMarkers(fs, path)
  const checkpoints = new Map<CheckpointKind, OffsetCheckpoint>()
  for (const kind of CHECKPOINT_KINDS) checkpoints.set(kind, await OffsetCheckpoint.read(fs, path, kind))
  for (const { warning } of checkpoints.values()) if (warning !== undefined) warnings.push(warning)
  const markerDigest = marker === undefined ? undefined : digestOf(marker.bytes)
  const telltales = telltaleDigests(checkpoints)
  const judged = judgeLastVisitor({
    topicsFile: found,
    markerDigest,
    markerIsEmpty: marker?.bytes.length === 0,
    asideDigest: aside === undefined ? undefined : digestOf(aside),
    checkpoints: telltales
  })
  // A directory without a log has nothing that could be unclean, or that anybody could have written to.
  const verdict: Verdict = listing.partitions.length === 0 ? { clean: true, otherEngine: undefined } : judged
  const topicsFile = found ?? emptyTopicsFile()
  const wasConfirmed = judged.clean && judged.otherEngine === undefined && topicsFile.marker?.confirmed === true
  const unseenBefore = topicsFile.unseen.size
  const there = new Set(listing.partitions.map(folder => folder.name))
  for (const name of topicsFile.unseen) if (!there.has(name)) topicsFile.unseen.delete(name)
  if (verdict.otherEngine !== undefined) for (const name of there) topicsFile.unseen.add(name)
  topicsFile.marker = markerDigest === undefined ? undefined : { digest: markerDigest, confirmed: false }
  topicsFile.checkpoints.clear()
  for (const [name, digest] of telltales) topicsFile.checkpoints.set(name, [digest])
  // A crash of ours takes nothing from what the broker had flushed, so the epoch stays; another engine's takes it away.
  if (marker !== undefined || judged.otherEngine !== undefined) topicsFile.brokerEpoch = marker?.brokerEpoch
  const saysAll = wasConfirmed && topicsFile.unseen.size === unseenBefore
  return { fs, path, lock, holder, listing, attributes, meta, topicsFile, verdict, checkpoints, warnings, saysAll }
}

/** The marker, or the one that was put aside; twice, for the one may become the other beside a reader. */
async function readMarkers(
  fs: FileSystem,
  path: string
): Promise<{ readonly marker: CleanShutdownMarker | undefined; readonly aside: Buffer | undefined }> {
  const marker = await readCleanShutdownMarker(fs, path)
  if (marker !== undefined) return { marker, aside: undefined }
  const aside = await readMarkerAside(fs, path)
  return { marker: aside === undefined ? await readCleanShutdownMarker(fs, path) : undefined, aside }
}

function telltaleDigests(checkpoints: ReadonlyMap<CheckpointKind, OffsetCheckpoint>): Map<string, string> {
  const digests = new Map<string, string>()
  for (const kind of TELLTALE_CHECKPOINTS) {
    const { name, digest } = checkpoints.get(kind)!
    if (digest !== undefined) digests.set(name, digest)
  }
  return digests
}

/** Our side-car. A damaged one is set aside, because its settings are gone anyway and logs are not in danger. */
async function readOwnFile(
  fs: FileSystem,
  dir: string,
  { writing, warnings }: { readonly writing: boolean; readonly warnings: string[] }
): Promise<TopicsFile | undefined> {
  try {
    return await readTopicsFile(fs, dir)
  } catch (error) {
    const damaged = isLogError(error, 'CORRUPT_FILE')
    const newer = isLogError(error, 'UNSUPPORTED_VERSION')
    if (!damaged && !(newer && !writing)) throw error
    warnings.push(`${error.message}; topic settings are unknown and no topic is retained or compacted`)
    if (damaged && writing) {
      await fs.rename(join(dir, TOPICS_FILE), join(dir, `${TOPICS_FILE}.damaged`))
      await fs.syncDirectory(dir)
    }
    return undefined
  }
}
