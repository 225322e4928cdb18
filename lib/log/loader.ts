/**
 * Opens the files of a partition: after a clean close by trusting them, after anything else by checking them.
 *
 *   1. What an interrupted deletion or compaction left is finished or undone (loader-files).
 *   2. What is good is found out, reading only (loader-plan). Damage to what was durable ends the loading here,
 *      with nothing changed.
 *   3. What is no part of the log is quarantined and cut off (recovery-apply), and old bytes behind the end are made
 *      zeros on the disk (clear-behind-end).
 *   4. Derived data is brought in line: leader epochs, producer snapshots, indexes.
 *   5. All of it is synced (recovery-sync), and the watermark says so. Only then anybody is served.
 *
 * Each step can be cut short by a crash: the next loading comes to the same log.
 */
import { dirname, join } from 'node:path'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { Segment } from '../segment/segment.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { clearBehindEnd } from './clear-behind-end.ts'
import { LogHolds } from './holds.ts'
import { HOLDS_FILE } from './holds-file.ts'
import { HOLES_FILE, type Hole, LogHoles, readHoles } from './holes.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import { type FolderListing, listFolder, tidyFolder } from './loader-files.ts'
import { isPreallocatedIndex } from './loader-indexes.ts'
import { loadManifest, type ManifestContext, renewTransactions, trimManifest } from './loader-manifest.ts'
import { type LoadPlan, logPath, type PlanContext, type PlannedSegment, planLoad, planPrefix } from './loader-plan.ts'
import { openSegments } from './loader-segments.ts'
import type { LoadedLog, LoadOptions } from './loader-types.ts'
import { isCompacted } from './log-config.ts'
import { MANIFEST_FILE, type Manifest } from './manifest.ts'
import { ProducerSnapshots } from './producer-snapshots.ts'
import { ProducerStateManager } from './producer-state.ts'
import { MAX_QUARANTINE_BYTES, MAX_QUARANTINE_ITEMS, Quarantine } from './quarantine.ts'
import { cutTail, quarantineRange, removeSegments } from './recovery-apply.ts'
import { type RecoveryReport, ReportBuilder } from './recovery-report.ts'
import { syncAccepted } from './recovery-sync.ts'
import { ackLevelOf } from './types.ts'
import { WATERMARK_FILE, type Watermark, WatermarkFile } from './watermark-file.ts'

export type { LoadedLog, LoadOptions } from './loader-types.ts'
export type { RecoveryNote, RecoveryReport, Truncation } from './recovery-report.ts'

/** A reader beside a writer may see a folder between two steps of the writer. */
const READ_ONLY_ATTEMPTS = 5

/**
 * Loads a partition's log.
 *
 * @throws {LogError} CORRUPT_LOG `{ segment, position, fromOffset, toOffset }` if something that was durable is
 *   damaged or missing and `onCorruption` is `fail`; nothing was cut off then.
 * @throws {LogError} UNSAFE_PATH for a symbolic link in the folder; UNKNOWN_TOPIC_OR_PARTITION if there is no folder
 *   and none is to be made; UNSUPPORTED_VERSION if a newer heartwood has written here.
 * @throws {LogError} SYNC_FAILED if what was found could not be made durable: the next loading asks the device.
 * @throws {LogError} NO_SPACE, PERMISSION_DENIED, TOO_MANY_OPEN_FILES, STORAGE_FAILED
 */
export async function loadLog(options: LoadOptions): Promise<LoadedLog> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await new Loader(options).load()
    } catch (error) {
      const passing = isMissing(error) || isLogError(error, 'CORRUPT_LOG')
      if (!options.readOnly || !passing || attempt === READ_ONLY_ATTEMPTS) throw toLogError(error, 'load', options.dir)
    }
  }
}

function systemOf({ details: { system } }: LogError): unknown {
  return system
}

function isMissing(error: unknown): boolean {
  return isSystemError(error, 'ENOENT') || (isLogError(error) && systemOf(error) === 'ENOENT')
}

