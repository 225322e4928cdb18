/** What `verify` has to say, and in which words it is counted. */

/**
 * - `corrupt`: something that was there once cannot be read any more, or must not be believed.
 * - `torn-tail`: what a crash left of a write that nobody was promised; the next opening for writing cuts it off.
 * - `derived`: a file that can be made again from the log is missing or wrong; no record is concerned.
 * - `note`: nothing is wrong; worth knowing.
 */
export type Severity = 'corrupt' | 'torn-tail' | 'derived' | 'note'

/** Codes are API; messages are not. */
export type FindingCode =
  // the batches of a log
  | 'BATCH_DAMAGED'
  | 'RECORDS_UNREADABLE'
  | 'BASE_OFFSET_WRONG'
  | 'LEADER_EPOCH_WRONG'
  | 'OLDER_FORMAT'
  | 'TORN_TAIL'
  | 'GAP'
  // the segments of a log, and where it begins and ends
  | 'SEGMENT_MISSING'
  | 'SEGMENT_LENGTH'
  | 'DIGEST_WRONG'
  | 'SEGMENTS_OVERLAP'
  | 'ENDS_TOO_EARLY'
  | 'NOT_WHAT_WAS_SYNCED'
  | 'LOG_START_BEYOND_END'
  // files beside the log
  | 'OFFSET_INDEX'
  | 'TIME_INDEX'
  | 'TRANSACTION_INDEX'
  | 'PRODUCER_SNAPSHOT'
  | 'LEADER_EPOCHS'
  | 'CHECKPOINT'
  | 'WATERMARK'
  | 'MANIFEST'
  | 'HOLDS'
  | 'HOLES'
  | 'HOLE'
  | 'PARTITION_METADATA'
  | 'META_PROPERTIES'
  | 'TOPICS_FILE'
  // anything
  | 'INTERRUPTED'
  | 'UNKNOWN_FILE'
  | 'UNSAFE_PATH'
  | 'UNREADABLE'
  | 'NEWER_VERSION'
  | 'MORE_FINDINGS'

export interface Finding {
  readonly severity: Severity
  /** Below the data directory: `orders-0/00000000000000000000.log`. */
  readonly file: string
  /** Byte in that file; `null` where the file as a whole is meant. */
  readonly position: number | null
  /** First offset concerned; `null` where none is. */
  readonly offset: number | null
  readonly code: FindingCode
  /** For people: what is wrong, what is lost, what to do. */
  readonly message: string
}

/** Of one partition, or of the data directory itself. The shape that `heartwood verify --json` prints. */
export interface VerifiedPartition {
  /** `orders-0`; `null`: the data directory's own files. */
  readonly partition: string | null
  readonly segments: number
  /** Sound ones. */
  readonly batches: number
  /** Of sound batches, without control records. */
  readonly records: number
  /** Of the `.log` files. */
  readonly bytes: number
  /** `null` where nothing tells. */
  readonly logStartOffset: number | null
  readonly logEndOffset: number | null
  readonly findings: readonly Finding[]
}

/** More of one partition are counted, not listed. */
export const MAX_FINDINGS = 1000

export const SEVERITIES: readonly Severity[] = ['corrupt', 'torn-tail', 'derived', 'note']

/** Gathers findings, in bounded memory. */
export class Findings {
  readonly #prefix: string
  readonly #found: Finding[] = []
  readonly #left = new Map<Severity, number>()

  /** @param folder - of the partition; `undefined` for the data directory. */
  constructor(folder: string | undefined) {
    this.#prefix = folder === undefined ? '' : `${folder}/`
  }

  /** @param name - of the file, in the folder. */
  add(
    severity: Severity,
    code: FindingCode,
    name: string,
    message: string,
    at: { readonly position?: number; readonly offset?: number } = {}
  ): void {
    if (this.#found.length >= MAX_FINDINGS) {
      this.#left.set(severity, (this.#left.get(severity) ?? 0) + 1)
      return
    }
    const { position = null, offset = null } = at
    this.#found.push({ severity, file: this.#prefix + name, position, offset, code, message })
  }

  /** The gravest first, and what is alike in the order in which it was found. */
  list(): readonly Finding[] {
    const all = [...this.#found]
    for (const [severity, count] of this.#left) {
      const message = `${count} more finding(s) of this kind are not listed.`
      all.push({
        severity,
        file: this.#prefix.slice(0, -1),
        position: null,
        offset: null,
        code: 'MORE_FINDINGS',
        message
      })
    }
    return all.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
  }
}
