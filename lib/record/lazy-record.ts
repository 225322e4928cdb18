import type { TimestampType } from './batch-format.ts'
import { readHeaders } from './headers.ts'
import type { Header, LogRecord } from './record.ts'
import type { RecordSource } from './record-source.ts'

/**
 * One record, decoded as far as one asks: a few positions in the bytes that its whole batch shares. Stays valid as
 * long as it is held, and keeps those bytes in memory for as long; whoever keeps one record of many copies what it
 * needs.
 */
export class LazyRecord implements LogRecord {
  readonly #source: RecordSource
  readonly #offsetDelta: number
  readonly #timestampAt: number
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number

  /** For `RecordCursor.lazy`: positions in `source.bytes`, -1 as the start of what is null. */
  constructor(
    source: RecordSource,
    offsetDelta: number,
    timestampAt: number,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number
  ) {
    this.#source = source
    this.#offsetDelta = offsetDelta
    this.#timestampAt = timestampAt
    this.#keyStart = keyStart
    this.#keyEnd = keyEnd
    this.#valueStart = valueStart
    this.#valueEnd = valueEnd
  }

  get offset(): number {
    return this.#source.baseOffset + this.#offsetDelta
  }

  /** Milliseconds, the nearest number; -1 none. */
  get timestamp(): number {
    return this.#source.timestamp(this.#timestampAt)
  }

  get timestampExact(): bigint {
    return this.#source.timestampExact(this.#timestampAt)
  }

  get timestampType(): TimestampType {
    return this.#source.batch.timestampType
  }

  /** Leader epoch of the batch; -1 unknown. */
  get leaderEpoch(): number {
    return this.#source.batch.partitionLeaderEpoch
  }

  /** A view of the batch's bytes. */
  get key(): Buffer | null {
    return this.#source.view(this.#keyStart, this.#keyEnd)
  }

  /** A view of the batch's bytes. Null is a tombstone. */
  get value(): Buffer | null {
    return this.#source.view(this.#valueStart, this.#valueEnd)
  }

  /** Decoded anew each time. */
  get headers(): readonly Header[] {
    return readHeaders(this.#source.bytes, this.#valueEnd, this.#source.end)
  }

  /** Who wrote the batch; `undefined` if it was written without an id. */
  get producerId(): number | undefined {
    return this.#source.batch.hasProducerId ? this.#source.batch.producerId : undefined
  }

  get producerEpoch(): number | undefined {
    return this.#source.batch.hasProducerId ? this.#source.batch.producerEpoch : undefined
  }
}
