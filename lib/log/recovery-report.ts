import type { ErrorDetails } from '../util/errors.ts'

/** What recovery cut off the end of a log. */
export interface Truncation {
  /** Base offset of the segment that was cut. */
  readonly segment: number
  /** Byte at which it now ends. */
  readonly position: number
  /** Log end offset of what is left. */
  readonly offset: number
}

/** Why something in the report is worth a look; codes are API, messages are not. */
export type RecoveryNoteCode =
  | 'ANOTHER_ENGINE_WROTE'
  | 'CORRUPT_FILE'
  | 'GAP'
  | 'INTERRUPTED_COMPACTION'
  | 'LOG_END_MISSING'
  | 'LOG_START_BEYOND_END'
  | 'NOT_QUARANTINED'
  | 'QUARANTINE_TRIMMED'
  | 'SEGMENT_MISSING'
  | 'SYNC_HAD_FAILED'
  | 'UNKNOWN_FILE'
  | 'UNKNOWN_LEADER_EPOCH'

export interface RecoveryNote {
  readonly code: RecoveryNoteCode
  readonly message: string
  readonly details: ErrorDetails
}

/**
 * What opening a log found and did. Nothing is dropped, rebuilt or ignored without a line in here.
 */
export interface RecoveryReport {
  /** True if the log was closed cleanly, so that it was not scanned. */
  readonly clean: boolean
  /** True if another engine wrote here since we last closed it: our side-cars were then rebuilt. */
  readonly foreign: boolean
  /** Bytes of `.log` files whose batches were checked. */
  readonly scannedBytes: number
  readonly scannedBatches: number
  readonly truncatedFrom: Truncation | undefined
  /** Bytes cut off, zeros included; those of dropped segments too. */
  readonly truncatedBytes: number
  /** Name in `quarantine/` of the copy of what was cut; the first one if there are more. */
  readonly quarantined: string | undefined
  /** Of the bytes cut off, those in runs of zeros, which are not copied. */
  readonly zeroBytesDropped: number
  /** Names of files that were removed. */
  readonly deletedFiles: readonly string[]
  /** Derived files made anew, with their segment: `offset-index 42`. */
  readonly rebuilt: readonly string[]
  readonly notes: readonly RecoveryNote[]
  readonly milliseconds: number
  readonly logStartOffset: number
  readonly logEndOffset: number
}

/** A report in the making. */
export class ReportBuilder {
  clean: boolean
  foreign: boolean
  scannedBytes = 0
  scannedBatches = 0
  truncatedFrom: Truncation | undefined
  truncatedBytes = 0
  quarantined: string | undefined
  zeroBytesDropped = 0
  readonly #deletedFiles: string[] = []
  readonly #rebuilt = new Set<string>()
  readonly #notes: RecoveryNote[] = []

  constructor({ clean, foreign }: { clean: boolean; foreign: boolean }) {
    this.clean = clean
    this.foreign = foreign
  }

  deleted(name: string): void {
    this.#deletedFiles.push(name)
  }

  rebuilt(what: 'offset-index' | 'time-index' | 'transaction-index' | 'producer-state', segment: number): void {
    this.#rebuilt.add(`${what} ${segment}`)
  }

  note(code: RecoveryNoteCode, message: string, details: ErrorDetails = {}): void {
    this.#notes.push({ code, message, details })
  }

  finish(offsets: { logStartOffset: number; logEndOffset: number; milliseconds: number }): RecoveryReport {
    return {
      clean: this.clean,
      foreign: this.foreign,
      scannedBytes: this.scannedBytes,
      scannedBatches: this.scannedBatches,
      truncatedFrom: this.truncatedFrom,
      truncatedBytes: this.truncatedBytes,
      quarantined: this.quarantined,
      zeroBytesDropped: this.zeroBytesDropped,
      deletedFiles: [...this.#deletedFiles],
      rebuilt: [...this.#rebuilt],
      notes: [...this.#notes],
      milliseconds: Math.round(offsets.milliseconds),
      logStartOffset: offsets.logStartOffset,
      logEndOffset: offsets.logEndOffset
    }
  }
}
