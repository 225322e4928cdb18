/**
 * Makes logs that are too large to be written for a measurement: the engine makes the log with all its segments, each
 * with its last batch only, and closes it; then the closed segments are filled in from outside.
 *
 * What is real: every file and its name, the offset and time indexes byte for byte (a test holds them against those
 * that the engine writes for the same batches), the producer snapshots, the checkpoints, the active segment whole,
 * and in each closed segment a few runs of batches, some 100 kB each, where `samples` point. What is not: between
 * those runs the .log files are holes, which take no room on the disk and read as zeros.
 */
import { open, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeBatch, type PartitionLog, type RecordInput, Store } from '../../lib/index.ts'

/** Batches of one size, one after the other; the timestamps of a batch are one, and one more than the last one's. */
export interface LogPlan {
  /** Of one batch; the timestamps are set here. */
  readonly records: readonly RecordInput[]
  readonly segmentBytes: number
  /** Closed segments, filled in. */
  readonly closedSegments: number
  /** Batches of the active segment, written by the engine. */
  readonly activeBatches: number
  /** Runs of real batches in each closed segment. */
  readonly samplesPerSegment: number
  /** Timestamp of the first batch, ms. */
  readonly firstTimestamp: number
}

/** Where a reader may look: an offset within a batch that is really there, and that batch's timestamp. */
export interface Sample {
  readonly offset: number
  readonly baseOffset: number
  readonly timestamp: number
}

/** See FORMAT.md. */
const MANIFEST = 'heartwood-manifest'
const OFFSET_ENTRY_BYTES = 8
const TIME_ENTRY_BYTES = 12
/** Batches of a run: one before the sample, which the index leads to, and as many behind it as a lookup by time reads. */
const BEFORE_SAMPLE = 1
const BEHIND_SAMPLE = 8

export class LargeLog {
  readonly plan: LogPlan
  readonly batchBytes: number
  readonly batchesPerSegment: number

  /** @throws {TypeError} for batches below the 4 KiB from which on each gets an index entry. */
  constructor(plan: LogPlan) {
    this.plan = plan
    this.batchBytes = this.batch(0).length
    this.batchesPerSegment = Math.floor(plan.segmentBytes / this.batchBytes)
    if (this.batchBytes <= 4096) throw new TypeError(`batches of ${this.batchBytes} bytes; needed are more than 4,096`)
  }

  get batchCount(): number {
    const { closedSegments, activeBatches } = this.plan
    return closedSegments * this.batchesPerSegment + activeBatches
  }

  /** Bytes of all .log files, holes included. */
  get bytes(): number {
    return this.batchCount * this.batchBytes
  }

  /** The n-th batch of the log. */
  batch(n: number): Buffer {
    const { records } = this.plan
    const timestamp = this.timestampOf(n)
    const stamped = records.map(({ key, value }) => ({ key: key ?? null, value: value ?? null, timestamp }))
    return encodeBatch(stamped, { now: timestamp, baseOffset: n * records.length })
  }

  timestampOf(n: number): number {
    return this.plan.firstTimestamp + n
  }

