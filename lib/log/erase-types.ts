/** Erasing a key: what is asked and what is answered. Carried out by the store, above compaction. */

export interface EraseOptions {
  /** Says what would go, and changes nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** What was done, and the proof of it. */
export interface EraseReceipt {
  readonly topic: string
  readonly partition: number
  readonly dryRun: boolean
  /** Records of the key that were found with a value, and the segments they lay in. */
  readonly recordsFound: number
  readonly segmentsFound: number
  /** Where the tombstone lies; `undefined` where there was no record of the key, or it is a dry run. */
  readonly tombstoneOffset: number | undefined
  /**
   * How long the tombstone stays at least once it was compacted, ms (`delete.retention.ms`); `undefined` on a topic that
   * is not compacted: it goes with its segment.
   */
  readonly tombstoneStaysMs: number | undefined
  readonly segmentsRewritten: number
  readonly recordsRemoved: number
  /** Of log files. */
  readonly bytesRemoved: number
  /** Files in the partition's quarantine that were purged. */
  readonly quarantinePurged: number
  /** `undefined` for a dry run. */
  readonly proof: ErasureProof | undefined
}

/** Two scans over all files of a partition's folder, whatever their names. */
export interface ErasureProof {
  /** Nothing was found. */
  readonly holds: boolean
  /** Log files, in use or not, with every record decoded. */
  readonly decoded: { readonly files: number; readonly records: number; readonly found: number }
  /** Every file, byte for byte. */
  readonly raw: {
    readonly files: number
    readonly bytes: number
    /** Values that were looked for: 16 bytes or longer, and of no other key. */
    readonly values: number
    readonly valuesLeftOut: number
    readonly found: number
  }
  /** Names of files in which something was found. */
  readonly foundIn: readonly string[]
}
