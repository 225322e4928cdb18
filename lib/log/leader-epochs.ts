/**
 * Leader epochs of one partition: which generation of leadership wrote which offsets.
 *
 * Kept in `leader-epoch-checkpoint` (see fs/checkpoint-file.ts for the format), lines `epoch startOffset`.
 *
 *   E1  Both columns strictly increase.
 *   E2  An entry covers the offsets from its start up to the next entry's, the last one up to the log end offset.
 *   E3  A new entry is in the file before a batch of that epoch is acknowledged (`persist`; the caller's turn).
 *       Entries that truncation or retention drop may linger in the file: loading drops them again.
 *
 * Rules as in Kafka's LeaderEpochFileCache.
 */
import { join } from 'node:path'
import {
  formatCheckpoint,
  MAX_CHECKPOINT_BYTES,
  parseCheckpoint,
  parseCheckpointNumber
} from '../fs/checkpoint-file.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { Turn } from '../util/turn.ts'

export const LEADER_EPOCH_FILE = 'leader-epoch-checkpoint'

export interface LeaderEpochEntry {
  readonly epoch: number
  /** First offset written in this epoch. Inclusive. */
  readonly startOffset: number
}

export class LeaderEpochs {
  readonly #fs: FileSystem
  readonly #path: string
  readonly #replace: ReplaceOptions
  readonly #turn = new Turn()
  #entries: readonly LeaderEpochEntry[] = []
  /** The entries that the file is known to have. */
  #persisted: readonly LeaderEpochEntry[] | undefined

  /** Without entries, whatever the file says: `load` reads it, a recovery builds them from the batches. */
  constructor(fs: FileSystem, dir: string, options: ReplaceOptions = {}) {
    this.#fs = fs
    this.#path = join(dir, LEADER_EPOCH_FILE)
    this.#replace = options
  }

  /**
   * Reads the file; no file, no entries. Entries out of order give way to later lines, as in Kafka.
   *
   * @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION; else the system's error.
   */
  static async load(fs: FileSystem, dir: string, options: ReplaceOptions = {}): Promise<LeaderEpochs> {
    const epochs = new LeaderEpochs(fs, dir, options)
    const bytes = await readWholeFile(fs, epochs.#path, MAX_CHECKPOINT_BYTES)
    const lines = bytes === undefined ? [] : parseCheckpoint(bytes, epochs.#path, parseLine)
    for (const { epoch, startOffset } of lines) epochs.assign(epoch, startOffset)
    if (epochs.#entries.length === lines.length) epochs.#persisted = epochs.#entries
    return epochs
  }

  /** Ascending. */
  get entries(): readonly LeaderEpochEntry[] {
    return this.#entries
  }

  get latestEpoch(): number | undefined {
    return this.#entries.at(-1)?.epoch
  }

  /** True while the file lacks something that `persist` would write. */
  get dirty(): boolean {
    return this.#persisted !== this.#entries && !(this.#persisted === undefined && this.#entries.length === 0)
  }

  /**
   * Notes that the batch at `offset` is of `epoch`. What contradicts it (later or equal start, higher epoch) goes.
   * An epoch of -1 (unknown) says nothing.
   *
   * @returns whether anything changed, so that `persist` is due.
   */
  assign(epoch: number, offset: number): boolean {
    const latest = this.#entries.at(-1)
    if (epoch < 0 || (latest !== undefined && latest.epoch === epoch && offset >= latest.startOffset)) return false
    const before = this.#entries.filter(entry => entry.epoch < epoch && entry.startOffset < offset)
    this.#entries = [...before, { epoch, startOffset: offset }]
    return true
  }

  /**
   * Up to where this log and one that has written in `epoch` can agree: the largest epoch here that is not above it,
   * and the first offset behind that epoch.
   *
   * @returns `undefined` if the epoch is above all that is known here, or nothing is known.
   * @see Kafka protocol, OffsetForLeaderEpoch.
   */
  endOffsetFor(epoch: number, logEndOffset: number): { epoch: number; endOffset: number } | undefined {
    if (epoch < 0) return undefined
    if (epoch === this.latestEpoch) return { epoch, endOffset: logEndOffset }
    const above = this.#entries.findIndex(entry => entry.epoch > epoch)
    const next = this.#entries[above]
    if (next === undefined) return undefined
    // Below the first epoch: nothing of it is here, so it ends where the first one begins.
    return { epoch: this.#entries[above - 1]?.epoch ?? epoch, endOffset: next.startOffset }
  }

  /** Epoch that wrote `offset`, if that is known. */
  epochAt(offset: number): number | undefined {
    return this.#entries.findLast(entry => entry.startOffset <= offset)?.epoch
  }

  /** Drops entries that begin at or above `offset`. */
  truncateFromEnd(offset: number): void {
    if ((this.#entries.at(-1)?.startOffset ?? -1) < offset) return
    this.#entries = this.#entries.filter(entry => entry.startOffset < offset)
  }

  /** Drops what lies below `offset`; the epoch that covers `offset` begins there. */
  truncateFromStart(offset: number): void {
    const covering = this.#entries.findLast(entry => entry.startOffset <= offset)
    if (covering === undefined || (covering === this.#entries[0] && covering.startOffset === offset)) return
    const behind = this.#entries.filter(entry => entry.startOffset > offset)
    this.#entries = [{ epoch: covering.epoch, startOffset: offset }, ...behind]
  }

  clear(): void {
    if (this.#entries.length > 0) this.#entries = []
  }

  /** Replaces the file in one step if anything changed; durable when it resolves. */
  persist(): Promise<void> {
    return this.#turn.run(async () => {
      if (!this.dirty) return
      const entries = this.#entries
      const lines = entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`)
      await replaceFile(this.#fs, this.#path, formatCheckpoint(lines), this.#replace)
      this.#persisted = entries
    })
  }
}

function parseLine(fields: readonly string[]): LeaderEpochEntry | undefined {
  const epoch = parseCheckpointNumber(fields[0])
  const startOffset = parseCheckpointNumber(fields[1])
  return epoch === undefined || startOffset === undefined || fields.length !== 2 ? undefined : { epoch, startOffset }
}
