/**
 * What a run of the disk benchmark found, as `--json` prints it and `--save` keeps it.
 *
 * Units: bytes, seconds, microseconds (`…Us`), and per second. A figure that was not measured is not there, and a row
 * of an older or newer heartwood may be missing in a file of this one.
 *
 * Version 1. A change of the meaning of a field, or the loss of one, is a new version; new fields are not.
 */
import type { DeviceFacts, MachineFacts } from './machine-facts.ts'
import type { DurabilityAdvice, SyncJudgement } from './verdict.ts'

export const REPORT_KIND = 'heartwood-bench'
export const REPORT_VERSION = 1

/** In the order in which they are shown. */
export const ROW_IDS = [
  'sequential-write-cached',
  'sequential-write',
  'sequential-read-cold',
  'random-read-cold',
  'sequential-read-warm',
  'random-read-warm',
  'sync-append-4k',
  'sync-overwrite-4k',
  'sync-append-64k',
  'sync-overwrite-64k',
  'sync-append-1m',
  'sync-overwrite-1m',
  'append-100b',
  'append-100b-synced',
  'append-1k',
  'append-1k-synced',
  'durable-1',
  'durable-64',
  'scan-cold',
  'scan-warm',
  'recovery'
] as const

export type RowId = (typeof ROW_IDS)[number]

export interface BenchReport {
  readonly kind: typeof REPORT_KIND
  readonly version: typeof REPORT_VERSION
  /** Of heartwood. */
  readonly heartwood: string
  /** When the run began, ISO 8601. */
  readonly date: string
  /** The folder that was asked for. */
  readonly dir: string
  readonly sizeBytes: number
  readonly quick: boolean
  /** Of the whole run. */
  readonly seconds: number
  readonly machine: MachineFacts
  readonly device: DeviceFacts
  readonly rows: readonly Row[]
  readonly sync: SyncJudgement
  readonly durability: DurabilityAdvice
}

export interface Row {
  readonly id: RowId
  readonly part: 'disk' | 'engine'
  /** For people. */
  readonly name: string
  /** What `operations` counts. */
  readonly counts: 'writes' | 'reads' | 'records' | 'acks'
  readonly operations: number
  /** Of the disk: as written or read. Of the engine: of the log's file, that is records with what encodes them. */
  readonly bytes: number
  readonly seconds: number
  readonly bytesPerSecond: number
  /** Operations per second. */
  readonly perSecond: number
  /** Of one operation: one fdatasync without its write, one read, one acknowledgement. */
  readonly latency?: Latency
  /** Of reads: where the bytes came from, as the kernel's own count says. */
  readonly cache?: CacheState
  /** What the disk itself does for the same work, and this row as a part of it. */
  readonly limit?: Limit
  /** Ended by its bound of time before it had moved what was planned. */
  readonly cut: boolean
  readonly note?: string
}

export interface Latency {
  readonly p50Us: number
  readonly p99Us: number
  readonly maxUs: number
}

/**
 * - `cold`: from the device. `warm`: from memory.
 * - `mixed`: some of each. `unknown`: this file system or platform does not tell.
 */
export type CacheState = 'cold' | 'warm' | 'mixed' | 'unknown'

export interface Limit {
  readonly row: RowId
  /** For people: `one fdatasync each`. */
  readonly name: string
  /** This row's rate over the limit's. Above 1 where the engine reads ahead and the disk's row does not. */
  readonly ratio: number
}
