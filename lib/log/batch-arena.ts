/**
 * Where appends become batches: encodes plain records straight into a chunk, copies ready-made batches into it, and
 * keeps the queue of what is sealed but not written.
 *
 * Records of appends that wait together share one batch (the open one) until it is sealed: by its size, by an append
 * that must not be merged, or by the writer that takes the queue. Everything here is synchronous.
 */
import { BatchBuilder } from '../record/batch-builder.ts'
import { MAX_TIMESTAMP_AT } from '../record/batch-format.ts'
import type { RecordInput } from '../record/record.ts'
import { nearestInt64 } from '../util/int64.ts'
import { KiB } from '../util/sizes.ts'
import type { ArenaPool, Chunk } from './arena.ts'
import type { SealedBatch, Tail } from './tail.ts'

/**
 * Of written batches one log keeps so much for its readers, but at least one chunk. Readers further behind read from
 * the page cache; and going round in 16 MiB instead, which no second-level cache holds, made an append of 1 KiB records
 * dearer by a quarter.
 */
const MAX_RETAINED_BYTES = 512 * KiB

/** What the log decides about a batch of plain records. */
export interface BatchFields {
  readonly baseOffset: number
  readonly leaderEpoch: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  readonly now: number
}

/** What an accepted append got: the basis of its acknowledgement. */
export interface Accepted {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Largest timestamp, or the log append time; `undefined` when there is none. */
  readonly timestamp: number | undefined
  readonly duplicate: boolean
}

interface OpenBatch {
  readonly start: number
  readonly baseOffset: number
  readonly leaderEpoch: number
  readonly timestampType: string
  /** Under LogAppendTime: the time that all records of the batch have, whenever they joined it. */
  readonly appendTime: number | undefined
}

export class BatchArena {
  readonly #pool: ArenaPool
  readonly #tail: Tail
  readonly #builder = new BatchBuilder()
  #chunk: Chunk | undefined
  #open: OpenBatch | undefined
  #queue: SealedBatch[] = []
  #queuedBytes = 0
  #filledChunks = 0
  /** Those of the pool's retained chunks that are ours, oldest first. */
  #retained: Chunk[] = []
  /** The last of them that we came back to: it is given back when it is written, or taken back. */
  #held: Chunk | undefined

  constructor(pool: ArenaPool, tail: Tail) {
    this.#pool = pool
    this.#tail = tail
  }

  /** Bytes that are not in the file yet, the open batch included. */
  get unwrittenBytes(): number {
    return this.#queuedBytes + (this.#open === undefined ? 0 : this.#builder.position - this.#open.start)
  }

  get hasWork(): boolean {
    return this.#open !== undefined || this.#queue.length > 0
  }

  get queued(): readonly SealedBatch[] {
    return this.#queue
  }

  /** True if `records` of at most `bound` bytes may join the open batch under these fields. */
  canMerge(bound: number, leaderEpoch: number, timestampType: string, maxMergedBytes: number): boolean {
    const open = this.#open
    return (
      open !== undefined &&
      open.leaderEpoch === leaderEpoch &&
      open.timestampType === timestampType &&
      this.#builder.position - open.start + bound <= maxMergedBytes &&
      this.#builder.position + bound <= (this.#chunk as Chunk).buffer.length
    )
  }

  /**
   * Adds all records to the open batch, or none.
   *
   * @param bound - `BatchBuilder.sizeBound(records)`; the caller has asked `canMerge`, or calls `beginBatch` first.
   * @param now - ms: what records without a timestamp are dated with.
   * @param maxBatchBytes - a batch that grew beyond it is undone with `tooLarge(size)`.
   */
  addRecords(
    records: readonly RecordInput[],
    maxBatchBytes: number,
    now: number,
    tooLarge: (size: number) => Error
  ): Accepted {
    const builder = this.#builder
    const { baseOffset, appendTime } = this.#open as OpenBatch
    const first = builder.recordCount === 0 ? baseOffset : builder.lastOffset + 1
    try {
      const size = builder.addAll(records, maxBatchBytes, appendTime ?? now)
      if (size > maxBatchBytes) throw tooLarge(size)
    } catch (error) {
      if (builder.recordCount === 0) this.#open = undefined
      throw error
    }
    const timestamp = appendTime ?? builder.maxTimestamp ?? -1
    return {
      baseOffset: first,
      lastOffset: builder.lastOffset,
      timestamp: timestamp < 0 ? undefined : timestamp,
      duplicate: false
    }
  }

  /** Opens a batch with room for `bound` bytes. The one open before must have been sealed. */
  beginBatch(bound: number, fields: BatchFields): void {
    const chunk = this.#reserve(bound)
    this.#builder.begin(chunk.buffer, chunk.used, fields)
    const { baseOffset, leaderEpoch, timestampType, now } = fields
    const appendTime = timestampType === 'LogAppendTime' ? now : undefined
    this.#open = { start: chunk.used, baseOffset, leaderEpoch, timestampType, appendTime }
  }

