/**
 * The topics of a store: which there are, creating, altering and deleting them.
 *
 * A topic's settings go to the disk before its first folder and leave it after its last one (topics-file.ts, T1), so a
 * crash leaves either nothing, or an entry that says what was under way; `finishPending` goes on from there. Until
 * `createTopic` resolved, either outcome is right.
 *
 * All changes run one after the other.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { LogConfig } from '../log/log-config.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  partitionDirectoryName,
  segmentFileName,
  TIME_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import type { DataDirectory } from './data-directory.ts'
import { forEachLimited } from './for-each-limited.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { META_PROPERTIES } from './meta-properties.ts'
import { readPartitionMetadata, writePartitionMetadata } from './partition-metadata.ts'
import { translated } from './storage-errors.ts'
import { changedConfigs, topicLogConfig } from './topic-configs.ts'
import { assertNewTopicName, isInternalTopic } from './topic-names.ts'
import { TopicRemoval } from './topic-removal.ts'
import type { TopicEntry } from './topics-file.ts'
import type { AlterTopicOptions, CreateTopicOptions, TopicSummary } from './types.ts'
import { randomKafkaUuid } from './uuid.ts'

/** A folder can hold more, but a mistyped number should not make a million of them. */
export const MAX_PARTITIONS = 100_000
const FOLDERS_AT_A_TIME = 4
/** A partition has a segment from the start, as a broker makes it, so that it can be opened for reading too. */
const NO_CONFIGS: ReadonlyMap<string, string> = new Map()
const FIRST_FILES = [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX]

export interface TopicsOptions {
  readonly fs: FileSystem
  readonly directories: readonly DataDirectory[]
  readonly table: LogTable
  readonly readOnly: boolean
  readonly defaults: Partial<LogConfig>
}

interface Placement {
  readonly directory: DataDirectory
  readonly partition: number
}

export class Topics {
  readonly #fs: FileSystem
  readonly #directories: readonly DataDirectory[]
  readonly #table: LogTable
  readonly #readOnly: boolean
  readonly #defaults: Partial<LogConfig>
  readonly #removal: TopicRemoval
  readonly #turn = new Turn()
  #caseFolding: boolean | undefined
  /** By a topic's settings, which are replaced and never changed: a topic may have thousands of logs to open. */
  readonly #parsed = new WeakMap<ReadonlyMap<string, string>, LogConfig>()

  constructor({ fs, directories, table, readOnly, defaults }: TopicsOptions) {
    this.#fs = fs
    this.#directories = directories
    this.#table = table
    this.#readOnly = readOnly
    this.#defaults = defaults
    this.#removal = new TopicRemoval(fs, table)
  }

  /** Resolves when what was asked for before has been done. */
  settled(): Promise<void> {
    return this.#turn.run(() => undefined)
  }