  /** Batches that readers may ask for, in each segment as many, the active one included. */
  samples(): Sample[] {
    const { plan, batchesPerSegment } = this
    const samples: Sample[] = []
    const add = (n: number): void => {
      const baseOffset = n * plan.records.length
      const offset = baseOffset + (plan.records.length >> 1)
      samples.push({ offset, baseOffset, timestamp: this.timestampOf(n) })
    }
    for (let segment = 0; segment < plan.closedSegments; segment += 1)
      for (const at of this.#sampled(batchesPerSegment)) add(segment * batchesPerSegment + at)
    for (const at of this.#sampled(plan.activeBatches)) add(plan.closedSegments * batchesPerSegment + at)
    return samples
  }

  #sampled(batches: number): number[] {
    const { samplesPerSegment } = this.plan
    const step = (batches - BEFORE_SAMPLE - BEHIND_SAMPLE) / samplesPerSegment
    return Array.from({ length: samplesPerSegment }, (_, i) => BEFORE_SAMPLE + Math.floor((i + 0.5) * step))
  }

  /** The offset index of a closed segment. */
  offsetIndex(): Buffer {
    const { batchesPerSegment, batchBytes, plan } = this
    // The first batch of a segment gets no entry.
    const bytes = Buffer.alloc((batchesPerSegment - 1) * OFFSET_ENTRY_BYTES)
    for (let n = 1; n < batchesPerSegment; n += 1) {
      const at = (n - 1) * OFFSET_ENTRY_BYTES
      bytes.writeInt32BE((n + 1) * plan.records.length - 1, at)
      bytes.writeInt32BE(n * batchBytes, at + 4)
    }
    return bytes
  }

  timeIndex(segment: number): Buffer {
    const { batchesPerSegment, plan } = this
    const bytes = Buffer.alloc((batchesPerSegment - 1) * TIME_ENTRY_BYTES)
    for (let n = 1; n < batchesPerSegment; n += 1) {
      const at = (n - 1) * TIME_ENTRY_BYTES
      bytes.writeBigInt64BE(BigInt(this.timestampOf(segment * batchesPerSegment + n)), at)
      bytes.writeInt32BE((n + 1) * plan.records.length - 1, at + 8)
    }
    return bytes
  }

  /** Makes the store in `dir`, with the log as partition 0 of `topic`, closed cleanly. */
  async create(dir: string, topic: string): Promise<void> {
    const { plan, batchesPerSegment } = this
    const store = await Store.open(dir, { defaults: { durability: 'none', segmentBytes: plan.segmentBytes } })
    await store.createTopic(topic)
    const log = await store.openLog(topic, 0)
    for (let segment = 1; segment <= plan.closedSegments; segment += 1) {
      await log.appendAsFollower(this.batch(segment * batchesPerSegment - 1))
      await log.roll()
    }
    await this.#writeActive(log)
    await store.close()
    // It says how long the segments are, of which only the last batch was written so far.
    await rm(join(dir, `${topic}-0`, MANIFEST), { force: true })
    for (let segment = 0; segment < plan.closedSegments; segment += 1)
      await this.#fillIn(join(dir, `${topic}-0`), segment)
  }

  async #writeActive(log: PartitionLog): Promise<void> {
    const { plan, batchesPerSegment } = this
    const first = plan.closedSegments * batchesPerSegment
    for (let n = 0; n < plan.activeBatches; n += 1) {
      const appended = log.appendAsFollower(this.batch(first + n))
      // Some in flight, so that writes are large.
      if (n % 64 === 63) await appended
    }
    await log.sync()
  }

  async #fillIn(folder: string, segment: number): Promise<void> {
    const { batchesPerSegment, batchBytes, plan } = this
    const first = segment * batchesPerSegment
    const stem = join(folder, String(first * plan.records.length).padStart(20, '0'))
    const path = `${stem}.log`
    await truncate(path, 0)
    await truncate(path, batchesPerSegment * batchBytes)
    const file = await open(path, 'r+')
    try {
      const write = async (from: number, to: number): Promise<void> => {
        const batches: Buffer[] = []
        for (let n = from; n <= Math.min(to, batchesPerSegment - 1); n += 1) batches.push(this.batch(first + n))
        await file.writev(batches, from * batchBytes)
      }
      await write(0, 0)
      for (const at of this.#sampled(batchesPerSegment)) await write(at - BEFORE_SAMPLE, at + BEHIND_SAMPLE)
      await write(batchesPerSegment - 1, batchesPerSegment - 1)
    } finally {
      await file.close()
    }
    await writeFile(`${stem}.index`, this.offsetIndex())
    await writeFile(`${stem}.timeindex`, this.timeIndex(segment))
  }
}