  /** Finishes the open batch: its bytes are final from now on. */
  seal(): SealedBatch | undefined {
    const open = this.#open
    if (open === undefined) return undefined
    const builder = this.#builder
    const { lastOffset, recordCount } = builder
    const size = builder.finish()
    const chunk = this.#chunk as Chunk
    this.#open = undefined
    chunk.used = open.start + size
    return this.#enqueue({
      chunk,
      start: open.start,
      size,
      baseOffset: open.baseOffset,
      lastOffset,
      maxTimestamp: nearestInt64(chunk.buffer, open.start + MAX_TIMESTAMP_AT),
      records: recordCount,
      producer: false,
      position: -1
    })
  }

  /**
   * Takes a whole batch in, copying it; `prepare` sets what the log assigns, on the copy. Nothing is queued yet: the
   * caller checks the producer's state on `view` and then calls `commit`.
   */
  stage(bytes: Buffer): { readonly buffer: Buffer; readonly start: number } {
    const chunk = this.#reserve(bytes.length)
    bytes.copy(chunk.buffer, chunk.used)
    return { buffer: chunk.buffer, start: chunk.used }
  }

  /** Queues the batch that was staged last. */
  commit(facts: {
    size: number
    baseOffset: number
    lastOffset: number
    maxTimestamp: number
    records: number
    producer: boolean
  }): SealedBatch {
    const chunk = this.#chunk as Chunk
    const start = chunk.used
    chunk.used += facts.size
    return this.#enqueue({ chunk, start, ...facts, position: -1 })
  }

  /** Takes up to `maxBytes` of sealed batches, but at least one, in order, for writing. */
  take(maxBytes: number): SealedBatch[] {
    let count = 0
    let bytes = 0
    for (const batch of this.#queue) {
      if (count > 0 && bytes + batch.size > maxBytes) break
      bytes += batch.size
      count += 1
    }
    const group = count === this.#queue.length ? this.#queue : this.#queue.slice(0, count)
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count)
    this.#queuedBytes -= bytes
    return group
  }

  /** Puts a group back to the front after a write that may be tried again. */
  putBack(group: readonly SealedBatch[]): void {
    this.#queue = [...group, ...this.#queue]
    for (const batch of group) this.#queuedBytes += batch.size
  }

  /** The group is in the file: chunks that are full and written become the pool's to reclaim. */
  written(group: readonly SealedBatch[]): void {
    let previous: Chunk | undefined
    const next = this.#queue[0]?.chunk
    for (const batch of group) {
      if (batch.chunk !== previous && previous !== undefined) this.#retain(previous)
      previous = batch.chunk
    }
    if (previous === undefined || previous === next) return
    if (previous !== this.#chunk || !this.hasWork) this.#retain(previous)
  }

  /** Forgets everything that is not written. */
  dropUnwritten(): SealedBatch[] {
    const dropped = this.#queue
    this.#queue = []
    this.#queuedBytes = 0
    this.#open = undefined
    if (this.#held !== undefined) this.#held.held = false
    this.#held = undefined
    this.#chunk = undefined
    return dropped
  }

  /** Lets go of all memory. */
  close(): void {
    this.dropUnwritten()
    this.#tail.clear()
  }

  #enqueue(batch: SealedBatch): SealedBatch {
    this.#queue.push(batch)
    this.#queuedBytes += batch.size
    this.#tail.push(batch)
    return batch
  }

  #retain(chunk: Chunk): void {
    const isNew = !chunk.retained
    this.#pool.retain(chunk, this.#evicted)
    if (!isNew || !chunk.retained) return
    this.#retained.push(chunk)
    let bytes = this.#retained.reduce((sum, { buffer }) => sum + buffer.length, 0)
    while (bytes > MAX_RETAINED_BYTES && this.#retained.length > 1) {
      const oldest = this.#retained[0] as Chunk
      bytes -= oldest.buffer.length
      this.#pool.unretain(oldest)
      this.#evicted(oldest)
      this.#pool.release(oldest)
    }
  }

  readonly #evicted = (chunk: Chunk): void => {
    this.#retained = this.#retained.filter(other => other !== chunk)
    this.#tail.evict(chunk)
    if (this.#chunk === chunk) this.#chunk = undefined
  }

  #reserve(bytes: number): Chunk {
    let chunk = this.#chunk
    // An idle log's chunk belongs to the pool until the log comes back for it.
    if (chunk?.retained === true && chunk.room >= bytes) {
      chunk.held = true
      this.#held = chunk
    }
    if (chunk !== undefined && chunk.room >= bytes) return chunk
    // A chunk with batches in it is retained once they are written.
    if (chunk !== undefined && chunk.used === 0) this.#pool.release(chunk)
    // A log that has filled a few small chunks in a row is a busy one.
    this.#filledChunks = chunk === undefined ? 0 : this.#filledChunks + 1
    chunk = this.#pool.take(bytes, this.#filledChunks > 0)
    this.#chunk = chunk
    return chunk
  }
}
