/**
 * A store: the partition logs of one or more data directories, opened and closed together.
 *
 * Start reading here. What it consists of:
 *   locate-directory.ts, directory-listing.ts   is this a data directory, what lies in it
 *   data-directory.ts                           one directory that is open: marker, checkpoints, side-car
 *   last-visitor.ts                             was another engine here
 *   topics.ts, topic-removal.ts                 creating, altering, deleting topics
 *   log-table.ts                                which logs are open, clean, corrupt
 *   backup.ts, hand-over.ts                     copies for safety and for a broker
 *
 * Invariants:
 *   S1  One writer: all directories are locked, or none is.
 *   S2  Opened read-only, not a byte changes.
 *   S3  The clean-shutdown marker of a directory is written only if every log of it is clean (decisions 2).
 */

import type { LogConfig } from '../log/log-config.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { Timer } from '../util/clock.ts'
import { publish } from '../util/diagnostics.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { type BackupOptions, type BackupReport, backupStore } from './backup.ts'
import type { DataDirectory } from './data-directory.ts'
import { describeTopic, newPartition } from './describe.ts'
import { forEachLimited } from './for-each-limited.ts'
import { type HandOverOptions, type HandOverReport, type HandOverSide, handOverTopic } from './hand-over.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { openStoreParts, type StoreParts } from './open-store.ts'
import type { RetainOptions, RetainReport } from './retain.ts'
import { storeError } from './storage-errors.ts'
import { overrideLogConfig } from './topic-configs.ts'
import type { Topics } from './topics.ts'
import type {
  AlterTopicOptions,
  CreateTopicOptions,
  StoreOptions,
  StoreStatus,
  TopicDescription,
  TopicSummary
} from './types.ts'
import type { Upkeep } from './upkeep.ts'
import type { CompactOptions, CompactReport } from './upkeep-types.ts'

/** Logs that open, recover or close at the same time: more would only queue at the disk. */
const LOGS_AT_A_TIME = 4

export class Store implements AsyncDisposable {
  /** Real paths of the data directories. */
  readonly dirs: readonly string[]
  readonly readOnly: boolean
  /** A Kafka broker owns a directory: its topics are created and deleted by that broker alone. */
  readonly brokerOwned: boolean
  readonly #directories: readonly DataDirectory[]
  readonly #table: LogTable
  readonly #topics: Topics
  readonly #shared: SharedParts
  readonly #checkpointIntervalMs: number
  readonly #upkeep: Upkeep
  #timer: Timer | undefined
  #background: Promise<void> = Promise.resolve()
  #checkpointError: LogError | undefined
  #closing: Promise<void> | undefined

  /**
   * Opens data directories: heartwood's own or those of an Apache Kafka broker that does not run.
   *
   * A folder that is missing or empty becomes a data directory. One that was not closed cleanly is recovered first; a
   * log that is corrupt then stays closed and says why in `status()`, the others work.
   *
   * @param dirs - one or more folders; symbolic links in their paths are resolved once, those below are refused.
   * @throws {LogError} LOCKED when another process, or this one, writes there; NOT_A_DATA_DIRECTORY, UNSAFE_FILE_SYSTEM,
   *   PERMISSION_DENIED, UNSUPPORTED_VERSION, CORRUPT_FILE (`meta.properties`), NO_SPACE.
   */
  static async open(dirs: string | readonly string[], options: StoreOptions = {}): Promise<Store> {
    const store = new Store(await openStoreParts(typeof dirs === 'string' ? [dirs] : dirs, options))
    try {
      if (!store.readOnly) await store.#recover()
    } catch (error) {
      await store.close().catch(() => undefined)
      throw error
    }
    store.#armTimer()
    if (!store.readOnly) store.#upkeep.start()
    return store
  }

