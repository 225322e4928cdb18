/**
 * What every store in a comparison can do, in the words of that store's own documentation.
 *
 * Heartwood, the bare loops (`ceiling`) and the rivals each have one file beside this one that exports an `Engine`.
 * A question asks for the sessions it needs; an engine leaves out what it cannot do, and the row leaves the engine out.
 */

/**
 * A record as a question hands it over; the memory belongs to the question and is used again. It comes as bytes and as
 * text, so that stores of bytes and stores of text are both given what their users would have. Heartwood takes it as
 * it is; the others pack it in whatever way suits them, inside the clock.
 */
export interface Rec {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly headers?: readonly (readonly [name: string, value: Uint8Array])[]
  /** The same as `key` and `value`. */
  readonly keyText: string
  readonly valueText: string
}

/** `written`: in the operating system's hands; `synced`: on the disk, as far as a flush can say. */
export type Level = 'written' | 'synced'

export interface Appender {
  /** Appends all records as one unit; done when it is acknowledged at the session's level. */
  append(records: readonly Rec[]): Promise<void> | void
  close(): Promise<void> | void
}

export interface Scanner {
  /** Reads everything from the beginning and returns what it met, so that nothing is optimised away. */
  scan(): Promise<{ records: number; bytes: number }> | { records: number; bytes: number }
  close(): Promise<void> | void
}

export interface PointReader {
  /** The record at a position, counted from 0; returns the size of its value. */
  get(position: number): Promise<number> | number
  close(): Promise<void> | void
}

export interface Engine {
  readonly name: string
  /** How it is configured for this job and why, in one line; it is printed under each table. */
  settings(level: Level): string
  /** Version of the package, for the table's foot. */
  version(): string
  appender?(directory: string, level: Level): Promise<Appender>
  /** `kind` says how records come out: `cursor` and `lazy` only where an engine has such a thing. */
  scanner?(directory: string, kind: ScanKind): Promise<Scanner | undefined>
  pointReader?(directory: string, options: { cacheBytes: number }): Promise<PointReader>
}

export type ScanKind = 'cursor' | 'lazy' | 'eager'
