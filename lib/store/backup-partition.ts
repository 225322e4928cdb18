/** Copies one partition's folder while its log may be in use. */
import { join } from 'node:path'
import type { FileStat, FileSystem } from '../fs/file-system.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { HOLDS_FILE } from '../log/holds-file.ts'
import { HOLES_FILE } from '../log/holes.ts'
import { type Manifest, readManifest, type SealedSegment, writeManifest } from '../log/manifest.ts'
import { LOG_SUFFIX, parseSegmentFileName, SWAP_SUFFIX } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { copyFile, tryLink } from './copy-files.ts'
import type { FileAttributes } from './data-directory.ts'
import type { LogSlot } from './log-table.ts'
import { PARTITION_METADATA } from './partition-metadata.ts'
import { removeTree } from './remove-tree.ts'

export interface CopiedPartition {
  readonly topic: string
  readonly partition: number
  /** Exclusive: the copy holds nothing at or above. `undefined`: all that was copied, for nobody was writing. */
  readonly bound: number | undefined
  /** Everything below was durable, derived files included, when it was copied. */
  readonly recoveryPoint: number
  readonly logStartOffset: number | undefined
}

/** Compaction and retention may take files away under us; more often than this they do not. */
const ATTEMPTS = 8

/** Of a segment whose derived files are final. What is not named here describes this machine's copy only. */
const SEALED_SUFFIXES: ReadonlySet<string> = new Set([
  '.log',
  '.index',
  '.timeindex',
  '.txnindex',
  '.heartwood-digest',
  '.heartwood-keys'
])
const PARTITION_FILES: ReadonlySet<string> = new Set([
  PARTITION_METADATA,
  'leader-epoch-checkpoint',
  HOLDS_FILE,
  HOLES_FILE
])

interface SourceFile {
  readonly name: string
  readonly how: 'link' | 'copy'
}

interface CopyOptions {
  readonly fs: FileSystem
  readonly to: string
  readonly attributes: FileAttributes
  readonly link: boolean
}

class Changed extends Error {}

export class PartitionCopier {
  readonly #options: CopyOptions
  linkedFiles = 0
  copiedFiles = 0
  copiedBytes = 0

  constructor(options: CopyOptions) {
    this.#options = options
  }