  /**
   * Gives a topic of a directory of ours to a stopped broker, which has an empty topic of that name.
   *
   * @see handOverTopic
   */
  static async handOver(
    topic: string,
    ours: string | readonly string[],
    kafkaDir: string | readonly string[],
    options: HandOverOptions = {}
  ): Promise<HandOverReport> {
    const source = await Store.open(ours, { ...options, createIfMissing: false })
    try {
      const target = await Store.open(kafkaDir, { ...options, createIfMissing: false })
      try {
        return await handOverTopic(topic, source.#side(), target.#side())
      } finally {
        await target.close()
      }
    } finally {
      await source.close()
    }
  }

  private constructor(parts: StoreParts) {
    this.#directories = parts.directories
    this.#table = parts.table
    this.#topics = parts.topics
    this.#shared = parts.shared
    this.#checkpointIntervalMs = parts.checkpointIntervalMs
    this.#upkeep = parts.upkeep
    this.readOnly = parts.readOnly
    this.dirs = parts.directories.map(directory => directory.path)
    this.brokerOwned = parts.directories.some(directory => directory.brokerOwned)
  }

  /**
   * Creates a topic. Durable when it resolves; after a crash on the way, it is there whole or not at all.
   *
   * @throws {LogError} INVALID_TOPIC, TOPIC_ALREADY_EXISTS, INVALID_CONFIG, INVALID_REQUEST (number of partitions),
   *   POLICY_VIOLATION in a broker's directory, READ_ONLY, NO_SPACE.
   */
  async createTopic(topic: string, options: CreateTopicOptions = {}): Promise<TopicDescription> {
    this.#assertOpen()
    await this.#topics.create(topic, options)
    const { topicId = null, internal, configs = null, partitions } = this.#topics.summary(topic)
    // Nothing is opened for this: a topic may have thousands of partitions.
    return { topic, topicId, internal, configs, partitions: partitions.map(newPartition) }
  }

  /**
   * Deletes a topic with all its records. Durable when it resolves.
   *
   * @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION, POLICY_VIOLATION in a broker's directory, READ_ONLY.
   */
  async deleteTopic(topic: string): Promise<void> {
    this.#assertOpen()
    await this.#topics.delete(topic)
  }

  /**
   * Changes settings or adds partitions. Open logs follow at once.
   *
   * Stating `cleanup.policy` for a topic that another engine made lets retention and compaction touch it from then on.
   *
   * @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION, READ_ONLY.
   */
  async alterTopic(topic: string, change: AlterTopicOptions): Promise<TopicSummary> {
    this.#assertOpen()
    await this.#topics.alter(topic, change)
    return this.#topics.summary(topic)
  }

  /** Topics by name, Kafka's own (`__consumer_offsets` …) only when asked. Opens no log. */
  topics(options: { readonly internal?: boolean } = {}): TopicSummary[] {
    this.#assertOpen()
    return this.#topics.list(options)
  }

  /**
   * A topic with the offsets of its partitions, whose logs are opened for it. One that cannot be opened is described by
   * its error.
   *
   * @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION.
   */
  async describe(topic: string): Promise<TopicDescription> {
    this.#assertOpen()
    return describeTopic(topic, this.#slotsOf(topic), {
      table: this.#table,
      topics: this.#topics,
      upkeep: this.#upkeep,
      fs: this.#shared.fs
    })
  }

