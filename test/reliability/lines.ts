/**
 * What a writer process tells, one line of JSON each, before it does something and after it has been done.
 *
 * The reader in another process knows nothing else of the writer; what it holds the logs against is these lines alone.
 */
import type { AckLevel } from '../../lib/log/types.ts'

/** Key and value of a record; a null value is a tombstone. */
export type Pair = readonly [key: string | null, value: string | null]

export interface ProducerFields {
  readonly id: number
  readonly epoch: number
  /** Base sequence; -1 in a marker. */
  readonly sequence: number
  readonly transactional: boolean
}

export interface SentLine {
  /** Number of the append, the same one when it is tried again. Its records' values begin with it. */
  readonly sent: number
  readonly log: string
  readonly records: readonly Pair[]
  readonly marker?: 'commit' | 'abort'
  readonly producer?: ProducerFields
}

export interface UsageLine {
  readonly usage: { readonly rss: number; readonly heap: number; readonly outside: number; readonly files: number }
}

export type Line =
  | SentLine
  | { readonly acked: number; readonly at: number; readonly level: AckLevel; readonly duplicate: boolean }
  /** It is synced now. */
  | { readonly safe: number }
  | { readonly refused: number; readonly code: string }
  /** The end of a log is cut off, and then has been. */
  | { readonly cutting: string; readonly to: number }
  | { readonly cut: string }
  /** The beginning of a log is deleted, and then has been. */
  | { readonly trimming: string; readonly to: number }
  | { readonly trimmed: string; readonly to: number }
  | { readonly opened: string }
  /** The store was closed cleanly. */
  | { readonly closed: string }
  /** Something other than an append was refused. */
  | { readonly failed: string; readonly code: string }
  | UsageLine
  /** What no circumstances allow. */
  | { readonly wrong: string }

/** @returns the line; `undefined` for one that the end of its writer has cut off. */
export function parseLine(text: string): Line | undefined {
  if (!text.endsWith('}')) return undefined
  try {
    return JSON.parse(text) as Line
  } catch {
    return undefined
  }
}

/** What a writer has to know to go on where the one before it was ended. */
export interface Resume {
  readonly log: string
  readonly id: number
  readonly epoch: number
  /** Base sequence of the first append that is not tried again. */
  readonly nextSequence: number
  /** Appends to try again, in order: acknowledged ones, which must not be there twice, and those of unknown fate. */
  readonly retries: readonly SentLine[]
}

export interface WriterOptions {
  readonly dir: string
  readonly seed: number
  /** Numbers of appends begin here. */
  readonly firstNumber: number
  readonly resume: readonly Resume[]
  /** Typed errors are told and gone past; otherwise any error is wrong. */
  readonly keepGoing: boolean
  /** Cleanings run in a worker thread. */
  readonly cleanerThread: boolean
  /** Rounds between an opening and a clean close; 0: never closes. */
  readonly rounds: number
  /** Pause after each append, ms. */
  readonly pauseMs: number
  /** Tells its usage of memory and descriptors so often, ms; 0: never. */
  readonly usageEveryMs: number
  /** Process that the writer writes for: it ends by itself, a moment after this one. */
  readonly reader: number
}
