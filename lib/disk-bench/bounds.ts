/**
 * How long each phase may take, ms, and what part of the disk space it may use. The bounds keep a run below a minute,
 * a quick one below 15 seconds, whatever the disk; on a fast one the bytes run out first.
 */
import { KiB, MiB } from '../util/sizes.ts'

/** Disk space that a run uses at least. */
export const SMALLEST_SIZE_BYTES = 8 * MiB

export interface Bounds {
  readonly warmUpWriteMs: number
  readonly sequentialWriteMs: number
  readonly coldReadMs: number
  readonly randomReadMs: number
  readonly warmReadMs: number
  /** Of each size, for appending and for overwriting. */
  readonly syncMs: number
  readonly appendMs: number
  readonly durableMs: number
  readonly scanMs: number
  /** Recovery cannot be cut short; the log that it is given is no larger than this time allows. */
  readonly recoveryMs: number
}

export const FULL: Bounds = {
  warmUpWriteMs: 4000,
  sequentialWriteMs: 8000,
  coldReadMs: 5000,
  randomReadMs: 2500,
  warmReadMs: 1000,
  syncMs: 1200,
  appendMs: 3000,
  durableMs: 2500,
  scanMs: 4000,
  recoveryMs: 3000
}

export const QUICK: Bounds = {
  warmUpWriteMs: 700,
  sequentialWriteMs: 1500,
  coldReadMs: 1000,
  randomReadMs: 700,
  warmReadMs: 300,
  syncMs: 350,
  appendMs: 700,
  durableMs: 600,
  scanMs: 800,
  recoveryMs: 700
}

/** What is written and read at a time where the row is about throughput. */
export const PIECE_BYTES = MiB
/** What a random read asks for: a page of memory, a block of the file system. */
export const PAGE_BYTES = 4 * KiB

/** Of the space asked for: the file that is written and read as a whole. */
export const FILE_SHARE = 1 / 2
/** A file that is synced over and over, a log, a copy of it: no more than three of them exist at a time. */
export const SMALL_SHARE = 1 / 4