  /**
   * The log of a partition, opened on first use; one object for one partition, whoever asks. It is closed by the store,
   * or by its own `close`, after which this opens it anew.
   *
   * A topic that does not exist is created with as many partitions as this one needs, where topics may be created.
   *
   * @param config - over the topic's settings, until the log is closed.
   * @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION, CORRUPT_LOG, INVALID_CONFIG, TOO_MANY_OPEN_FILES, STORE_CLOSED.
   */
  async openLog(topic: string, partition: number, config?: Partial<LogConfig>): Promise<PartitionLog> {
    this.#assertOpen()
    const slot = await this.#slotFor(topic, partition)
    const wanted = (): LogConfig => overrideLogConfig(this.#topics.config(topic), config)
    const wasOpen = slot.log?.condition === 'open'
    const log = await this.#table.open(slot, wanted)
    if (wasOpen && config !== undefined) log.updateConfig(wanted())
    // A close that began meanwhile waits for logs that are being opened, and has closed this one.
    this.#assertOpen()
    return log
  }

  /** The log of a partition if it is open now. */
  log(topic: string, partition: number): PartitionLog | undefined {
    const log = this.#table.slot(topic, partition)?.log
    return log?.condition === 'closed' ? undefined : log
  }

  /**
   * Writes a consistent copy of the whole store into a new folder, while appends go on. It opens as cleanly closed, in
   * heartwood and in Kafka.
   *
   * @see backupStore
   */
  async backup(to: string, options: BackupOptions = {}): Promise<BackupReport> {
    this.#assertOpen()
    const source = {
      directories: this.#directories,
      table: this.#table,
      topics: this.#topics,
      fs: this.#shared.fs,
      open: Store.open
    }
    return backupStore(to, source, options)
  }

  /**
   * Takes away what the topics' retention says, and tells for every segment why it goes or stays. Topics whose settings
   * are unknown keep everything. A store does this by itself: see `StoreOptions.upkeep`. While the wall clock is ahead
   * of where it was to be, nothing goes for its age, unless `options.now` says what time it is.
   *
   * @returns what was done; a log that could not be looked at or shortened has its error there.
   * @throws {LogError} READ_ONLY, unless it is a dry run; UNKNOWN_TOPIC_OR_PARTITION for a topic that is not there.
   */
  async retain(options: RetainOptions = {}): Promise<RetainReport> {
    this.#assertOpen()
    if (options.dryRun !== true) this.#assertWritable('apply retention in')
    return this.#upkeep.retain(options)
  }

  /**
   * Compacts the logs that are due, and tells for every log why it was or was not. Topics whose settings are unknown,
   * and those that are not compacted, stay as they are. A store does this by itself: see `StoreOptions.upkeep`.
   *
   * @returns what was done; a log that could not be cleaned has its error there, and is as it was.
   * @throws {LogError} READ_ONLY, unless it is a dry run; UNKNOWN_TOPIC_OR_PARTITION; ABORTED.
   */
  async compact(options: CompactOptions = {}): Promise<CompactReport> {
    this.#assertOpen()
    if (options.dryRun !== true) this.#assertWritable('compact')
    return this.#upkeep.compact(options)
  }

  /** Nothing happens by itself until `resumeUpkeep`; a cleaning that is under way stops where it is. */
  pauseUpkeep(): void {
    this.#upkeep.pause()
  }

  resumeUpkeep(): void {
    this.#upkeep.resume()
  }

  /** The wall clock is right as it is: retention by time need not wait any longer (`status().upkeep.clockJumpMs`). */
  acknowledgeClock(): void {
    this.#upkeep.acknowledgeClock()
  }

  /** What is open, what went wrong, what protects the directories. Takes no I/O. */
  status(): StoreStatus {
    const slots = [...this.#table.slots()]
    const name = ({ folder: { topic, partition } }: LogSlot) => ({ topic, partition })
    return {
      readOnly: this.readOnly,
      brokerOwned: this.brokerOwned,
      directories: this.#directories.map(({ path, lock, verdict, holder, partitions }) => ({
        dir: path,
        lock: lock?.kind,
        cleanAtOpen: verdict.clean,
        otherEngine: verdict.otherEngine,
        holder,
        partitions: partitions.size
      })),
      logs: slots.flatMap(slot =>
        slot.log === undefined ? [] : [{ ...name(slot), condition: slot.log.condition, stats: slot.log.stats() }]
      ),
      failed: slots.flatMap(slot => (slot.failure === undefined ? [] : [{ ...name(slot), error: slot.failure }])),
      recoveries: slots.flatMap(slot =>
        slot.recovery === undefined ? [] : [{ ...name(slot), report: slot.recovery }]
      ),
      openFiles: { ...this.#shared.handles.stats, maxOpen: this.#shared.handles.maxOpen },
      warnings: this.#warnings(),
      upkeep: this.#upkeep.status(),
      checkpointError: this.#checkpointError
    }
  }

  /**
   * Makes the checkpoints durable as the logs are now: how far each is flushed, where it begins, what readers may see.
   * Happens by itself every minute and at the end; without it, a crash costs scanning, not data.
   */
  async checkpoint(): Promise<void> {
    this.#assertOpen()
    await this.#checkpoint()
  }

  /**
   * Closes every log, writes checkpoints and, where every log is clean, the marker that says so, and lets others in.
   * Idempotent.
   *
   * @throws {LogError} the first thing that went wrong. All is closed and unlocked nevertheless; what could not be
   *   written is recovered by the next open.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Every log of a directory that was not closed cleanly is opened once, so that the marker may be written at close. */
  async #recover(): Promise<void> {
    await this.#topics.finishPending()
    const unclean = [...this.#table.slots()].filter(slot => !slot.clean)
    // Kept open as far as memory is no question; the report of the others is in `status()`.
    const keepOpen = new Set(unclean.slice(0, 256))
    await forEachLimited(unclean, LOGS_AT_A_TIME, async slot => {
      try {
        await this.#table.open(slot, () => this.#topics.config(slot.folder.topic), { recovering: true })
        if (!keepOpen.has(slot)) await this.#table.settle(slot)
      } catch (error) {
        // Damage stays with its log. What the machine refuses (memory, descriptors, space) concerns all of them.
        if (slot.failure === undefined) throw error
      }
    })
    for (const directory of this.#directories) {
      if (this.#table.takeSeen(directory)) await directory.saveTopicsFile()
    }
    if (unclean.length > 0) await this.#checkpoint()
  }

  async #slotFor(topic: string, partition: number): Promise<LogSlot> {
    if (!Number.isSafeInteger(partition) || partition < 0) {
      const message = `${partition} is no partition: they are whole numbers from 0 on`
      throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', message, { topic, partition })
    }
    const found = this.#table.slot(topic, partition)
    if (found !== undefined) return found
    const unsafe = this.#directories.find(directory => directory.unsafe.has(`${topic}-${partition}`))
    if (unsafe !== undefined) {
      const path = unsafe.folderPath(`${topic}-${partition}`)
      throw new LogError('UNSAFE_PATH', `${path} is a symbolic link; those are not followed`, { path })
    }
    const known = this.#table.topic(topic)
    if (known === undefined && !this.readOnly && !this.brokerOwned) {
      await this.#topics.create(topic, { partitions: partition + 1 }).catch(ignoreIfExists)
      const created = this.#table.slot(topic, partition)
      if (created !== undefined) return created
    }
    const message =
      known === undefined
        ? `there is no topic ${topic}`
        : `topic ${topic} has no partition ${partition}; it has ${[...known.keys()].sort((a, b) => a - b).join(', ')}`
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', message, { topic, partition })
  }