class Loader {
  readonly #options: LoadOptions
  readonly #report: ReportBuilder
  readonly #began: number
  readonly #snapshots: ProducerSnapshots
  readonly #segments: Segment[] = []
  /** Everything is looked at, nothing touched. */
  #readOnly: boolean
  #watermarkFile: WatermarkFile | undefined
  #manifest: Manifest | undefined
  /** Base offset of the first segment that was scanned. */
  #scannedFrom = 0
  #holds: LogHolds | undefined
  #holes: LogHoles | undefined
  /** False while rebuilt indexes of closed segments are in memory only. */
  #indexesStored = true

  constructor(options: LoadOptions) {
    this.#options = options
    this.#began = options.clock.monotonic()
    this.#report = new ReportBuilder({ clean: options.clean, foreign: options.foreign })
    this.#readOnly = options.readOnly
    this.#snapshots = new ProducerSnapshots(options.fs, options.dir, this.#replaceOptions)
  }

  get #replaceOptions(): { permissions: number; owner: { uid: number; gid: number } | undefined } {
    const { env, permissions } = this.#options
    return { permissions: permissions?.file ?? env.permissions ?? 0o600, owner: env.owner }
  }

  async load(): Promise<LoadedLog> {
    try {
      await this.#makeFolder()
      // Before the folder is listed: a writer beside us moves it only after what it speaks of.
      const watermark = await this.#openWatermark()
      const listing = await this.#list()
      return await this.#loadListed(listing, watermark)
    } catch (error) {
      if (isLogError(error, 'SYNC_FAILED')) await this.#noteSyncFailed().catch(() => undefined)
      await this.#watermarkFile?.close().catch(() => undefined)
      for (const segment of this.#segments) await segment.close({ clean: false }).catch(() => undefined)
      throw error
    }
  }

  /** The next loading must not believe the page cache: what could not be synced looks clean there. */
  async #noteSyncFailed(): Promise<void> {
    if (this.#readOnly) return
    const { fs, dir, config } = this.#options
    this.#watermarkFile ??= await WatermarkFile.open(fs, dir, { create: true, ...this.#replaceOptions })
    const file = this.#watermarkFile as WatermarkFile
    const level = ackLevelOf(config.durability)
    // Without a watermark nothing is known to be durable.
    const offset = this.#scannedFrom
    const known = file.read() ?? { offset, segmentBaseOffset: offset, position: 0, lastBatchCrc: 0, level }
    await file.lowerTo({ ...known, syncFailed: true })
  }

  async #makeFolder(): Promise<void> {
    const { fs, dir, createIfMissing, permissions } = this.#options
    const stat = await fs.stat(dir)
    if (stat?.kind === 'directory') return
    if (stat !== undefined) throw new LogError('UNSAFE_PATH', `${dir} is no folder, but a ${stat.kind}.`, { path: dir })
    if (this.#readOnly || !createIfMissing) {
      throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `There is no folder ${dir}.`, { path: dir })
    }
    await fs.makeDirectory(dir, permissions?.folder ?? 0o700)
    await fs.syncDirectory(dirname(dir))
  }

  async #openWatermark(): Promise<Watermark | undefined> {
    const { fs, dir, handles } = this.#options
    try {
      const options = { readOnly: this.#readOnly, handles, ...this.#replaceOptions }
      this.#watermarkFile = await WatermarkFile.open(fs, dir, options)
    } catch (error) {
      // A newer release's watermark is none of a reader's business; whoever writes must not go past it.
      if (!this.#readOnly || !isLogError(error, 'UNSUPPORTED_VERSION')) throw error
      return undefined
    }
    const watermark = this.#watermarkFile?.read()
    if (this.#watermarkFile?.damaged === true) {
      const message =
        watermark === undefined
          ? `${WATERMARK_FILE} cannot be read: nothing tells a torn end from damage but the batches themselves.`
          : `One of the two entries of ${WATERMARK_FILE} cannot be read; the other one serves.`
      this.#report.note('CORRUPT_FILE', message)
    }
    return watermark
  }

  async #list(): Promise<FolderListing> {
    const { fs, dir } = this.#options
    const report = this.#report
    const listing = this.#readOnly ? await listFolder(fs, dir) : await tidyFolder({ fs, dir, report })
    const isThere = listing.names.has(HOLDS_FILE)
    this.#holds = await LogHolds.open(fs, dir, { isThere, readOnly: this.#readOnly, ...this.#replaceOptions })
    this.#holes = new LogHoles(fs, dir, await this.#readHoles(listing), this.#replaceOptions)
    for (const name of listing.unknown) {
      report.note('UNKNOWN_FILE', `${name} is none of a log's files and was left alone.`, { name })
    }
    if (this.#readOnly) this.#assertReadable(listing)
    return listing
  }

  async #readHoles({ names }: FolderListing): Promise<readonly Hole[]> {
    const { fs, dir } = this.#options
    if (!names.has(HOLES_FILE)) return []
    try {
      return await readHoles(fs, dir)
    } catch (error) {
      if (this.#readOnly && isLogError(error, 'UNSUPPORTED_VERSION')) return []
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      this.#report.note('CORRUPT_FILE', `${error.message}: which records are lost is not known.`, error.details)
      return []
    }
  }

  /** What a `.swap` file replaces may be gone already: without changing names, nobody can read such a log. */
  #assertReadable({ swaps, bases }: FolderListing): void {
    const missing = swaps.find(file => !bases.includes(file.offset))
    if (missing === undefined) return
    const message =
      `${this.#options.dir} is in the middle of a compaction (${missing.name}). ` +
      'If nobody is writing here, open the log once for writing, which finishes it.'
    throw new LogError('CORRUPT_LOG', message, { file: missing.name })
  }

  async #loadListed(listing: FolderListing, found: Watermark | undefined): Promise<LoadedLog> {
    const { fs, dir, config } = this.#options
    const report = this.#report
    const last = listing.bases.at(-1)
    const hasManifest = listing.names.has(MANIFEST_FILE)
    const hasBeenHere = this.#watermarkFile !== undefined || hasManifest
    if (hasBeenHere && !config.preallocate && last !== undefined) {
      const at = { baseOffset: last, indexBytes: config.indexBytes }
      if (await isPreallocatedIndex(fs, dir, at)) report.foreign = true
    }
    if (report.foreign && hasBeenHere) {
      report.note('ANOTHER_ENGINE_WROTE', 'Another engine has written here: what we noted of the log is made anew.')
      await this.#forgetSideCars(hasManifest)
    }
    if (hasManifest && !report.foreign) this.#manifest = await loadManifest(this.#manifestContext)
    const watermark = report.foreign ? undefined : found
    const epochs = await this.#loadEpochs()
    if (last === undefined) return this.#loadEmpty(watermark, epochs)
    const known = epochs.entries
    const context: PlanContext = {
      fs,
      clock: this.#options.clock,
      dir,
      bases: listing.bases,
      clean: this.#options.clean,
      // A cut lowers the watermark durably before it begins, but not the directory's checkpoint.
      recoveryPoint: Math.min(this.#options.recoveryPoint ?? 0, watermark?.offset ?? Number.POSITIVE_INFINITY),
      compacted: isCompacted(config),
      watermark,
      manifest: this.#manifest,
      logStartOffset: this.#options.logStartOffset ?? 0,
      epochs,
      epochAt: offset => known.findLast(entry => entry.startOffset <= offset)?.epoch,
      sizes: new Map(),
      snapshots: this.#snapshots,
      snapshotOffsets: listing.snapshots,
      report,
      indexLimits: config
    }
    const { plan, corrupt } = await this.#plan(context)
    return this.#finish(plan, { epochs, watermark, corrupt, listing })
  }

  /** Durably: once what it contradicts is changed, nothing would show that it is out of date. */
  async #forgetSideCars(hasManifest: boolean): Promise<void> {
    const { fs, dir } = this.#options
    if (this.#readOnly) return
    if (hasManifest) await fs.unlink(join(dir, MANIFEST_FILE))
    this.#manifest = undefined
    if (this.#watermarkFile !== undefined) {
      await this.#watermarkFile.close()
      this.#watermarkFile = undefined
      await fs.unlink(join(dir, WATERMARK_FILE))
    }
    await fs.syncDirectory(dir)
  }

  get #manifestContext(): ManifestContext {
    const { fs, dir } = this.#options
    return { fs, dir, readOnly: this.#readOnly, report: this.#report }
  }

  async #loadEpochs(): Promise<LeaderEpochs> {
    const { fs, dir } = this.#options
    try {
      return await LeaderEpochs.load(fs, dir, this.#replaceOptions)
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE')) throw error
      this.#report.note('CORRUPT_FILE', `${error.message} Leader epochs are taken from the batches.`, error.details)
      return new LeaderEpochs(fs, dir, this.#replaceOptions)
    }
  }

  async #plan(context: PlanContext): Promise<{ plan: LoadPlan; corrupt: LogError | undefined }> {
    try {
      return { plan: await planLoad(context), corrupt: undefined }
    } catch (error) {
      if (this.#options.onCorruption !== 'read-prefix' || !isLogError(error, 'CORRUPT_LOG')) throw error
      this.#readOnly = true
      const plan = await planPrefix(context, error)
      if (plan === undefined) throw error
      return { plan, corrupt: error }
    }
  }

  /** A folder without a segment. */
  async #loadEmpty(watermark: Watermark | undefined, epochs: LeaderEpochs): Promise<LoadedLog> {
    const { logStartOffset = 0, dir } = this.#options
    if (watermark !== undefined && watermark.offset > logStartOffset) {
      const message = `${dir} holds no segment, but records up to offset ${watermark.offset} were synced here once.`
      const details = { segment: watermark.segmentBaseOffset, position: 0, fromOffset: logStartOffset }
      throw new LogError('CORRUPT_LOG', message, { ...details, toOffset: watermark.offset })
    }
    const producers = new ProducerStateManager([], logStartOffset)
    return this.#settle({ logStartOffset, logEndOffset: logStartOffset, lastBatchCrc: undefined, producers, epochs })
  }

  async #finish(
    plan: LoadPlan,
    state: {
      epochs: LeaderEpochs
      watermark: Watermark | undefined
      corrupt: LogError | undefined
      listing: FolderListing
    }
  ): Promise<LoadedLog> {
    const { epochs, watermark, corrupt, listing } = state
    const { logEndOffset } = plan
    const first = (plan.kept[0] as PlannedSegment).baseOffset
    const logStartOffset = Math.max(this.#options.logStartOffset ?? first, first)
    this.#manifest = await trimManifest(this.#manifestContext, this.#manifest, plan.kept, this.#replaceOptions)
    if (!this.#readOnly) await this.#cut(plan, watermark)
    if (logStartOffset > logEndOffset && corrupt === undefined) {
      return this.#startBeyondEnd(plan, logStartOffset, epochs)
    }
    epochs.truncateFromEnd(logEndOffset)
    epochs.truncateFromStart(logStartOffset)
    const hasLater = listing.snapshots.some(offset => offset > logEndOffset)
    if (!this.#readOnly && hasLater) await this.#snapshots.deleteAfter(logEndOffset)
    const { fs, dir, env, clean } = this.#options
    const { names } = listing
    const of = { snapshots: this.#snapshots, report: this.#report, manifest: this.#manifest }
    const context = { fs, dir, env, readOnly: this.#readOnly, clean, names, logStartOffset, ...of }
    const { isStored, transactions } = await openSegments(context, plan, this.#segments)
    this.#indexesStored = isStored
    if (isStored) {
      const manifest = this.#manifest
      this.#manifest = await renewTransactions(this.#manifestContext, manifest, transactions, this.#replaceOptions)
    }
    const { producers, lastBatchCrc } = plan
    const isEmpty = logEndOffset === first
    const hasSnapshot = isEmpty || listing.snapshots.includes(logEndOffset)
    return this.#settle({
      logStartOffset,
      logEndOffset,
      lastBatchCrc,
      producers,
      epochs,
      watermark,
      corrupt,
      hasSnapshot
    })
  }

  async #cut(plan: LoadPlan, watermark: Watermark | undefined): Promise<void> {
    const { fs, dir, clean } = this.#options
    if (clean) return
    this.#scannedFrom = plan.kept.find(segment => segment.scanned)?.baseOffset ?? 0
    await cutTail({ fs, dir, quarantine: this.#quarantine(), report: this.#report }, plan)
    await syncAccepted({ fs, dir, watermark }, plan.kept)
    const active = plan.kept.at(-1)
    if (active !== undefined) await clearBehindEnd(fs, logPath(dir, active.baseOffset), active.validBytes)
  }

  #quarantine(): Quarantine {
    const { fs, dir, permissions } = this.#options
    return new Quarantine({
      fs,
      dir,
      permissions: permissions ?? { file: this.#replaceOptions.permissions, folder: 0o700 }
    })
  }

  /**
   * The log is said to begin behind its end: what is left of it lies below records that were deleted, and the rest
   * was lost in a crash. It goes on where it is said to begin, so that no offset is given twice.
   */
  async #startBeyondEnd(plan: LoadPlan, logStartOffset: number, epochs: LeaderEpochs): Promise<LoadedLog> {
    const { fs, dir, clean } = this.#options
    const { logEndOffset } = plan
    const bytes = plan.kept.reduce((sum, segment) => sum + segment.validBytes, 0)
    const isTooMuch = bytes > MAX_QUARANTINE_BYTES || plan.kept.length > MAX_QUARANTINE_ITEMS
    if (clean || (isTooMuch && !this.#readOnly)) {
      const message =
        `${dir} is said to begin at offset ${logStartOffset}, but it ends at ${logEndOffset}. ` +
        'Either its files are not all here, or log-start-offset-checkpoint is wrong.'
      const last = plan.kept.at(-1) as PlannedSegment
      const details = { segment: last.baseOffset, position: last.validBytes, fromOffset: logEndOffset }
      throw new LogError('CORRUPT_LOG', message, { ...details, toOffset: logStartOffset })
    }
    const message = `The log ended at ${logEndOffset}, below its start ${logStartOffset}: it goes on empty from there.`
    this.#report.note('LOG_START_BEYOND_END', message, { logStartOffset, logEndOffset })
    if (!this.#readOnly) {
      await this.#forgetSideCars(this.#manifest !== undefined)
      const context = { fs, dir, quarantine: this.#quarantine(), report: this.#report }
      for (const { baseOffset, validBytes } of plan.kept) {
        await quarantineRange(context, { segment: baseOffset, from: 0, to: validBytes })
      }
      await removeSegments(context, plan.kept)
      for (const offset of await this.#snapshots.offsets()) await this.#snapshots.delete(offset)
    }
    epochs.clear()
    const producers = new ProducerStateManager([], logStartOffset)
    return this.#settle({ logStartOffset, logEndOffset: logStartOffset, lastBatchCrc: undefined, producers, epochs })
  }

  async #settle(state: SettledState): Promise<LoadedLog> {
    const { logStartOffset, producers, epochs, corrupt, watermark } = state
    const { clock, config, env, dir, fs, clean } = this.#options
    const readableUpTo = state.logEndOffset
    // A damaged log ends, as far as anybody knows, where the damage does.
    const { toOffset } = corrupt?.details ?? {}
    const knownEnd = typeof toOffset === 'number' ? toOffset : readableUpTo
    const logEndOffset = Math.max(readableUpTo, knownEnd, logStartOffset)
    if (!this.#readOnly) {
      if (this.#segments.length === 0) this.#segments.push(await Segment.create(env, dir, logStartOffset))
      await epochs.persist()
      if (!clean) await this.#snapshots.deleteStrays(this.#segments.map(segment => segment.baseOffset))
      if (!clean || this.#segments.at(-1)?.size === 0) await fs.syncDirectory(dir)
      await this.#raiseWatermark(logEndOffset, state.lastBatchCrc)
    }
    producers.onLogStartOffset(logStartOffset)
    producers.removeExpired(clock.now(), config.producerIdExpirationMs)
    const active = this.#segments.at(-1)?.baseOffset ?? logEndOffset
    const holds = this.#holds as LogHolds
    holds.cutTo(logEndOffset)
    const holes = this.#holes as LogHoles
    holes.fit(logStartOffset, logEndOffset)
    if (!this.#readOnly) await holes.persist()
    const milliseconds = clock.monotonic() - this.#began
    const isBounded = this.#readOnly && watermark?.level === 'synced'
    const report = this.#report.finish({ logStartOffset, logEndOffset, milliseconds })
    return {
      segments: this.#segments,
      logStartOffset,
      logEndOffset,
      recoveryPoint: this.#recoveryPoint(logEndOffset, active),
      durableOffset: isBounded ? Math.min(logEndOffset, watermark.offset) : logEndOffset,
      producers,
      epochs,
      watermark: this.#readOnly ? undefined : this.#watermarkFile,
      manifest: this.#manifest,
      holds,
      holes,
      report,
      isFinal: state.hasSnapshot === true && !this.#readOnly && foundAsClosed(report),
      readableUpTo: corrupt === undefined ? logEndOffset : readableUpTo,
      corrupt
    }
  }

  /** Everything below is durable, derived files included. */
  #recoveryPoint(logEndOffset: number, activeBase: number): number {
    const { clean, recoveryPoint = 0 } = this.#options
    if (clean) return logEndOffset
    return this.#readOnly || !this.#indexesStored ? Math.min(recoveryPoint, logEndOffset) : activeBase
  }

  async #raiseWatermark(logEndOffset: number, lastBatchCrc: number | undefined): Promise<void> {
    const { fs, dir, config } = this.#options
    const active = this.#segments.at(-1) as Segment
    const target: Watermark = {
      offset: logEndOffset,
      segmentBaseOffset: active.baseOffset,
      position: active.size,
      lastBatchCrc: lastBatchCrc ?? 0,
      level: ackLevelOf(config.durability),
      syncFailed: false
    }
    const { handles } = this.#options
    this.#watermarkFile ??= await WatermarkFile.open(fs, dir, { create: true, handles, ...this.#replaceOptions })
    const file = this.#watermarkFile as WatermarkFile
    const present = file.read()
    if (present !== undefined && isSameWatermark(present, target)) return
    await file.write(target)
    await file.sync()
  }
}

interface SettledState {
  readonly logStartOffset: number
  /** Where what is good ends. */
  readonly logEndOffset: number
  readonly lastBatchCrc: number | undefined
  readonly producers: ProducerStateManager
  readonly epochs: LeaderEpochs
  readonly watermark?: Watermark | undefined
  readonly corrupt?: LogError | undefined
  /** There is a producer snapshot as of the end, or nothing that one could speak of. */
  readonly hasSnapshot?: boolean
}

/** Closed in good order, by this engine, and nothing had to be put right since. */
function foundAsClosed({ clean, foreign, notes, rebuilt, deletedFiles }: RecoveryReport): boolean {
  return clean && !foreign && notes.length + rebuilt.length + deletedFiles.length === 0
}

function isSameWatermark(one: Watermark, other: Watermark): boolean {
  return (Object.keys(other) as (keyof Watermark)[]).every(key => one[key] === other[key])
}
