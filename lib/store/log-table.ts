/**
 * The partition logs of a store: which are open, which are clean, what the checkpoints say of them.
 *
 * Invariants:
 *   L1  One PartitionLog object for one partition at a time.
 *   L2  `clean` is true only while no log object could change the files, and the last one closed cleanly, or the
 *       directory's marker spoke for it.
 *   L3  A log that is corrupt stays closed and says why; the others go on.
 */
import type { LogConfig } from '../log/log-config.ts'
import type { OpenLogOptions, SharedParts } from '../log/open-log.ts'
import { PartitionLog } from '../log/partition-log.ts'
import type { RecoveryReport } from '../log/recovery-report.ts'
import { publish } from '../util/diagnostics.ts'
import { LogError } from '../util/errors.ts'
import { Permits } from '../util/permits.ts'
import { attributesFrom, type DataDirectory } from './data-directory.ts'
import type { PartitionFolder } from './directory-listing.ts'
import { readPartitionMetadata } from './partition-metadata.ts'
import { storeError } from './storage-errors.ts'

export interface LogTableOptions {
  readonly shared: SharedParts
  readonly readOnly: boolean
  readonly onCorruption: 'fail' | 'read-prefix'
}

/** A partition's place in the table; changed by the table alone. */
export interface LogSlot {
  readonly directory: DataDirectory
  readonly folder: PartitionFolder
  log: PartitionLog | undefined
  opening: Promise<PartitionLog> | undefined
  clean: boolean
  /** Why it cannot be opened: damage, which does not go away by itself. */
  failure: LogError | undefined
  recovery: RecoveryReport | undefined
  topicId: string | undefined
  /** Raisings of the log start offset that are on their way to the disk, or that the log has yet to publish. */
  startOffsetsPending: number
}

/** These do not go away by themselves (settings do by `alterTopic`); anything else may be different next time. */
const LASTING: ReadonlySet<string> = new Set([
  'CORRUPT_LOG',
  'CORRUPT_FILE',
  'CORRUPT_MESSAGE',
  'INVALID_RECORD',
  'UNSUPPORTED_VERSION',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  'INCONSISTENT_TOPIC_ID',
  'UNSAFE_PATH',
  'INVALID_CONFIG'
])

/** A log that is being opened has files open that the cache of handles knows nothing of. */
const LOGS_OPENING = 8

export class LogTable {
  readonly #options: LogTableOptions
  readonly #topics = new Map<string, Map<number, LogSlot>>()
  readonly #seen = new Set<LogSlot>()
  readonly #opening = new Permits(LOGS_OPENING)
  #isShut = false
  /** Set by whoever can: erasing takes the cleaner, which is made with this table. */
  eraseKey: OpenLogOptions['eraseKey']

  constructor(options: LogTableOptions) {
    this.#options = options
  }

