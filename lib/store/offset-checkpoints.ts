/**
 * The offset checkpoints of one data directory, in memory, with what changed since they were written.
 *
 * Invariants:
 *   P1  Lines of partitions that nobody touched stay as they are, in their place.
 *   P2  A file is written only when its lines changed.
 *   P3  A file that cannot be read counts as empty, with a warning: Kafka goes on so, and logs tell the rest.
 */
import { join } from 'node:path'
import {
  formatCheckpoint,
  MAX_CHECKPOINT_BYTES,
  parseCheckpoint,
  parseCheckpointNumber
} from '../fs/checkpoint-file.ts'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { isLogError } from '../util/errors.ts'
import { digestOf } from './topics-file.ts'

/**
 * - `recoveryPoint`: all below it is on the disk.
 * - `logStart`: only of partitions that begin above their first segment.
 * - `highWatermark`
 * - `cleaner`: first dirty offset of a compacted log.
 */
export type CheckpointKind = 'recoveryPoint' | 'logStart' | 'highWatermark' | 'cleaner'

export const CHECKPOINT_FILES: Readonly<Record<CheckpointKind, string>> = {
  recoveryPoint: 'recovery-point-offset-checkpoint',
  logStart: 'log-start-offset-checkpoint',
  highWatermark: 'replication-offset-checkpoint',
  cleaner: 'cleaner-offset-checkpoint'
}

export const CHECKPOINT_KINDS = Object.keys(CHECKPOINT_FILES) as readonly CheckpointKind[]

/** Those whose content tells whether another engine was here: each engine writes them whenever it runs. */
export const TELLTALE_CHECKPOINTS: readonly CheckpointKind[] = ['recoveryPoint', 'logStart', 'highWatermark']

export class OffsetCheckpoint {
  readonly name: string
  /** Offsets by partition folder (`orders-0`), in the file's order. */
  readonly #offsets: Map<string, number>
  /** Digest of the file as it is on the disk; `undefined`: there is none. */
  #digest: string | undefined
  #dirty = false
  readonly warning: string | undefined

  private constructor(name: string, offsets: Map<string, number>, digest?: string, warning?: string) {
    this.name = name
    this.#offsets = offsets
    this.#digest = digest
    this.warning = warning
  }

  static async read(fs: FileSystem, dir: string, kind: CheckpointKind): Promise<OffsetCheckpoint> {
    const name = CHECKPOINT_FILES[kind]
    const path = join(dir, name)
    let bytes: Buffer | undefined
    try {
      bytes = await readWholeFile(fs, path, MAX_CHECKPOINT_BYTES)
      if (bytes === undefined) return new OffsetCheckpoint(name, new Map())
      return new OffsetCheckpoint(name, new Map(parseCheckpoint(bytes, path, parseLine)), digestOf(bytes))
    } catch (error) {
      if (!isLogError(error, 'CORRUPT_FILE') && !isLogError(error, 'UNSUPPORTED_VERSION')) throw error
      const warning = `${error.message}; it counts as empty`
      return new OffsetCheckpoint(name, new Map(), bytes === undefined ? 'unreadable' : digestOf(bytes), warning)
    }
  }

  get dirty(): boolean {
    return this.#dirty
  }

  get digest(): string | undefined {
    return this.#digest
  }

  get(folder: string): number | undefined {
    return this.#offsets.get(folder)
  }

  /** `undefined` takes the line out. */
  set(folder: string, offset: number | undefined): void {
    if (this.#offsets.get(folder) === offset) return
    if (offset === undefined) this.#offsets.delete(folder)
    else this.#offsets.set(folder, offset)
    this.#dirty = true
  }

  /** What the file shall be now. */
  bytes(): Buffer {
    return formatCheckpoint([...this.#offsets].map(([folder, offset]) => formatLine(folder, offset)))
  }

  /** Called as the bytes go to the disk: what is set from here on is the next writing's. */
  noteWriting(digest: string): void {
    this.#digest = digest
    this.#dirty = false
  }

  noteFailure(): void {
    this.#dirty = true
  }
}

function parseLine(fields: readonly string[]): [string, number] | undefined {
  const [topic, partitionField] = fields
  const partition = parseCheckpointNumber(partitionField)
  const offset = parseCheckpointNumber(fields[2])
  if (fields.length !== 3 || !topic || partition === undefined || offset === undefined) return undefined
  return [`${topic}-${partition}`, offset]
}

function formatLine(folder: string, offset: number): string {
  // A topic's name may hold dashes, so the last one parts it from the partition.
  const dash = folder.lastIndexOf('-')
  return `${folder.slice(0, dash)} ${folder.slice(dash + 1)} ${offset}`
}
