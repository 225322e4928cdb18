/**
 * When to write what is gathered, and when to sync what is written: the thresholds of `interval` and `buffered`.
 *
 * Thresholds are counted from the oldest byte that has not been synced (or written): whichever of records, bytes and
 * milliseconds is met first decides.
 */
import type { Clock } from '../util/clock.ts'
import { MiB } from '../util/sizes.ts'
import type { Durability, LogConfig } from './log-config.ts'

/** Without thresholds of its own a log lets at most this much wait for the file before appends wait. */
const MAX_UNWRITTEN_BYTES = 16 * MiB
/** The most that `buffered` gathers where its thresholds say nothing about bytes. */
const MAX_GATHERED_BYTES = 256 * MiB

export class FlushPolicy {
  readonly #clock: Clock
  #config: LogConfig
  #unsyncedRecords = 0
  #unsyncedBytes = 0
  #unsyncedSince: number | undefined
  #gatheredRecords = 0
  #gatheredSince: number | undefined

  constructor(clock: Clock, config: LogConfig) {
    this.#clock = clock
    this.#config = config
  }

  configure(config: LogConfig): void {
    this.#config = config
  }

  get #messages(): number {
    return this.#config.flushMessages ?? Number.POSITIVE_INFINITY
  }

  get #ms(): number {
    return this.#config.flushMs ?? Number.POSITIVE_INFINITY
  }

  get #bytes(): number {
    return this.#config.flushBytes ?? Number.POSITIVE_INFINITY
  }

  /** Records were accepted into memory. */
  gathered(records: number): void {
    this.#gatheredRecords += records
    if (this.#config.durability === 'buffered') this.#gatheredSince ??= this.#clock.monotonic()
  }

  wrote(records: number, bytes: number): void {
    this.#unsyncedRecords += records
    this.#unsyncedBytes += bytes
    this.#unsyncedSince ??= this.#clock.monotonic()
    this.#gatheredRecords = Math.max(0, this.#gatheredRecords - records)
    const remains = this.#gatheredRecords > 0 && this.#config.durability === 'buffered'
    this.#gatheredSince = remains ? this.#clock.monotonic() : undefined
  }

  synced(): void {
    this.#unsyncedRecords = 0
    this.#unsyncedBytes = 0
    this.#unsyncedSince = undefined
  }

  /** What had been gathered was taken back. */
  dropped(): void {
    this.#gatheredRecords = 0
    this.#gatheredSince = undefined
  }

  /** A write was refused and is to be tried again: not at once, but when the time is up once more. */
  postponed(): void {
    if (this.#gatheredSince !== undefined) this.#gatheredSince = this.#clock.monotonic()
  }

  /** True if what is in memory is to be written now; only `buffered` ever holds anything back. */
  writeDue(unwrittenBytes: number): boolean {
    if (this.#config.durability !== 'buffered') return true
    return (
      this.#gatheredRecords >= this.#messages ||
      // Where appends wait for room, what is there must go, whatever the thresholds say.
      unwrittenBytes >= Math.min(this.#bytes, MAX_GATHERED_BYTES) ||
      isPast(this.#gatheredSince, this.#ms, this.#clock)
    )
  }

  /** True if what is written is to be synced now although nobody waits for it. */
  syncDue(durability: Durability): boolean {
    if (durability === 'batch') return this.#unsyncedBytes > 0
    if (durability !== 'interval') return false
    return (
      this.#unsyncedRecords >= this.#messages ||
      this.#unsyncedBytes >= this.#bytes ||
      isPast(this.#unsyncedSince, this.#ms, this.#clock)
    )
  }

  /** Milliseconds until time alone makes a write or a sync due; `undefined` when it never will. */
  dueInMs(): number | undefined {
    const since =
      this.#config.durability === 'buffered'
        ? this.#gatheredSince
        : this.#config.durability === 'interval'
          ? this.#unsyncedSince
          : undefined
    if (since === undefined || this.#ms === Number.POSITIVE_INFINITY) return undefined
    return Math.max(0, since + this.#ms - this.#clock.monotonic())
  }

  /**
   * True if another append must wait: for room in memory, or (`interval`) because unsynced data has reached twice a
   * threshold. So the bound on what a power cut can take is 2N records, 2B bytes.
   */
  appendMustWait(unwrittenBytes: number): boolean {
    const { durability } = this.#config
    if (durability === 'buffered') {
      const bytes = Math.min(2 * this.#bytes, MAX_GATHERED_BYTES)
      return unwrittenBytes >= bytes || this.#gatheredRecords >= 2 * this.#messages
    }
    if (unwrittenBytes >= MAX_UNWRITTEN_BYTES) return true
    if (durability !== 'interval') return false
    return (
      this.#unsyncedRecords + this.#gatheredRecords >= 2 * this.#messages ||
      this.#unsyncedBytes + unwrittenBytes >= 2 * this.#bytes
    )
  }
}

function isPast(since: number | undefined, ms: number, clock: Clock): boolean {
  return since !== undefined && clock.monotonic() - since >= ms
}