  *slots(): Generator<LogSlot> {
    for (const partitions of this.#topics.values()) yield* partitions.values()
  }

  topicNames(): IterableIterator<string> {
    return this.#topics.keys()
  }

  /** By partition number; `undefined` for an unknown topic. */
  topic(topic: string): ReadonlyMap<number, LogSlot> | undefined {
    return this.#topics.get(topic)
  }

  slot(topic: string, partition: number): LogSlot | undefined {
    return this.#topics.get(topic)?.get(partition)
  }

  add(directory: DataDirectory, folder: PartitionFolder, clean: boolean): LogSlot {
    const slot: LogSlot = {
      directory,
      folder,
      log: undefined,
      opening: undefined,
      clean,
      failure: undefined,
      recovery: undefined,
      topicId: undefined,
      startOffsetsPending: 0
    }
    let partitions = this.#topics.get(folder.topic)
    if (partitions === undefined) this.#topics.set(folder.topic, (partitions = new Map()))
    partitions.set(folder.partition, slot)
    return slot
  }

  remove({ folder }: LogSlot): void {
    const partitions = this.#topics.get(folder.topic)
    partitions?.delete(folder.partition)
    if (partitions?.size === 0) this.#topics.delete(folder.topic)
  }

  /**
   * The log of a partition, opened on first use.
   *
   * @param options.recovering - the caller calls `takeSeen` once for all of them, before anybody can append.
   * @throws {LogError} what `PartitionLog.open` throws; of damage the same error each time.
   */
  async open(
    slot: LogSlot,
    config: () => LogConfig,
    { recovering = false }: { readonly recovering?: boolean } = {}
  ): Promise<PartitionLog> {
    if (slot.log?.condition === 'closed') await this.settle(slot)
    if (slot.log !== undefined) return slot.log
    if (slot.failure !== undefined) throw slot.failure
    slot.opening ??= this.#opening
      .run(() => this.#open(slot, config, recovering))
      .finally(() => {
        slot.opening = undefined
      })
    return slot.opening
  }

  /**
   * Closes what may be open of a slot, and notes what it was like.
   *
   * @returns why it could not be closed cleanly, `undefined` when it could. It is closed in either case.
   */
  async settle(slot: LogSlot, options: { readonly clean: boolean } = { clean: true }): Promise<LogError | undefined> {
    await slot.opening?.catch(() => undefined)
    const { log } = slot
    if (log === undefined) return undefined
    try {
      const { clean } = await log.close(options)
      slot.clean = clean
      if (clean) noteOffsets(slot, log)
      return undefined
    } catch (error) {
      // Such a log stays open for another try; a store that closes has none, and must let go of its files.
      await log.close({ clean: false }).catch(() => undefined)
      return storeError(error, 'close', log.dir)
    } finally {
      if (slot.log === log) slot.log = undefined
    }
  }

  /** Closes a log whose files are about to go, and lets go of every file of its folder. */
  async letGo(slot: LogSlot): Promise<void> {
    await this.settle(slot, { clean: false })
    await this.#options.shared.handles.forgetFolder(slot.directory.folderPath(slot.folder.name))
  }

  /**
   * The side-cars of logs opened while recovering describe them again: noted, to be made durable by the caller.
   *
   * @returns whether there is something to make durable.
   */
  takeSeen(directory: DataDirectory): boolean {
    let changed = false
    for (const slot of this.#seen) {
      if (slot.directory !== directory) continue
      this.#seen.delete(slot)
      if (directory.topicsFile.unseen.delete(slot.folder.name)) changed = true
    }
    return changed
  }

  /** From here on no log is opened; what is being opened can be waited for with `settle`. */
  shut(): void {
    this.#isShut = true
  }

  /** Takes what the open logs have reached over into the checkpoints. */
  noteOffsets(): void {
    if (this.#options.readOnly) return
    for (const slot of this.slots()) if (slot.log !== undefined) noteOffsets(slot, slot.log)
  }

  async #open(slot: LogSlot, config: () => LogConfig, recovering: boolean): Promise<PartitionLog> {
    const { directory, folder } = slot
    if (this.#isShut) throw new LogError('STORE_CLOSED', `cannot open ${folder.name}: the store is closed`)
    try {
      const log = await PartitionLog.open(await this.#openOptions(slot, config()))
      // What a recovery found stays to be read when the log is closed and opened again.
      if (slot.recovery === undefined || !log.recovery.clean) slot.recovery = log.recovery
      slot.log = log
      if (this.#options.readOnly) return log
      slot.clean = false
      if (recovering) this.#seen.add(slot)
      else await this.#noteSeen(slot)
      return log
    } catch (error) {
      const failure = storeError(error, 'open', directory.folderPath(folder.name))
      if (LASTING.has(failure.code)) slot.failure = failure
      slot.clean = slot.clean && slot.failure === undefined
      publish('error', () => ({ topic: folder.topic, partition: folder.partition, error: failure }))
      throw failure
    }
  }

  async #openOptions(slot: LogSlot, config: LogConfig): Promise<OpenLogOptions> {
    const { shared, readOnly, onCorruption } = this.#options
    const { fs } = shared
    const { directory, folder } = slot
    const dir = directory.folderPath(folder.name)
    const stat = await fs.stat(dir)
    if (stat === undefined) {
      const message = `the folder of ${folder.name} is gone: ${dir}`
      throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', message, { topic: folder.topic, partition: folder.partition })
    }
    if (stat.kind !== 'directory') {
      throw new LogError('UNSAFE_PATH', `${dir} is a ${stat.kind}, not a partition's folder`, { path: dir })
    }
    slot.topicId ??= await readPartitionMetadata(fs, dir)
    await this.#checkTopicId(slot)
    const { filePermissions, folderPermissions, owner } = attributesFrom(stat)
    const recoveryPoint = directory.checkpoint('recoveryPoint').get(folder.name)
    const logStartOffset = directory.checkpoint('logStart').get(folder.name)
    return {
      dir,
      topic: folder.topic,
      partition: folder.partition,
      config,
      readOnly,
      onCorruption,
      clean: slot.clean,
      liveWriter: directory.holder?.kind === 'heartwood',
      ...(recoveryPoint === undefined ? {} : { recoveryPoint }),
      ...(logStartOffset === undefined ? {} : { logStartOffset }),
      foreign: directory.topicsFile.unseen.has(folder.name),
      permissions: { file: filePermissions, folder: folderPermissions },
      ...(owner === undefined ? {} : { owner }),
      persistLogStart: offset => this.#persistLogStart(slot, offset),
      lowerRecoveryPoint: offset => lowerRecoveryPoint(slot, offset),
      ...(this.eraseKey === undefined ? {} : { eraseKey: this.eraseKey }),
      shared
    }
  }

  /** Settings belong to a topic's id: a topic that was deleted and made anew by its broker is another one. */
  async #checkTopicId({ directory, folder, topicId }: LogSlot): Promise<void> {
    const entry = directory.topicsFile.topics.get(folder.topic)
    if (topicId === undefined || entry?.topicId === undefined || entry.topicId === topicId) return
    if (entry.origin === 'created') {
      const message = `${folder.name} has topic id ${topicId}, the topic was created with ${entry.topicId}`
      throw new LogError('INCONSISTENT_TOPIC_ID', message, { path: directory.folderPath(folder.name), topicId })
    }
    directory.topicsFile.topics.delete(folder.topic)
    directory.warnings.push(`topic ${folder.topic} was made anew by its broker: the settings stated for it are dropped`)
    if (!this.#options.readOnly) await directory.saveTopicsFile()
  }

  /** Its side-cars describe it again, and must be believed after a crash: durable before the first append. */
  async #noteSeen({ directory, folder, log }: LogSlot): Promise<void> {
    if (!directory.topicsFile.unseen.delete(folder.name)) return
    try {
      await directory.saveTopicsFile()
    } catch (error) {
      directory.topicsFile.unseen.add(folder.name)
      await log?.close({ clean: false }).catch(() => undefined)
      throw error
    }
  }

  async #persistLogStart(slot: LogSlot, offset: number): Promise<void> {
    const { directory, folder } = slot
    slot.startOffsetsPending += 1
    try {
      directory.checkpoint('logStart').set(folder.name, offset)
      await directory.saveCheckpoints()
    } finally {
      // The log publishes the offset right after this resolves; until then `noteOffsets` would see the old one.
      setImmediate(() => {
        slot.startOffsetsPending -= 1
      })
    }
  }
}

/**
 * Before a cut: what is appended behind it may be in a segment that is not sealed when the process ends, and a recovery
 * that begins at a point from before the cut would not look there. As Kafka, which writes the checkpoint after the cut.
 */
async function lowerRecoveryPoint({ directory, folder }: LogSlot, offset: number): Promise<void> {
  const checkpoint = directory.checkpoint('recoveryPoint')
  if ((checkpoint.get(folder.name) ?? 0) <= offset) return
  checkpoint.set(folder.name, offset)
  await directory.saveCheckpoints()
}

/** What was appended behind a cut is dirty again. As Kafka: its cleaner's checkpoint follows a truncation. */
export function noteCut({ directory, folder }: LogSlot, log: PartitionLog): void {
  const lowestCut = log.maintenance.takeLowestCut()
  const cleaned = directory.checkpoint('cleaner').get(folder.name) ?? 0
  if (cleaned > lowestCut) directory.checkpoint('cleaner').set(folder.name, lowestCut)
}

function noteOffsets(slot: LogSlot, log: PartitionLog): void {
  const { directory, folder } = slot
  directory.checkpoint('recoveryPoint').set(folder.name, log.recoveryPoint)
  directory.checkpoint('highWatermark').set(folder.name, log.highWatermark)
  noteCut(slot, log)
  if (slot.startOffsetsPending > 0) return
  const firstBase = log.segments()[0]?.baseOffset ?? 0
  const start = log.logStartOffset
  // As Kafka: only where the first segment's name does not say it already.
  const isTold = start <= firstBase && !log.maintenance.isShedding
  directory.checkpoint('logStart').set(folder.name, isTold ? undefined : start)
}
