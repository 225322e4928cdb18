/**
 * Checks one partition's folder: every batch and record, the chain of offsets, and every derived file against them.
 * Reads only, once through each file, in bounded memory.
 */
import { join } from 'node:path'
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { LEADER_EPOCH_FILE } from '../log/leader-epochs.ts'
import { type FolderListing, listFolder } from '../log/loader-files.ts'
import type { SealedSegment } from '../log/manifest.ts'
import { digestOf } from '../log/segment-digest.ts'
import type { Watermark } from '../log/watermark-file.ts'
import type { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import { segmentFileName } from '../segment/file-names.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { FindingCode, Findings, VerifiedPartition } from './findings.ts'
import { OffsetIndexCheck, TimeIndexCheck, TransactionIndexCheck } from './index-checks.ts'
import { checkEnd, type EndContext, type LogEnd } from './log-end.ts'
import { type DamagedRange, walkLog } from './log-walk.ts'
import { type Misplaced, OffsetChain } from './offset-chain.ts'
import { noteStrays, readSideFiles, readTopicId, readWatermark, type SideFiles } from './partition-files.ts'
import { ProducerReplay, SnapshotChecks } from './producer-check.ts'
import { type ListedSegment, listSegments, missingLogs } from './segment-list.ts'
import { TailJudge } from './tail-judge.ts'

export interface PartitionContext {
  readonly fs: FileSystem
  /** `orders-0` */
  readonly folder: string
  /** Of the folder. */
  readonly path: string
  readonly findings: Findings
  /** The directory's clean-shutdown marker is there. */
  readonly clean: boolean
  /** Somebody may be writing meanwhile. */
  readonly live: boolean
  /** Another engine wrote since our side-cars were: they say nothing. */
  readonly foreign: boolean
  readonly checkpoints: EndContext['checkpoints']
  readonly signal?: AbortSignal | undefined
  /** Hears of each batch that is sound and in its place, and of its data records; for who copies them. */
  readonly sound?: ((segment: number, position: number, batch: BatchView, records: number) => void) | undefined
}

export interface CheckedPartition extends VerifiedPartition {
  readonly topicId: string | undefined
  readonly listing: FolderListing
}

const MAX_INDEX_BYTES = 256 * MiB
const MAX_RELATIVE_OFFSET = 2 ** 31 - 1

/** @throws {LogError} ABORTED; the system's error: ENOENT where the folder changes meanwhile. */
export async function checkPartition(context: PartitionContext): Promise<CheckedPartition> {
  const watermark = await readWatermark(context)
  const listing = await listFolder(context.fs, context.path)
  const topicId = await readTopicId(context)
  const side = await readSideFiles(context, listing)
  noteStrays(context, listing)
  const segments = await listSegments(context.fs, context.path, listing)
  const check = new PartitionCheck(context, {
    listing,
    segments,
    side,
    watermark: context.foreign ? undefined : watermark
  })
  const counts = await check.run()
  const { checkpoints, folder } = context
  const first = segments[0]?.baseOffset
  const start = checkpoints.logStart ?? first
  const logStartOffset = first === undefined ? start : Math.max(first, start ?? first)
  return {
    partition: folder,
    segments: segments.length,
    ...counts,
    logStartOffset: logStartOffset ?? null,
    findings: context.findings.list(),
    topicId,
    listing
  }
}

interface Parts {
  readonly listing: FolderListing
  readonly segments: readonly ListedSegment[]
  readonly side: SideFiles
  readonly watermark: Watermark | undefined
}

class PartitionCheck {
  readonly #context: PartitionContext
  readonly #parts: Parts
  readonly #chain: OffsetChain
  readonly #replay: ProducerReplay
  readonly #judge: TailJudge
  readonly #snapshots: SnapshotChecks
  #batches = 0
  #records = 0
  #bytes = 0
  #gapCount = 0
  #gapOffsets = 0
  #firstGap: { name: string; position: number; fromOffset: number; toOffset: number } | undefined
  /** Something of the log is not there or not sound: what is derived may know more. */
  #isIncomplete: boolean
  #epoch = -1
  #endsHere = false
  #last: LogEnd['last']
  readonly #ends: number[] = []
  readonly #sizes = new Map<number, number>()
  #endsInDamage = false
  /** Of the last segment: an index knows of more than the log has. */
  #runsAhead = false
  /** In the segment that is being walked. */
  #foundCorrupt = false

  constructor(context: PartitionContext, parts: Parts) {
    const { segments, listing, watermark } = parts
    this.#context = context
    this.#parts = parts
    const first = segments[0]?.baseOffset ?? 0
    this.#isIncomplete = first > 0
    this.#replay = new ProducerReplay(first)
    this.#snapshots = new SnapshotChecks(context, listing.snapshots, first)
    this.#chain = new OffsetChain(first, {
      gap: ({ segment, position, fromOffset, toOffset }) => this.#gap(segment, position, fromOffset, toOffset),
      misplaced: found => this.#misplaced(found)
    })
    this.#judge = new TailJudge({ ...context, segments, watermark, recoveryPoint: context.checkpoints.recoveryPoint })
  }

  async run(): Promise<{ batches: number; records: number; bytes: number; logEndOffset: number | null }> {
    const { segments, listing } = this.#parts
    const orphans = missingLogs(listing)
    for (const [index, segment] of segments.entries()) {
      if (this.#endsHere) break
      this.#junction(index, segment, orphans)
      await this.#segment(index, segment)
    }
    // The last gap, if there is one, has nobody behind it to speak against it.
    this.#chain.judgeSuspect(false)
    this.#noteGaps()
    if (segments.length === 0) await this.#snapshots.load(Number.POSITIVE_INFINITY)
    this.#snapshots.compare(this.#replay.state.entries, this.#isExact, this.#chain.next)
    if (!this.#context.live) this.#snapshots.finish(this.#chain.next)
    const { refused } = this.#replay
    if (refused !== undefined)
      this.#add('corrupt', 'RECORDS_UNREADABLE', '', `Producer state cannot be told: ${refused}.`)
    const { side, watermark } = this.#parts
    const bases = segments.map(({ baseOffset }) => baseOffset)
    const context = { ...this.#context, ...side, bases, names: listing.names, watermark, orphans, sizes: this.#sizes }
    checkEnd(context, {
      nextOffset: this.#chain.next,
      last: this.#last,
      ends: this.#ends,
      isExplained: this.#endsHere || this.#endsInDamage,
      atMark: this.#judge.atMark,
      highestEpoch: this.#epoch
    })
    const isEmpty = segments.length === 0
    return {
      batches: this.#batches,
      records: this.#records,
      bytes: this.#bytes,
      logEndOffset: isEmpty ? (this.#context.checkpoints.logStart ?? null) : this.#chain.next
    }
  }

  #add(severity: 'corrupt' | 'derived' | 'note', code: FindingCode, name: string, message: string, at = {}): void {
    if (severity === 'corrupt') this.#foundCorrupt = true
    this.#context.findings.add(severity, code, name, message, at)
  }

  /** What lies between two segments. */
  #junction(index: number, { baseOffset, log }: ListedSegment, orphans: readonly number[]): void {
    const chain = this.#chain
    const isNext = chain.beginSegment(baseOffset)
    const { next } = chain
    if (!isNext) {
      const message =
        `This segment begins at offset ${baseOffset} by its name, but the one before it reaches up to ${next}: one of the two files is not what it was, ` +
        'or does not belong here. Restore both from a backup or a replica.'
      this.#add('corrupt', 'SEGMENTS_OVERLAP', log, message, { offset: baseOffset })
      this.#isIncomplete = true
      return
    }
    if (index === 0 || baseOffset === next) return
    if (this.#parts.side.holes.some(hole => hole.fromOffset <= next && hole.toOffset >= baseOffset)) {
      chain.skipTo(baseOffset)
      this.#isIncomplete = true
      return
    }
    const missing = orphans.find(base => base >= next && base < baseOffset)
    const before = this.#last
    if (before !== undefined && this.#runsAhead && !this.#endsInDamage) {
      const message = `This file ends at offset ${next}, but its indexes know of more, and the next segment begins at ${baseOffset}: records from offset ${next} up to ${(missing ?? baseOffset) - 1} are lost. Restore it from a backup or a replica.`
      this.#add('corrupt', 'ENDS_TOO_EARLY', before.name, message, { position: before.soundEnd, offset: next })
    } else if (missing === undefined) return
    chain.skipTo(baseOffset)
    this.#isIncomplete = true
  }

  async #segment(index: number, segment: ListedSegment): Promise<void> {
    const { fs, path, signal } = this.#context
    this.#foundCorrupt = false
    const isLast = index === this.#parts.segments.length - 1
    const indexes = await this.#openIndexes(segment)
    await this.#snapshots.load(this.#parts.segments[index + 1]?.baseOffset ?? Number.POSITIVE_INFINITY)
    let handle: FileHandle
    try {
      handle = await fs.open(join(path, segment.log), 'read')
    } catch (error) {
      if (isSystemError(error, 'ENOENT', 'EMFILE', 'ENFILE')) throw error
      this.#unreadable(segment, error)
      return
    }
    try {
      const { size } = await handle.stat()
      this.#bytes += size
      this.#sizes.set(segment.baseOffset, size)
      this.#last = { name: segment.log, baseOffset: segment.baseOffset, soundEnd: 0 }
      await walkLog(handle, {
        to: size,
        signal,
        nextOffset: () => Math.max(this.#chain.least, 0),
        batch: (batch, position) => this.#batch(segment, indexes, batch, position),
        damage: range => this.#damage(index, segment, indexes, range, handle)
      })
    } catch (error) {
      if (!isSystemError(error, 'EIO')) throw error
      this.#unreadable(segment, error)
    } finally {
      await handle.close()
    }
    this.#ends[index] = this.#chain.next
    if (!this.#foundCorrupt && !isLast) await this.#checkDigest(segment, this.#sizes.get(segment.baseOffset) ?? 0)
    this.#tellIndexes(segment, indexes, !isLast || this.#context.clean)
  }

  #tellIndexes(segment: ListedSegment, indexes: SegmentChecks, isClosed: boolean): void {
    const { findings } = this.#context
    indexes.offsets?.finish()
    indexes.times?.finish(isClosed && !this.#endsHere)
    indexes.transactions.finish()
    this.#runsAhead = indexes.offsets?.runsAhead === true || indexes.times?.runsAhead === true
    for (const [check, code, name] of [
      [indexes.offsets, 'OFFSET_INDEX', segment.offsetIndex],
      [indexes.times, 'TIME_INDEX', segment.timeIndex],
      [
        indexes.transactions,
        'TRANSACTION_INDEX',
        segment.transactionIndex ?? segmentFileName(segment.baseOffset, '.txnindex')
      ]
    ] as const) {
      const found = check?.outcome
      if (found === undefined) continue
      const more = found.count > 1 ? ` (and ${found.count - 1} more)` : ''
      const consequence =
        code === 'TRANSACTION_INDEX'
          ? 'Readers of committed records may be shown some of an aborted transaction.'
          : 'No record is concerned; searches may go wrong until it is made anew.'
      const { position, offset, reason } = found.fault
      findings.add('derived', code, name ?? '', `This index does not fit its log: ${reason}${more}. ${consequence}`, {
        position,
        ...(offset === undefined ? {} : { offset })
      })
    }
  }

  #unreadable({ log, baseOffset }: ListedSegment, error: unknown): void {
    const message = `The system cannot read this file: ${(error as Error).message}. Look at the disk and its cables first; what cannot be read has to come from a backup or a replica.`
    this.#add('corrupt', 'UNREADABLE', log, message, { offset: baseOffset })
    this.#isIncomplete = true
  }

  async #openIndexes(segment: ListedSegment): Promise<SegmentChecks> {
    const { baseOffset, offsetIndex, timeIndex, transactionIndex } = segment
    const read = async (name: string | undefined): Promise<Buffer | undefined> =>
      name === undefined ? undefined : readWholeFile(this.#context.fs, join(this.#context.path, name), MAX_INDEX_BYTES)
    for (const [name, suffix, code] of [
      [offsetIndex, '.index', 'OFFSET_INDEX'],
      [timeIndex, '.timeindex', 'TIME_INDEX']
    ] as const) {
      if (name !== undefined) continue
      this.#add(
        'derived',
        code,
        segmentFileName(baseOffset, suffix),
        'This index is missing. No record is concerned; it is made anew from the log.'
      )
    }
    const [offsets, times, transactions] = [
      await read(offsetIndex),
      await read(timeIndex),
      await read(transactionIndex)
    ]
    return {
      offsets: offsets && new OffsetIndexCheck(offsets, baseOffset),
      times: times && new TimeIndexCheck(times, baseOffset),
      transactions: new TransactionIndexCheck(transactions, baseOffset)
    }
  }

  #batch(segment: ListedSegment, indexes: SegmentChecks, batch: BatchView, position: number): void {
    const { baseOffset, log } = segment
    const indexed = indexes.offsets?.see(batch, position)
    indexes.times?.see(batch)
    if (batch.lastOffset - baseOffset > MAX_RELATIVE_OFFSET) {
      const expected = this.#chain.next
      this.#misplaced({ segment: baseOffset, position, baseOffset: batch.baseOffset, expected, count: 0 })
      return
    }
    if (!this.#chain.accept(batch, { segment: baseOffset, position })) return
    // No CRC covers a base offset, but the index has noted it too.
    const suspect = this.#chain.suspect
    if (suspect?.position === position && indexed !== undefined && indexed < batch.lastOffset) {
      this.#chain.judgeSuspect(true)
      return
    }
    this.#snapshots.compare(this.#replay.state.entries, this.#isExact, batch.baseOffset)
    const completed = this.#replay.see(batch)
    if (batch.isControl) indexes.transactions.see(batch, completed, this.#isExact)
    const records = this.#readRecords(log, batch, position)
    this.#checkEpoch(log, batch, position)
    this.#batches += 1
    this.#records += records
    if (this.#last !== undefined) this.#last.soundEnd = position + batch.size
    this.#endsInDamage = false
    this.#judge.note(baseOffset, position + batch.size, batch)
    this.#context.sound?.(baseOffset, position, batch, records)
  }

  /** Every record, decompressed. @returns how many records of data. */
  #readRecords(log: string, batch: BatchView, position: number): number {
    let count = 0
    try {
      const cursor = batch.records({ checkCrc: false })
      while (cursor.next()) {
        if (batch.isControl) parseControlRecord(cursor.key(), cursor.value())
        else {
          cursor.headers()
          count += 1
        }
      }
    } catch (error) {
      if (!isLogError(error)) throw error
      const message =
        `The CRC of this batch is right, but record ${count} in it cannot be read: ${error.message}. ` +
        `Offsets ${batch.baseOffset} to ${batch.lastOffset} are concerned. It was written so: ask who produced it.`
      this.#add('corrupt', 'RECORDS_UNREADABLE', log, message, { position, offset: batch.baseOffset })
    }
    return count
  }

  #checkEpoch(log: string, batch: BatchView, position: number): void {
    const epoch = batch.partitionLeaderEpoch
    const { baseOffset } = batch
    if (epoch === -1) return
    const known = this.#parts.side.epochs?.findLast(entry => entry.startOffset <= baseOffset)?.epoch
    const wrong =
      epoch < -1 || epoch < this.#epoch
        ? `leader epoch ${epoch} behind a batch of epoch ${this.#epoch}`
        : known !== undefined && known !== epoch
          ? `leader epoch ${epoch}, where ${LEADER_EPOCH_FILE} says ${known}`
          : undefined
    if (epoch > this.#epoch) this.#epoch = epoch
    if (wrong === undefined) return
    const message = `The batch of offset ${baseOffset} has ${wrong}. Its records are whole; either its header is damaged, where no CRC covers it, or that file is not what it was.`
    this.#add('corrupt', 'LEADER_EPOCH_WRONG', log, message, { position, offset: baseOffset })
  }

  async #damage(
    index: number,
    segment: ListedSegment,
    indexes: SegmentChecks,
    range: DamagedRange,
    handle: FileHandle
  ): Promise<boolean> {
    const { position, end, reason } = range
    indexes.offsets?.pass(end)
    const fromOffset = this.#chain.next
    if (range.kind === 'older-format') {
      const message = `Here begin ${reason}. They were not checked, and heartwood does not read them: let a Kafka 3.x broker rewrite the topic.`
      this.#add('note', 'OLDER_FORMAT', segment.log, message, { position, offset: fromOffset })
      this.#isIncomplete = true
      return true
    }
    const verdict = await this.#judge.judge({ index, range, fromOffset, source: handle })
    if (verdict.kind === 'room' || verdict.kind === 'live-end') return false
    this.#isIncomplete = true
    this.#endsInDamage = !range.isFollowed
    const bytes = end - position
    if (verdict.kind === 'tail') {
      this.#endsHere = true
      const more = verdict.laterBytes > 0 ? ` and ${verdict.laterBytes} bytes of later segments` : ''
      const message = `The log ends here with ${bytes} bytes${more} of a write that was not finished (${reason}). Nobody was promised them: the next opening for writing copies them to quarantine and cuts them off. Nothing has to be done.`
      this.#context.findings.add('torn-tail', 'TORN_TAIL', segment.log, message, { position, offset: fromOffset })
      return false
    }
    const toOffset = await this.#offsetBehind(index, range, handle)
    const upTo = toOffset === undefined ? 'on' : `up to ${toOffset - 1}`
    const message =
      `Bytes ${position} to ${end - 1} cannot be read as record batches: ${reason}. Records from offset ${fromOffset} ${upTo} are lost to readers; ` +
      `${range.isFollowed ? 'what lies behind is sound' : 'nothing sound follows in this file'}. Restore the file from a backup or a replica.`
    this.#add('corrupt', 'BATCH_DAMAGED', segment.log, message, { position, offset: fromOffset })
    if (toOffset !== undefined) this.#chain.excuseUpTo(toOffset)
    return true
  }

  /** The first offset that is sound again, here or in the next segment. */
  async #offsetBehind(
    index: number,
    { end, isFollowed }: DamagedRange,
    handle: FileHandle
  ): Promise<number | undefined> {
    if (!isFollowed) return this.#parts.segments[index + 1]?.baseOffset
    const head = Buffer.alloc(8)
    await handle.read(head, end)
    return Number(head.readBigInt64BE())
  }

  #misplaced({ segment, position, baseOffset, expected, count }: Misplaced): void {
    this.#isIncomplete = true
    const log = segmentFileName(segment, '.log')
    const what = count === 0 ? '' : ` (${count} offsets)`
    const message =
      `The batch at byte ${position} says that it begins at offset ${baseOffset}; by its neighbours it is ${expected}${what}. Its records are whole, its base offset is damaged, where no CRC covers it: ` +
      'they would be shown under wrong offsets, or not at all. Restore the file from a backup or a replica.'
    this.#add('corrupt', 'BASE_OFFSET_WRONG', log, message, { position, offset: expected })
  }

  #gap(segment: number, position: number, fromOffset: number, toOffset: number): void {
    const log = segmentFileName(segment, '.log')
    const known = this.#noted(segment)
    const isWhole = known?.state === 'sealed' && position > 0
    if (isWhole) {
      const message = `No batch holds the offsets from ${fromOffset} up to ${toOffset - 1}, though nothing ever compacted this segment: they are lost. Restore the file from a backup or a replica.`
      this.#add('corrupt', 'GAP', log, message, { position, offset: fromOffset })
      this.#isIncomplete = true
      return
    }
    if (this.#parts.side.holes.some(hole => hole.fromOffset <= fromOffset && hole.toOffset >= toOffset)) {
      this.#isIncomplete = true
      return
    }
    this.#gapCount += 1
    this.#gapOffsets += toOffset - fromOffset
    this.#firstGap ??= { name: log, position, fromOffset, toOffset }
  }

  /** What the manifest says of a segment. */
  #noted(segment: number): SealedSegment | undefined {
    const { foreign, live } = this.#context
    if (foreign || live) return undefined
    return this.#parts.side.manifest?.sealed.find(({ baseOffset }) => baseOffset === segment)
  }

  /** What no CRC shows: the file as a whole is another one than was sealed. */
  async #checkDigest({ baseOffset, log }: ListedSegment, size: number): Promise<void> {
    const noted = this.#noted(baseOffset)
    if (noted?.digest === undefined || noted.bytes !== size) return
    const { digest } = await digestOf(this.#context.fs, join(this.#context.path, log))
    if (digest === undefined || digest.hash === noted.digest.hash) return
    const message =
      'Every batch of this file is sound by itself, but the file is not the one that was sealed: its digest is another. It was exchanged for another one, or damaged where no CRC looks (base offsets, leader epochs). Restore it from a backup or a replica.'
    this.#add('corrupt', 'DIGEST_WRONG', log, message, { offset: baseOffset })
  }

  #noteGaps(): void {
    if (this.#firstGap === undefined) return
    const { name, position, fromOffset, toOffset } = this.#firstGap
    const more =
      this.#gapCount > 1 ? `, and ${this.#gapCount - 1} more such ranges, ${this.#gapOffsets} offsets in all` : ''
    const isCompacted = this.#context.checkpoints.cleaner !== undefined
    const why = isCompacted
      ? 'compaction leaves such gaps.'
      : 'compaction leaves such gaps. But nothing says that this partition was ever compacted: if it was not, a segment file may have been lost.'
    const message = `No batch holds the offsets from ${fromOffset} up to ${toOffset - 1}${more}: ${why}`
    this.#add('note', 'GAP', name, message, { position, offset: fromOffset })
  }

  /** Every batch from the first record on has been seen. */
  get #isExact(): boolean {
    return !this.#isIncomplete && this.#gapCount === 0 && this.#chain.suspect === undefined
  }
}

interface SegmentChecks {
  readonly offsets: OffsetIndexCheck | undefined
  readonly times: TimeIndexCheck | undefined
  readonly transactions: TransactionIndexCheck
}
