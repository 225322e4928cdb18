/**
 * The current value of each key up to an offset, read from a log: what a view shows (latest-view.ts).
 *
 * A value of usual size is kept as a string of one byte a character, which takes a third of the memory that a small
 * buffer does, and is decoded when it is first asked for.
 */
import { isUtf8 } from 'node:buffer'
import type { RecordCursor } from '../record/record-cursor.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { KiB } from '../util/sizes.ts'
import type { LogChanges } from './log-changes.ts'
import { BatchScan, type StreamSource } from './record-stream.ts'
import type { Isolation } from './types.ts'

/** What the latest records are read from. */
export interface LatestSource {
  readonly log: StreamSource
  readonly changes: LogChanges
  /** For messages: `topic-partition`. */
  readonly name: string
  /** Tells whoever listens of a failure that nobody may be waiting for. */
  readonly failed: (error: unknown) => void
}

/** What a Map can find again; a buffer is another one each time. */
export type ViewKey = string | number | bigint

/** How keys and values are decoded; see `LatestRecords.follow`. */
export interface FollowOptions<K extends ViewKey = string, V = Buffer> {
  /** `key` is valid during the call only. */
  readonly keys?: (key: Buffer) => K
  /** `value` is the function's own. */
  readonly values?: (value: Buffer) => V
}

/** A key's record. */
interface Held<V> {
  /** `undefined` once it was decoded. */
  bytes: string | Buffer | undefined
  value: V | undefined
  readonly offset: number
  readonly timestamp: number
}

const LARGEST_STRING = 4 * KiB

export class LatestTable<K extends ViewKey, V> {
  readonly #source: LatestSource
  readonly #isolation: Isolation
  readonly #decoders: FollowOptions<K, V>
  readonly #entries = new Map<K, Held<V>>()
  #offset: number
  /** What was held below is taken out. */
  #prunedTo = 0
  /** Of the log's changes, those that are known. */
  #known: number
  #isCut = false
  #isOvertaken = false

  /** Empty, at the log start. */
  constructor(source: LatestSource, isolation: Isolation, decoders: FollowOptions<K, V>) {
    this.#source = source
    this.#isolation = isolation
    this.#decoders = decoders
    this.#offset = source.log.logStartOffset
    this.#known = source.changes.count
  }

  /** All below is taken in. Exclusive. */
  get offset(): number {
    return this.#offset
  }

  /** Something that was taken in was cut off the log's end since. */
  get isCut(): boolean {
    this.#look()
    return this.#isCut
  }

  /**
   * Compaction went by in front of us: it may have taken a tombstone away, with all that it deletes, whose key we hold.
   */
  get isOvertaken(): boolean {
    this.#look()
    return this.#isOvertaken
  }

  /** Takes in what lies below `to`; less where the log was closed or changed meanwhile, or the signal aborts. */
  async takeIn(to: number, signal: AbortSignal): Promise<void> {
    const { log } = this.#source
    this.#offset = Math.max(this.#offset, log.logStartOffset)
    if (this.#offset >= to) return
    const scan = new BatchScan(log, { from: this.#offset, to, isolation: this.#isolation, signal })
    try {
      while (await scan.fill()) {
        if (this.isCut || this.isOvertaken) return
        for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next()) {
          this.#apply(cursor, to)
          this.#offset = Math.min(to, cursor.batch.nextOffset)
        }
      }
    } catch (error) {
      // What lay here went by retention, or the end was cut: the caller looks anew.
      const isGone = this.#offset < log.logStartOffset || this.isCut
      if (isGone && isLogError(error, 'OFFSET_OUT_OF_RANGE')) return
      throw error
    } finally {
      await scan.return()
    }
    // Behind the last batch there may be markers, or a gap.
    if (!log.isClosed && !signal.aborted && !this.isCut && !this.isOvertaken) this.#offset = to
  }

  /** The entries, without those that lie below the log start. */
  entries(logStartOffset: number): ReadonlyMap<K, Held<V>> {
    if (logStartOffset > this.#prunedTo) {
      for (const [key, { offset }] of this.#entries) if (offset < logStartOffset) this.#entries.delete(key)
      this.#prunedTo = logStartOffset
    }
    return this.#entries
  }

  /** As `entries(…).get`, without going through all of them. */
  entry(key: K, logStartOffset: number): Held<V> | undefined {
    const held = this.#entries.get(key)
    return held === undefined || held.offset < logStartOffset ? undefined : held
  }

  /** @throws {LogError} INVALID_RECORD */
  valueOf(held: Held<V>): V {
    const { bytes } = held
    if (bytes === undefined) return held.value as V
    const value = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)
    if (this.#decoders.values === undefined) return value as V
    try {
      held.value = this.#decoders.values(value)
    } catch (cause) {
      throw this.#undecodable('value', held.offset, cause)
    }
    held.bytes = undefined
    return held.value
  }

  #apply(cursor: RecordCursor, to: number): void {
    while (cursor.next() && cursor.offset < to) {
      if (!cursor.hasKey) continue
      const key = this.#keyOf(cursor)
      if (cursor.hasValue) {
        const { offset, timestamp } = cursor
        this.#entries.set(key, { bytes: bytesOf(cursor), value: undefined, offset, timestamp })
      } else this.#entries.delete(key)
    }
  }

  #keyOf(cursor: RecordCursor): K {
    const key = cursor.key() as Buffer
    try {
      return this.#decoders.keys === undefined ? (textOf(key) as K) : this.#decoders.keys(key)
    } catch (cause) {
      throw this.#undecodable('key', cursor.offset, cause)
    }
  }

  #undecodable(what: 'key' | 'value', offset: number, cause: unknown): LogError {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const message = `${this.#source.name}: the ${what} of the record at offset ${offset} cannot be decoded: ${reason}`
    return new LogError('INVALID_RECORD', message, { offset }, cause)
  }

  #look(): void {
    const { changes } = this.#source
    if (changes.count === this.#known) return
    const { truncatedTo, replacedUpTo } = changes.since(this.#known)
    this.#known = changes.count
    if (truncatedTo !== undefined && truncatedTo < this.#offset) this.#isCut = true
    if (replacedUpTo !== undefined && replacedUpTo > this.#offset) this.#isOvertaken = true
  }
}

function bytesOf({ bytes, valueStart, valueEnd }: RecordCursor): string | Buffer {
  return valueEnd - valueStart <= LARGEST_STRING
    ? bytes.toString('latin1', valueStart, valueEnd)
    : Buffer.from(bytes.subarray(valueStart, valueEnd))
}

/** Strictly: bytes that are no UTF-8 would be shown under a key that other bytes have as well. */
function textOf(key: Buffer): string {
  if (isUtf8(key)) return key.toString()
  throw new Error('it is no UTF-8. Give `keys` for keys that are not text: key => key.toString("hex")')
}
