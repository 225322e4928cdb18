import type { TimestampType } from './batch-format.ts'

/** One header of a record: names may repeat, order is kept, and a value may be null. */
export type Header = readonly [name: string, value: Buffer | null]

/** Headers as a caller may give them. An iterable is read twice, so it must not be a one-shot iterator. */
export type HeadersInput =
  | Iterable<readonly [string, string | Uint8Array | null]>
  | Readonly<Record<string, string | Uint8Array | null>>

/**
 * A record to be encoded. Strings become UTF-8, a lone surrogate becomes U+FFFD. A missing key or value is null; a
 * null value of a keyed record is a tombstone.
 */
export interface RecordInput {
  readonly key?: string | Uint8Array | null
  readonly value?: string | Uint8Array | null
  readonly headers?: HeadersInput
  /** Milliseconds since 1970, whole; a bigint beyond 2^53. -1 none. Default: the batch's `now`. */
  readonly timestamp?: number | bigint
}

/** A decoded record, as a plain object. Key, value and header values are views of the batch's bytes. */
export interface EagerRecord {
  readonly offset: number
  /** Milliseconds, the nearest number; -1 none. */
  readonly timestamp: number
  /** Present only where a number does not hold the timestamp exactly. */
  readonly timestampExact?: bigint
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
}

/** What every decoded record shows, however it is decoded. */
export interface LogRecord {
  readonly offset: number
  /** Milliseconds, the nearest number; -1 none. */
  readonly timestamp: number
  readonly timestampExact: bigint
  readonly timestampType: TimestampType
  readonly leaderEpoch: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly Header[]
}
