/**
 * What a log counts while it works. Counting costs a few additions per group, never anything per record.
 */
import type { LogError } from '../util/errors.ts'

/** Of a histogram that has counted nothing: most logs of a large store just lie there. */
const NO_BUCKETS = new Float64Array(40)

/** Counts values by powers of two: bucket i holds values in [2^(i-1), 2^i), bucket 0 those below 1. */
export class PowerHistogram {
  #buckets = NO_BUCKETS
  #count = 0
  #sum = 0
  #max = 0

  add(value: number): void {
    if (this.#count === 0) this.#buckets = new Float64Array(NO_BUCKETS.length)
    const bucket = value < 1 ? 0 : Math.min(this.#buckets.length - 1, Math.floor(Math.log2(value)) + 1)
    this.#buckets[bucket] = (this.#buckets[bucket] as number) + 1
    this.#count += 1
    this.#sum += value
    if (value > this.#max) this.#max = value
  }

  /** Quantiles are upper bounds: the true value is at most that, and more than half of it. */
  summary(): HistogramSummary {
    return {
      count: this.#count,
      mean: this.#count === 0 ? 0 : this.#sum / this.#count,
      p50: this.#quantile(0.5),
      p99: this.#quantile(0.99),
      max: this.#max
    }
  }

  #quantile(fraction: number): number {
    const wanted = this.#count * fraction
    let seen = 0
    for (let i = 0; i < this.#buckets.length; i += 1) {
      seen += this.#buckets[i] as number
      if (seen >= wanted && seen > 0) return Math.min(2 ** i, this.#max)
    }
    return 0
  }
}

export interface HistogramSummary {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Counters since the log was opened. */
export interface LogStats {
  readonly records: number
  readonly batches: number
  readonly bytes: number
  /** Writes to the log file, each of one or more batches. */
  readonly groups: number
  /** Records per group. */
  readonly groupSize: HistogramSummary
  /** Microseconds per fdatasync of a group. */
  readonly syncMicroseconds: HistogramSummary
  readonly duplicates: number
  readonly errors: number
  readonly lastError: string | undefined
  readonly rolls: number
  readonly reads: number
  readonly readsFromMemory: number
  readonly readBytes: number
  /** Calls of `get` that could have found something. */
  readonly pointReads: number
  /** Of these, answered without touching the file. */
  readonly pointReadsFromMemory: number
  readonly unwrittenBytes: number
  readonly segments: number
  readonly bytesOnDisk: number
}

export class LogMetrics {
  records = 0
  batches = 0
  bytes = 0
  groups = 0
  duplicates = 0
  errors = 0
  lastError: string | undefined
  rolls = 0
  reads = 0
  readsFromMemory = 0
  readBytes = 0
  pointReads = 0
  pointReadsFromMemory = 0
  readonly groupSize = new PowerHistogram()
  readonly syncMicroseconds = new PowerHistogram()

  groupWritten(batches: number, records: number, bytes: number): void {
    this.groups += 1
    this.batches += batches
    this.records += records
    this.bytes += bytes
    this.groupSize.add(records)
  }

  synced(milliseconds: number): void {
    this.syncMicroseconds.add(milliseconds * 1000)
  }

  failed(error: LogError): void {
    this.errors += 1
    this.lastError = `${error.code}: ${error.message}`
  }

  snapshot(sizes: Pick<LogStats, 'unwrittenBytes' | 'segments' | 'bytesOnDisk'>): LogStats {
    return {
      records: this.records,
      batches: this.batches,
      bytes: this.bytes,
      groups: this.groups,
      groupSize: this.groupSize.summary(),
      syncMicroseconds: this.syncMicroseconds.summary(),
      duplicates: this.duplicates,
      errors: this.errors,
      lastError: this.lastError,
      rolls: this.rolls,
      reads: this.reads,
      readsFromMemory: this.readsFromMemory,
      readBytes: this.readBytes,
      pointReads: this.pointReads,
      pointReadsFromMemory: this.pointReadsFromMemory,
      ...sizes
    }
  }
}
