/**
 * Checks a data directory, Kafka's or ours: every batch and record, every derived file against them, every side-car.
 *
 * Reads only, changes no byte, takes no lock, and works beside a live writer: the unfinished end of a log is no finding
 * then. Memory is bounded whatever the size of the logs.
 */
import { join } from 'node:path'
import { probeHolder } from '../fs/directory-lock.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { DataDirectory } from '../store/data-directory.ts'
import { type DirectoryListing, listDirectory, type PartitionFolder } from '../store/directory-listing.ts'
import { locateDirectory } from '../store/locate-directory.ts'
import { META_PROPERTIES, META_PROPERTIES_MAX_BYTES, parseMetaProperties } from '../store/meta-properties.ts'
import { CHECKPOINT_FILES, CHECKPOINT_KINDS, OffsetCheckpoint } from '../store/offset-checkpoints.ts'
import { readTopicsFile, TOPICS_FILE, type TopicsFile } from '../store/topics-file.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Findings, type VerifiedPartition } from './findings.ts'
import type { PartitionCheckpoints } from './log-end.ts'
import { checkPartition, type PartitionContext } from './partition-check.ts'

export interface VerifyOptions {
  /** Only these topics; all by default. */
  readonly topics?: readonly string[]
  readonly fs?: FileSystem
  /** Hears of each partition as it has been checked. A returned promise is awaited. */
  readonly onPartition?: (partition: VerifiedPartition) => void | Promise<void>
  readonly signal?: AbortSignal
}

export interface VerifyReport {
  readonly dir: string
  /** Somebody had the directory open for writing meanwhile. */
  readonly live: boolean
  /** All partitions that were asked for, and first the directory itself if there is something to say of it. */
  readonly partitions: readonly VerifiedPartition[]
  /** Nothing is corrupt. Torn tails and derived data do not count: the next opening for writing sees to them. */
  readonly sound: boolean
}

/** What changes under a check by a live writer is checked again, so often. */
const ATTEMPTS = 4

/**
 * @throws {LogError} NOT_A_DATA_DIRECTORY; UNKNOWN_TOPIC_OR_PARTITION for a topic that is not there; ABORTED; what the
 *   file system refuses. Damage is never an error: it is in the report.
 */
export async function verifyDirectory(dir: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const fs = options.fs ?? nodeFileSystem
  const locating = { fs, readOnly: true, createIfMissing: false, forceUnsafeFileSystem: true }
  const path = await locateDirectory(dir, locating)
  const check = new DirectoryCheck(fs, path, options)
  try {
    return await check.run()
  } catch (error) {
    throw toLogError(error, 'check', path)
  }
}

/** What the directory's own files say, as far as they can be read. */
export interface DirectoryFacts {
  readonly listing: DirectoryListing
  readonly clean: boolean
  /** Why the side-cars of a partition say nothing. */
  readonly isForeign: (folder: string) => boolean
  readonly checkpoints: (folder: string) => PartitionCheckpoints
  readonly topicsFile: TopicsFile | undefined
  readonly live: boolean
}

class DirectoryCheck {
  readonly #fs: FileSystem
  readonly #path: string
  readonly #options: VerifyOptions
  readonly #findings = new Findings(undefined)
  /** Of each topic, the id that its partitions have, and which named it first. */
  readonly #topicIds = new Map<string, { readonly id: string; readonly folder: string }>()

  constructor(fs: FileSystem, path: string, options: VerifyOptions) {
    this.#fs = fs
    this.#path = path
    this.#options = options
  }