  #side(): HandOverSide {
    return { fs: this.#shared.fs, table: this.#table, topics: this.#topics, dirs: this.dirs }
  }

  #slotsOf(topic: string): ReadonlyMap<number, LogSlot> {
    const slots = this.#table.topic(topic)
    if (slots !== undefined) return slots
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
  }

  #warnings(): string[] {
    const warnings = this.#directories.flatMap(directory => directory.warnings)
    for (const { path, lock, unsafe } of this.#directories) {
      if (lock?.kind === 'socket-only') {
        warnings.push(
          `${path} is locked against heartwood only: a Kafka broker started now would not be stopped ` +
            '(install fs-ext, or use Node 22 or later)'
        )
      }
      for (const name of unsafe.keys()) warnings.push(`${path}: ${name} is a symbolic link and is not opened`)
    }
    return warnings
  }

  #armTimer(): void {
    if (this.readOnly || this.#closing !== undefined) return
    this.#timer = this.#shared.clock.setTimer(this.#checkpointIntervalMs, () => {
      this.#background = this.#checkpoint().catch(error => {
        publish('error', () => ({ dir: this.dirs.join(', '), error }))
      })
      void this.#background.then(() => this.#armTimer())
    })
  }

  async #checkpoint(): Promise<void> {
    if (this.readOnly) return
    for (const { log } of this.#table.slots()) await log?.upkeep()
    this.#table.noteOffsets()
    try {
      for (const directory of this.#directories) await directory.saveCheckpoints()
      this.#checkpointError = undefined
    } catch (error) {
      this.#checkpointError = storeError(error, 'write the checkpoints of', this.dirs.join(', '))
      throw error
    }
  }

  async #close(): Promise<void> {
    this.#timer?.cancel()
    const problems: unknown[] = []
    const attempt = async (step: () => Promise<unknown>): Promise<void> => {
      try {
        await step()
      } catch (error) {
        problems.push(error)
      }
    }
    await attempt(() => this.#upkeep.stop())
    await attempt(() => this.#topics.settled())
    await this.#background
    this.#table.shut()
    await forEachLimited(this.#table.slots(), LOGS_AT_A_TIME, async slot => {
      const problem = await this.#table.settle(slot)
      if (problem !== undefined) problems.push(problem)
    })
    if (!this.readOnly) {
      for (const directory of this.#directories) {
        const clean = [...this.#table.slots()].every(slot => slot.directory !== directory || slot.clean)
        const whole = directory.unsafe.size === 0 || directory.verdict.clean
        await attempt(() => (clean && whole ? directory.closeCleanly() : directory.saveCheckpoints()))
      }
    }
    await attempt(() => this.#shared.handles.close())
    for (const { lock } of this.#directories) if (lock !== undefined) await attempt(() => lock.release())
    if (problems.length > 0) throw storeError(problems[0], 'close', this.dirs.join(', '))
  }

  #assertWritable(what: string): void {
    if (!this.readOnly) return
    throw new LogError('READ_ONLY', `cannot ${what} ${this.dirs.join(', ')}: the store is open for reading only`)
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new LogError('STORE_CLOSED', `the store is closed: ${this.dirs.join(', ')}`)
  }
}

/** Two first uses of one topic: the second finds what the first has made. */
function ignoreIfExists(error: unknown): void {
  if (!isLogError(error, 'TOPIC_ALREADY_EXISTS')) throw error
}
