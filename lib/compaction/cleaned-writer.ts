/**
 * The new segments of one group, as files with the suffix `.cleaned`:
 *
 *     BASE.log.cleaned  BASE.index.cleaned  BASE.timeindex.cleaned  BASE.txnindex.cleaned (where there is an entry)
 *
 * Invariants:
 *   W1  A group's segments are complete and synced, and bear the time of the last source, before anybody is told.
 *   W2  What fails leaves no file of the group behind, if the file system lets it; a crash leaves only `.cleaned` files.
 */
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import type { BatchHead } from '../record/batch-head.ts'
import {
  CLEANED_SUFFIX,
  filePath,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'
import { IndexBuilder } from '../segment/index-builder.ts'
import { TransactionIndex } from '../segment/transaction-index.ts'
import { KiB, MiB } from '../util/sizes.ts'
import type { CleanedBatch } from './batch-cleaner.ts'
import type { CleanedSegment, CleaningInput } from './cleaning-types.ts'

const MAX_INT32 = 2 ** 31 - 1
/** Written at a time. */
const WRITE_BYTES = 512 * KiB
/**
 * What has been written is synced in the background each time this much has come together, so that the sync at the end
 * is short: one of a gigabyte would be in the way of everybody who waits for the same disk.
 */
const SYNC_BYTES = 16 * MiB

/** What is asked of the header of a batch that is written. */
export type BatchFacts = Pick<BatchHead, 'baseOffset' | 'lastOffset' | 'maxTimestamp'>

/** Where cleaned batches go: into files, or nowhere when it is only asked what would become of them. */
export interface CleanedSink {
  /** Bytes that were written to files. */
  readonly writtenBytes: number
  /** Takes a batch over, at once or when the promise resolves; the next one comes after that. */
  add(batch: CleanedBatch, facts: BatchFacts): Promise<void> | undefined
  finish(): Promise<CleanedSegment[]>
  discard(): Promise<void>
}

interface OpenSegment {
  readonly baseOffset: number
  readonly handle: FileHandle
  readonly indexes: IndexBuilder
  readonly transactions: TransactionIndex
  /** Bytes of batches, those that wait to be written included. */
  bytes: number
  nextOffset: number
}

/** Memory of a writer, used by one after the other: one piece gathers while the other is being written. */
export class PendingBuffers {
  gathering: Buffer = Buffer.allocUnsafeSlow(WRITE_BYTES)
  writing: Buffer = Buffer.allocUnsafeSlow(WRITE_BYTES)

  swap(): void {
    const { gathering } = this
    this.gathering = this.writing
    this.writing = gathering
  }
}

export interface GroupPlace {
  /** Base of the first source: the first new segment has it, whatever is left. */
  readonly baseOffset: number
  /** Of the last source, ms: retention goes by it where records have no time. */
  readonly modifiedMs: number
}

export class CleanedWriter implements CleanedSink {
  readonly #fs: FileSystem
  readonly #input: CleaningInput
  readonly #place: GroupPlace
  readonly #made: string[] = []
  readonly #finished: CleanedSegment[] = []
  #open: OpenSegment | undefined
  readonly #pending: PendingBuffers
  #pendingBytes = 0
  #writtenBytes = 0
  /** The write, and the sync, that are under way. */
  #writing: Promise<void> | undefined
  #syncing: Promise<void> | undefined
  #unsyncedBytes = 0

  private constructor(fs: FileSystem, input: CleaningInput, place: GroupPlace, pending: PendingBuffers) {
    this.#fs = fs
    this.#input = input
    this.#place = place
    this.#pending = pending
  }

  static async create(
    fs: FileSystem,
    input: CleaningInput,
    place: GroupPlace,
    pending: PendingBuffers
  ): Promise<CleanedWriter> {
    const writer = new CleanedWriter(fs, input, place, pending)
    try {
      await writer.#begin(place.baseOffset)
    } catch (error) {
      await writer.discard()
      throw error
    }
    return writer
  }

  get writtenBytes(): number {
    return this.#writtenBytes
  }

  add(batch: CleanedBatch, facts: BatchFacts): Promise<void> | undefined {
    const size = batch.end - batch.start
    const open = this.#open!
    const fitsSegment = open.bytes + size <= MAX_INT32 && facts.lastOffset - open.baseOffset <= MAX_INT32
    if (!fitsSegment || this.#pendingBytes + size > WRITE_BYTES) {
      return this.#addSlowly(batch, facts, fitsSegment)
    }
    this.#note(open, batch, facts)
    batch.bytes.copy(this.#pending.gathering, this.#pendingBytes, batch.start, batch.end)
    this.#pendingBytes += size
    return undefined
  }

  async finish(): Promise<CleanedSegment[]> {
    await this.#seal()
    return this.#finished
  }

  async discard(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    await Promise.allSettled([this.#writing, this.#syncing])
    await open?.handle.close().catch(() => undefined)
    for (const path of this.#made) {
      // Whatever hinders it hinders the next opening less: that removes what bears this suffix.
      await this.#fs.unlink(path).catch(() => undefined)
    }
  }

  /** Deltas from the delete horizon are longer than those from the first record, so the new may outgrow the old. */
  async #addSlowly(batch: CleanedBatch, facts: BatchFacts, fitsSegment: boolean): Promise<void> {
    await this.#flush()
    if (!fitsSegment) {
      await this.#seal()
      await this.#begin(facts.baseOffset)
    }
    const size = batch.end - batch.start
    const open = this.#open!
    if (size > WRITE_BYTES) {
      await this.#settled()
      await this.#write(open, batch.bytes.subarray(batch.start, batch.end), open.bytes)
    } else {
      batch.bytes.copy(this.#pending.gathering, 0, batch.start, batch.end)
      this.#pendingBytes = size
    }
    this.#note(open, batch, facts)
  }

  #note(open: OpenSegment, { start, end, aborted }: CleanedBatch, facts: BatchFacts): void {
    open.indexes.add(open.bytes, facts.lastOffset, facts.maxTimestamp, this.#input.settings)
    if (aborted !== undefined) open.transactions.append(aborted)
    open.bytes += end - start
    open.nextOffset = facts.lastOffset + 1
  }

  /** Begins to write what has gathered, once what came before it is written. */
  async #flush(): Promise<void> {
    const open = this.#open!
    const size = this.#pendingBytes
    if (size === 0) return
    await this.#settled()
    this.#pending.swap()
    this.#pendingBytes = 0
    this.#writing = this.#write(open, this.#pending.writing.subarray(0, size), open.bytes - size)
    this.#writing.catch(() => undefined) // whoever waits for it is told
  }

  async #settled(): Promise<void> {
    const writing = this.#writing
    this.#writing = undefined
    await writing
  }

  async #write(open: OpenSegment, bytes: Buffer, position: number): Promise<void> {
    const { handle } = open
    try {
      await writeFully(handle, bytes, position)
    } catch (error) {
      throw toLogError(error, 'write', handle.path)
    }
    this.#writtenBytes += bytes.length
    this.#unsyncedBytes += bytes.length
    if (this.#unsyncedBytes >= SYNC_BYTES && this.#syncing === undefined) this.#syncBehind(handle)
  }

  #syncBehind(handle: FileHandle): void {
    this.#unsyncedBytes = 0
    const syncing = handle.datasync().then(
      () => {
        this.#syncing = undefined
      },
      error => {
        // It stays, and the last sync, which waits for it, fails with it: a later one that succeeds would prove nothing.
        throw toLogError(error, 'sync', handle.path)
      }
    )
    syncing.catch(() => undefined)
    this.#syncing = syncing
  }

  async #begin(baseOffset: number): Promise<void> {
    this.#open = {
      baseOffset,
      handle: await this.#create(baseOffset, LOG_SUFFIX),
      indexes: IndexBuilder.empty(baseOffset),
      transactions: new TransactionIndex(baseOffset),
      bytes: 0,
      nextOffset: baseOffset
    }
    this.#pendingBytes = 0
  }

  async #seal(): Promise<void> {
    await this.#flush()
    await this.#settled()
    await this.#syncing
    this.#unsyncedBytes = 0
    const { baseOffset, handle, indexes, transactions, bytes, nextOffset } = this.#open!
    indexes.finish()
    await this.#close(handle)
    this.#open = undefined
    await this.#putFile(baseOffset, OFFSET_INDEX_SUFFIX, indexes.offsets.bytes())
    await this.#putFile(baseOffset, TIME_INDEX_SUFFIX, indexes.times.bytes())
    if (transactions.entryCount > 0) {
      await this.#putFile(baseOffset, TRANSACTION_INDEX_SUFFIX, transactions.bytes())
    } else {
      await this.#removeStale(baseOffset, TRANSACTION_INDEX_SUFFIX)
    }
    this.#finished.push({
      baseOffset,
      nextOffset,
      bytes,
      indexBytes: indexes.offsets.byteLength,
      timeIndexBytes: indexes.times.byteLength,
      transactions: transactions.digest
    })
  }

  /** What an earlier cleaning has left would become this segment's: its transactions would be taken for aborted. */
  async #removeStale(baseOffset: number, suffix: string): Promise<void> {
    const path = filePath(this.#input.dir, segmentFileName(baseOffset, suffix + CLEANED_SUFFIX))
    await this.#fs.unlink(path).catch(error => {
      if (!isSystemError(error, 'ENOENT')) throw toLogError(error, 'remove', path)
    })
  }

  async #putFile(baseOffset: number, suffix: string, bytes: Buffer): Promise<void> {
    const handle = await this.#create(baseOffset, suffix)
    try {
      if (bytes.length > 0) await writeFully(handle, bytes, 0)
    } catch (error) {
      await handle.close().catch(() => undefined)
      throw toLogError(error, 'write', handle.path)
    }
    await this.#close(handle)
  }

  /** A file that a crash has left under this name is emptied. */
  async #create(baseOffset: number, suffix: string): Promise<FileHandle> {
    const { dir, permissions, owner } = this.#input
    const path = filePath(dir, segmentFileName(baseOffset, suffix + CLEANED_SUFFIX))
    try {
      const handle = await this.#fs.open(path, 'truncate', permissions)
      this.#made.push(path)
      if (owner !== undefined) await this.#fs.changeOwner(path, owner.uid, owner.gid)
      return handle
    } catch (error) {
      throw toLogError(error, 'create', path)
    }
  }

  /** W1: the time first, so that the sync covers it. */
  async #close(handle: FileHandle): Promise<void> {
    try {
      await this.#fs.setModifiedTime(handle.path, this.#place.modifiedMs)
      await handle.sync()
    } catch (error) {
      throw toLogError(error, 'sync', handle.path)
    } finally {
      await handle.close().catch(() => undefined)
    }
  }
}

/** Counts what a writer would write. */
export class CleanedCounter implements CleanedSink {
  readonly writtenBytes = 0

  add(): undefined {
    return undefined
  }

  async finish(): Promise<CleanedSegment[]> {
    return []
  }

  async discard(): Promise<void> {}
}