  async run(): Promise<VerifyReport> {
    const facts = await readDirectoryFacts(this.#fs, this.#path, this.#findings)
    const folders = this.#wanted(facts.listing)
    const partitions: VerifiedPartition[] = []
    const own = this.#ownLine()
    if (own.findings.length > 0) await this.#tell(own, partitions)
    for (const folder of folders) await this.#tell(await this.#partition(facts, folder), partitions)
    const sound = partitions.every(({ findings }) => findings.every(({ severity }) => severity !== 'corrupt'))
    return { dir: this.#path, live: facts.live, partitions, sound }
  }

  async #tell(partition: VerifiedPartition, partitions: VerifiedPartition[]): Promise<void> {
    partitions.push(partition)
    await this.#options.onPartition?.(partition)
  }

  #wanted({ partitions, unsafe }: DirectoryListing): PartitionFolder[] {
    const { topics } = this.#options
    for (const { name } of unsafe) {
      this.#findings.add(
        'corrupt',
        'UNSAFE_PATH',
        name,
        `${name} is a symbolic link, which is never followed: put the folder itself here.`
      )
    }
    if (topics === undefined || topics.length === 0) return [...partitions]
    for (const topic of topics) {
      if (partitions.some(folder => folder.topic === topic)) continue
      throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic} in ${this.#path}`, { topic })
    }
    return partitions.filter(folder => topics.includes(folder.topic))
  }

  #ownLine(): VerifiedPartition {
    const nothing = { partition: null, segments: 0, batches: 0, records: 0, bytes: 0 }
    return { ...nothing, logStartOffset: null, logEndOffset: null, findings: this.#findings.list() }
  }

  async #partition(facts: DirectoryFacts, folder: PartitionFolder): Promise<VerifiedPartition> {
    for (let attempt = 1; ; attempt += 1) {
      const findings = new Findings(folder.name)
      const context = partitionContext(this.#fs, this.#path, { facts, folder: folder.name, findings })
      try {
        const { listing: _, topicId, ...checked } = await checkPartition({ ...context, signal: this.#options.signal })
        if (topicId !== undefined) this.#checkTopicId(facts, folder, topicId, findings)
        const result = { ...checked, findings: findings.list() }
        const isCorrupt = result.findings.some(({ severity }) => severity === 'corrupt')
        // Retention or compaction may have changed the files while they were read.
        if (isCorrupt && facts.live && attempt < ATTEMPTS) continue
        return result
      } catch (error) {
        if (isSystemError(error, 'ENOENT') && attempt < ATTEMPTS) continue
        if (!isLogError(error, 'UNSAFE_PATH')) throw error
        findings.add('corrupt', 'UNSAFE_PATH', '', `${error.message} The partition cannot be opened until then.`)
        return { ...this.#ownLine(), partition: folder.name, findings: findings.list() }
      }
    }
  }

  #checkTopicId({ topicsFile }: DirectoryFacts, folder: PartitionFolder, id: string, findings: Findings): void {
    const { topic } = folder
    const entry = topicsFile?.topics.get(topic)
    const noted = entry?.origin === 'created' ? entry.topicId : undefined
    const other = this.#topicIds.get(topic)
    if (other === undefined) this.#topicIds.set(topic, { id, folder: folder.name })
    const known = noted ?? other?.id ?? id
    if (known === id) return
    const where = noted === undefined ? other?.folder : TOPICS_FILE
    const message = `This partition says that its topic has id ${id}, ${where} says ${known}: one of them is not this topic’s. The partition cannot be opened until that is put right.`
    findings.add('corrupt', 'PARTITION_METADATA', 'partition.metadata', message)
  }
}

export function partitionContext(
  fs: FileSystem,
  path: string,
  of: { readonly facts: DirectoryFacts; readonly folder: string; readonly findings: Findings }
): PartitionContext {
  const { facts, folder, findings } = of
  return {
    fs,
    folder,
    path: join(path, folder),
    findings,
    clean: facts.clean && !facts.live,
    live: facts.live,
    foreign: facts.isForeign(folder),
    checkpoints: facts.checkpoints(folder)
  }
}

export async function readDirectoryFacts(fs: FileSystem, path: string, findings: Findings): Promise<DirectoryFacts> {
  const holder = fs.name === 'node' ? await probeHolder(path) : undefined
  const listing = await listDirectory(fs, path)
  noteFolders(listing, findings)
  await checkMetaProperties(fs, path, findings)
  const topicsFile = await checkTopicsFile(fs, path, findings)
  const known = new Map<string, OffsetCheckpoint>()
  for (const kind of CHECKPOINT_KINDS) {
    const checkpoint = await OffsetCheckpoint.read(fs, path, kind)
    known.set(kind, checkpoint)
    if (checkpoint.warning === undefined) continue
    const consequence =
      kind === 'logStart'
        ? 'Records that were deleted inside a first segment may come back; nothing is lost.'
        : 'No record is concerned; it is made anew.'
    findings.add(
      'derived',
      'CHECKPOINT',
      CHECKPOINT_FILES[kind],
      `${CHECKPOINT_FILES[kind]} cannot be read. ${consequence}`
    )
  }
  const verdict = await DataDirectory.open(fs, path, { lock: undefined }).catch((error: unknown) => {
    if (isLogError(error)) return undefined
    throw error
  })
  const of = (kind: string, folder: string): number | undefined => known.get(kind)?.get(folder)
  return {
    listing,
    clean: verdict?.verdict.clean ?? false,
    isForeign: folder => verdict === undefined || verdict.topicsFile.unseen.has(folder),
    checkpoints: folder => ({
      recoveryPoint: of('recoveryPoint', folder),
      logStart: of('logStart', folder),
      highWatermark: of('highWatermark', folder),
      cleaner: of('cleaner', folder)
    }),
    topicsFile,
    live: holder !== undefined
  }
}

function noteFolders({ leftAlone, unknown, brokerOwned }: DirectoryListing, findings: Findings): void {
  for (const name of leftAlone) {
    findings.add('note', 'INTERRUPTED', name, `${name} is a topic on its way out, or a copy; it was not looked into.`)
  }
  for (const name of unknown) {
    const broker = brokerOwned ? ' A broker does not start beside a folder that it does not know.' : ''
    findings.add(
      'note',
      'UNKNOWN_FILE',
      name,
      `${name} is nothing of Kafka’s or heartwood’s; it was not looked into.${broker}`
    )
  }
}

async function checkMetaProperties(fs: FileSystem, dir: string, findings: Findings): Promise<void> {
  try {
    const bytes = await readWholeFile(fs, join(dir, META_PROPERTIES), META_PROPERTIES_MAX_BYTES)
    if (bytes !== undefined) parseMetaProperties(bytes, META_PROPERTIES)
  } catch (error) {
    if (!isLogError(error)) throw error
    const message = `${error.message}. No record is lost, but the directory cannot be opened, by a broker or by heartwood: restore the file; node and cluster id are in the same file of the broker’s other directories.`
    if (error.code === 'UNSUPPORTED_VERSION')
      findings.add('note', 'NEWER_VERSION', META_PROPERTIES, `${error.message}: it was not checked.`)
    else findings.add('corrupt', 'META_PROPERTIES', META_PROPERTIES, message)
  }
}

async function checkTopicsFile(fs: FileSystem, dir: string, findings: Findings): Promise<TopicsFile | undefined> {
  try {
    return await readTopicsFile(fs, dir)
  } catch (error) {
    if (!isLogError(error)) throw error
    const message = `${TOPICS_FILE} cannot be read: the settings of topics are lost. No record is; no topic is retained or compacted until "heartwood topics alter" states its settings again.`
    if (error.code === 'UNSUPPORTED_VERSION')
      findings.add('note', 'NEWER_VERSION', TOPICS_FILE, `${error.message}: it was not checked.`)
    else findings.add('corrupt', 'TOPICS_FILE', TOPICS_FILE, message)
    return undefined
  }
}