  list({ internal = false }: { readonly internal?: boolean | undefined } = {}): TopicSummary[] {
    const names = [...this.#table.topicNames()].filter(name => internal || !isInternalTopic(name))
    return names.sort().map(name => this.summary(name))
  }

  summary(topic: string): TopicSummary {
    const entry = this.entry(topic)
    return {
      topic,
      topicId: entry?.topicId,
      internal: isInternalTopic(topic),
      partitions: [...(this.#table.topic(topic)?.keys() ?? [])].sort((a, b) => a - b),
      configs: entry === undefined ? undefined : Object.fromEntries(entry.configs),
      managed: this.isManaged(topic)
    }
  }

  /** See `TopicSummary.managed`. Costs nothing, however many partitions there are. */
  isManaged(topic: string): boolean {
    const entry = this.entry(topic)
    return entry !== undefined && (entry.origin === 'created' || entry.configs.has('cleanup.policy'))
  }

  /** What the side-cars say of a topic; `undefined`: nothing. */
  entry(topic: string): TopicEntry | undefined {
    for (const { topicsFile } of this.#directories) {
      const entry = topicsFile.topics.get(topic)
      if (entry !== undefined) return entry
    }
    return undefined
  }

  /** @throws {LogError} INVALID_CONFIG when a newer version, or a hand, wrote settings that mean nothing here. */
  config(topic: string): LogConfig {
    const configs = this.entry(topic)?.configs ?? NO_CONFIGS
    let config = this.#parsed.get(configs)
    if (config === undefined) this.#parsed.set(configs, (config = topicLogConfig(configs, this.#defaults)))
    return config
  }

  create(topic: string, { partitions = 1, configs = {} }: CreateTopicOptions = {}): Promise<void> {
    return this.#turn.run(async () => {
      this.#refuseChange('create', topic)
      assertPartitionCount(partitions)
      const caseFolding = await this.#foldsCase()
      assertNewTopicName(topic, this.#table.topicNames(), { caseFolding })
      if (this.#table.topic(topic) !== undefined) {
        throw new LogError('TOPIC_ALREADY_EXISTS', `topic ${topic} exists already`, { topic })
      }
      const settings = changedConfigs(new Map([['retention.ms', '-1']]), { set: configs })
      topicLogConfig(settings, this.#defaults)
      // Its folders may be there still: they must not be taken for those of the new one.
      for (const directory of this.#directories)
        if (directory.topicsFile.topics.get(topic)?.pending === 'delete') await this.#removal.finish(directory)
      const entry: TopicEntry = { topicId: randomKafkaUuid(), partitions, origin: 'created', configs: settings }
      await this.#addPartitions(topic, entry, 0)
    })
  }

  alter(topic: string, change: AlterTopicOptions): Promise<void> {
    return this.#turn.run(async () => {
      this.#refuseWriting('alter', topic)
      const slots = this.#existing(topic)
      const before = this.entry(topic) ?? (await this.#adopted(slots))
      const { partitions = slots.size } = change
      assertPartitionCount(partitions)
      if (partitions < slots.size) {
        const message = `topic ${topic} has ${slots.size} partitions; their number can only grow`
        throw new LogError('INVALID_REQUEST', message, { topic, partitions: slots.size, asked: partitions })
      }
      if (partitions > slots.size) this.#refuseChange('add partitions to', topic)
      const configs = changedConfigs(before.configs, change)
      const config = topicLogConfig(configs, this.#defaults)
      const entry: TopicEntry = { ...before, configs, partitions }
      if (partitions > slots.size) await this.#addPartitions(topic, entry, slots.size)
      else await this.#saveEntry(topic, entry, this.#directoriesOf(topic))
      for (const slot of slots.values()) {
        if (slot.failure?.code === 'INVALID_CONFIG') slot.failure = undefined
        if (slot.log?.condition === 'open') slot.log.updateConfig(config)
      }
    })
  }

  delete(topic: string): Promise<void> {
    return this.#turn.run(async () => {
      this.#refuseChange('delete', topic)
      const slots = [...this.#existing(topic).values()]
      const entry = this.entry(topic) ?? (await this.#adopted(this.#existing(topic)))
      await this.#removal.remove(topic, entry, slots)
    })
  }

  /** Ends what a crash interrupted. Called once, while the store opens for writing. */
  finishPending(): Promise<void> {
    return this.#turn.run(async () => {
      for (const directory of this.#directories) await this.#removal.finish(directory)
      const creating = new Set<string>()
      for (const { topicsFile } of this.#directories) {
        for (const [topic, { pending }] of topicsFile.topics) {
          if (pending !== undefined && pending !== 'delete') creating.add(topic)
        }
      }
      for (const topic of creating) await this.#finishCreation(topic)
    })
  }

  async #finishCreation(topic: string): Promise<void> {
    const planned: Placement[] = []
    let entry: TopicEntry | undefined
    for (const directory of this.#directories) {
      const found = directory.topicsFile.topics.get(topic)
      if (found?.pending === undefined || found.pending === 'delete') continue
      entry = found
      for (const partition of found.pending.create) planned.push({ directory, partition })
    }
    if (entry === undefined) return
    const present = new Set([...(this.#table.topic(topic)?.keys() ?? []), ...planned.map(({ partition }) => partition)])
    const missing = planned.filter(({ partition }) => this.#table.slot(topic, partition) === undefined)
    // Without a plan for every partition the crash came before the first folder: it never happened.
    const complete = present.size === entry.partitions
    if (complete) await this.#makeFolders(topic, entry, missing)
    const count = this.#table.topic(topic)?.size ?? 0
    const outcome = count === 0 ? undefined : { ...entry, partitions: count, pending: undefined }
    await this.#saveEntry(topic, outcome, this.#directories)
  }

  /** Creates the partitions from `first` to `entry.partitions` - 1, or none. */
  async #addPartitions(topic: string, entry: TopicEntry, first: number): Promise<void> {
    const placements = this.#place(first, entry.partitions)
    const before = this.entry(topic)
    const affected = new Set([...this.#directoriesOf(topic), ...placements.map(({ directory }) => directory)])
    for (const directory of affected) {
      const create = placements.filter(placement => placement.directory === directory).map(({ partition }) => partition)
      directory.topicsFile.topics.set(topic, { ...entry, pending: { create } })
    }
    try {
      for (const directory of affected) await directory.saveTopicsFile()
      await this.#makeFolders(topic, entry, placements)
    } catch (error) {
      await this.#undo(topic, before, placements, affected)
      throw error
    }
    await this.#saveEntry(topic, entry, affected)
  }

  async #makeFolders(topic: string, entry: TopicEntry, placements: readonly Placement[]): Promise<void> {
    await forEachLimited(placements, FOLDERS_AT_A_TIME, async ({ directory, partition }) => {
      const name = partitionDirectoryName(topic, partition)
      const path = directory.folderPath(name)
      const { folderPermissions, filePermissions, owner } = directory.attributes
      await translated('create', path, async () => {
        await this.#fs.makeDirectory(path, folderPermissions)
        if (owner !== undefined) await this.#fs.changeOwner(path, owner.uid, owner.gid)
        for (const suffix of FIRST_FILES) await this.#createEmpty(join(path, segmentFileName(0, suffix)), directory)
        if (entry.topicId === undefined) return this.#fs.syncDirectory(path)
        await writePartitionMetadata(this.#fs, path, entry.topicId, { permissions: filePermissions, owner })
      })
    })
    for (const directory of new Set(placements.map(placement => placement.directory))) {
      await translated('sync', directory.path, () => this.#fs.syncDirectory(directory.path))
    }
    // Only now are they there for others: all of them at once.
    for (const { directory, partition } of placements) {
      const folder = { name: partitionDirectoryName(topic, partition), topic, partition }
      directory.partitions.set(folder.name, folder)
      this.#table.add(directory, folder, true)
    }
  }

  async #createEmpty(path: string, { attributes: { filePermissions, owner } }: DataDirectory): Promise<void> {
    const handle = await this.#fs.open(path, 'create', filePermissions)
    await handle.close()
    if (owner !== undefined) await this.#fs.changeOwner(path, owner.uid, owner.gid)
  }

  /** As far as the disk lets us; what is left over is ended by the next open, from the entry that says so. */
  async #undo(
    topic: string,
    before: TopicEntry | undefined,
    placements: readonly Placement[],
    affected: Iterable<DataDirectory>
  ): Promise<void> {
    try {
      for (const { directory, partition } of placements) {
        await this.#removal.removeFolder(directory.folderPath(partitionDirectoryName(topic, partition)))
      }
      await this.#saveEntry(topic, before, affected)
    } catch {
      // The first error is the one to tell.
    }
  }

  async #saveEntry(topic: string, entry: TopicEntry | undefined, where: Iterable<DataDirectory>): Promise<void> {
    for (const directory of where) {
      if (entry === undefined) directory.topicsFile.topics.delete(topic)
      else directory.topicsFile.topics.set(topic, entry)
      await directory.saveTopicsFile()
    }
  }

  /** As Kafka: each partition goes to the directory that has the fewest. */
  #place(first: number, end: number): Placement[] {
    const counts = this.#directories.map(directory => ({ directory, count: directory.partitions.size }))
    const placements: Placement[] = []
    for (let partition = first; partition < end; partition += 1) {
      const target = counts.reduce((least, candidate) => (candidate.count < least.count ? candidate : least))
      target.count += 1
      placements.push({ directory: target.directory, partition })
    }
    return placements
  }

  #directoriesOf(topic: string): Set<DataDirectory> {
    return new Set([...(this.#table.topic(topic)?.values() ?? [])].map(slot => slot.directory))
  }

  #existing(topic: string): ReadonlyMap<number, LogSlot> {
    const slots = this.#table.topic(topic)
    if (slots !== undefined) return slots
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
  }

  /** A first entry for a topic that another engine made: its id, none of its settings. */
  async #adopted(slots: ReadonlyMap<number, LogSlot>): Promise<TopicEntry> {
    let topicId: string | undefined
    for (const { directory, folder } of slots.values()) {
      const path = directory.folderPath(folder.name)
      topicId ??= await translated('read', path, () => readPartitionMetadata(this.#fs, path))
    }
    return { topicId, partitions: slots.size, origin: 'adopted', configs: new Map() }
  }

  #refuseChange(what: string, topic: string): void {
    this.#refuseWriting(what, topic)
    const owned = this.#directories.find(directory => directory.brokerOwned)
    if (owned === undefined) return
    const message =
      `cannot ${what} topic ${topic}: ${owned.path} belongs to a Kafka broker (it holds __cluster_metadata-0), which ` +
      'knows topics from its own metadata alone and sets folders of others aside as strays; use the broker for that'
    throw new LogError('POLICY_VIOLATION', message, { topic, dir: owned.path })
  }

  #refuseWriting(what: string, topic: string): void {
    if (!this.#readOnly) return
    throw new LogError('READ_ONLY', `cannot ${what} topic ${topic}: the directory is open for reading only`, { topic })
  }

  /** Whether the file system takes META.PROPERTIES for meta.properties. */
  async #foldsCase(): Promise<boolean> {
    const { path } = this.#directories[0]!
    const other = join(path, META_PROPERTIES.toUpperCase())
    this.#caseFolding ??= (await translated('look into', path, () => this.#fs.stat(other))) !== undefined
    return this.#caseFolding
  }
}

function assertPartitionCount(partitions: number): void {
  if (Number.isSafeInteger(partitions) && partitions >= 1 && partitions <= MAX_PARTITIONS) return
  const message = `${partitions} is no number of partitions: 1 to ${MAX_PARTITIONS} are possible`
  throw new LogError('INVALID_REQUEST', message, { partitions, most: MAX_PARTITIONS })
}