  /** @throws {LogError} STORAGE_FAILED when the partition changes faster than it can be copied. */
  async copy(slot: LogSlot): Promise<CopiedPartition> {
    const { fs, to, attributes } = this.#options
    const { folder, directory } = slot
    const target = join(to, folder.name)
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const log = slot.log?.condition === 'closed' ? undefined : slot.log
      // An exchange of segments that was in the way has the log's turn: it is over when we had it.
      if (attempt > 0) await log?.upkeep()
      // From here on, what is below the bound is in the files.
      if (log !== undefined && !log.readOnly) await log.sync()
      const bound = log?.highWatermark
      const recoveryPoint = log?.recoveryPoint ?? directory.checkpoint('recoveryPoint').get(folder.name) ?? 0
      const logStartOffset = log?.logStartOffset ?? directory.checkpoint('logStart').get(folder.name)
      await fs.makeDirectory(target, attributes.folderPermissions)
      try {
        const firstCopied = await this.#copyFolder(slot, target, recoveryPoint)
        await fs.syncDirectory(target)
        const { topic, partition } = folder
        return { topic, partition, bound, recoveryPoint: Math.min(recoveryPoint, firstCopied), logStartOffset }
      } catch (error) {
        if (!(error instanceof Changed) && !isSystemError(error, 'ENOENT')) throw error
        await removeTree(fs, target)
      }
    }
    const message = `${folder.name} changes faster than it can be copied; try again when compaction is through`
    throw new LogError('STORAGE_FAILED', message, { partition: folder.name, attempts: ATTEMPTS })
  }

  /** @returns base offset of the first segment that was copied rather than linked: what recovery may write to. */
  async #copyFolder(slot: LogSlot, to: string, recoveryPoint: number): Promise<number> {
    const { fs } = this.#options
    const { directory, folder } = slot
    const from = directory.folderPath(folder.name)
    const sideCarsAreStale = directory.topicsFile.unseen.has(folder.name)
    const manifest = sideCarsAreStale ? undefined : await manifestIn(fs, from)
    const files = (await fs.readDirectory(from)).filter(entry => entry.kind === 'file').map(entry => entry.name)
    // Holds say what readers need, whoever wrote the log.
    const names = files.filter(
      name => !sideCarsAreStale || name === HOLDS_FILE || name === HOLES_FILE || !name.includes('heartwood-')
    )
    const bases = segmentBases(names)
    const firstCopied = firstUnfinished(bases, recoveryPoint)
    const taken = new Map<string, FileStat>()
    for (const { name, how } of filesToTake(names, firstCopied)) {
      const stat = await fs.stat(join(from, name))
      if (stat === undefined) throw new Changed()
      taken.set(name, stat)
      await this.#take(join(from, name), join(to, name), how, stat.size)
    }
    await this.#assertUnchanged(from, taken, bases)
    const sealed = await this.#sealedInBoth(from, manifest, firstCopied)
    if (sealed.length > 0) await this.#writeManifest(to, { logStartOffset: 0, sealed, active: undefined })
    return firstCopied
  }

  /**
   * What the manifest said before and says after the copying: the segments that it names with one digest at both times
   * were the same in between.
   */
  async #sealedInBoth(from: string, before: Manifest | undefined, firstCopied: number): Promise<SealedSegment[]> {
    const after = before === undefined ? undefined : await manifestIn(this.#options.fs, from)
    const hashes = new Map(after?.sealed.map(({ baseOffset, digest }) => [baseOffset, digest?.hash]))
    return (before?.sealed ?? []).filter(
      ({ baseOffset, nextOffset, digest }) =>
        nextOffset <= firstCopied && digest !== undefined && hashes.get(baseOffset) === digest.hash
    )
  }

  async #writeManifest(to: string, manifest: Manifest): Promise<void> {
    const { fs, attributes } = this.#options
    const { filePermissions: permissions, owner } = attributes
    await writeManifest(fs, to, manifest, { permissions, owner })
  }

  async #take(from: string, to: string, how: SourceFile['how'], size: number): Promise<void> {
    const { fs, attributes, link } = this.#options
    if (link && how === 'link' && (await tryLink(fs, from, to))) {
      this.linkedFiles += 1
      return
    }
    try {
      await copyFile(fs, { from, to }, size, attributes)
    } catch (error) {
      if (error instanceof LogError && error.code === 'STORAGE_FAILED') throw new Changed()
      throw error
    }
    this.copiedFiles += 1
    this.copiedBytes += size
  }

  /** What was taken must be what is there: a segment that the cleaner put in its place belongs to another set. */
  async #assertUnchanged(from: string, taken: ReadonlyMap<string, FileStat>, bases: readonly number[]): Promise<void> {
    const active = bases.at(-1)
    const names = (await this.#options.fs.readDirectory(from)).map(({ name }) => name)
    const present = segmentBases(names)
    // Neither those that go nor those that come have their names while they are exchanged: a list of then lacks both.
    const isExchanging = names.some(name => name.endsWith(LOG_SUFFIX + SWAP_SUFFIX))
    const added = present.some(base => base <= (active ?? base) && !bases.includes(base))
    if (isExchanging || added) throw new Changed()
    for (const [name, before] of taken) {
      const parsed = parseSegmentFileName(name)
      if (parsed?.suffix !== '.log') continue
      const now = await this.#options.fs.stat(join(from, name))
      const grows = parsed.offset === active
      const same = now !== undefined && now.inode === before.inode
      if (!same || now.size < before.size || (!grows && now.size !== before.size)) throw new Changed()
    }
  }
}

/** One that cannot be read is none: the copy makes its own. */
function manifestIn(fs: FileSystem, dir: string): Promise<Manifest | undefined> {
  return readManifest(fs, dir).catch(error => {
    if (error instanceof LogError) return undefined
    throw error
  })
}

function segmentBases(names: readonly string[]): number[] {
  const bases = names.map(parseSegmentFileName).flatMap(parsed => (parsed?.suffix === '.log' ? [parsed.offset] : []))
  return bases.sort((a, b) => a - b)
}

/** Base of the segment that holds the recovery point, or of the active one if that is lower. */
function firstUnfinished(bases: readonly number[], recoveryPoint: number): number {
  const active = bases.at(-1) ?? 0
  const holding = bases.filter(base => base <= recoveryPoint).at(-1) ?? bases[0] ?? 0
  return Math.min(active, holding)
}

function filesToTake(names: readonly string[], firstCopied: number): SourceFile[] {
  const files: SourceFile[] = []
  for (const name of [...names].sort()) {
    const parsed = parseSegmentFileName(name)
    if (parsed === undefined) {
      if (PARTITION_FILES.has(name)) files.push({ name, how: 'copy' })
    } else if (parsed.suffix === '.snapshot') {
      if (parsed.offset <= firstCopied) files.push({ name, how: 'copy' })
    } else if (parsed.offset < firstCopied) {
      if (SEALED_SUFFIXES.has(parsed.suffix)) files.push({ name, how: 'link' })
    } else if (parsed.suffix === '.log') {
      files.push({ name, how: 'copy' })
    }
  }
  return files
}
