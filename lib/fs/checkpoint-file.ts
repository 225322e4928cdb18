/**
 * Kafka's text checkpoints: small files of numbers, replaced whole.
 *
 * Format (UTF-8, every line ends in '\n'), as Kafka's CheckpointFile writes it:
 *
 *     file  := version count line*
 *     version := "0"
 *     count := number of lines that follow, decimal
 *     line  := field (" " field)*
 *
 * Offset checkpoints (`recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`,
 * `replication-offset-checkpoint`, `cleaner-offset-checkpoint`): `topic partition offset`.
 * `leader-epoch-checkpoint`: `epoch startOffset`.
 *
 * Invariants:
 *   C1  An empty file, and one of the version line alone, has no entries. Kafka reads them so.
 *   C2  A wrong count or a malformed line damns the whole file: half a checkpoint is none.
 *   C3  Replaced in one step (`replaceFile`); never changed in place.
 */
import { LogError } from '../util/errors.ts'
import type { FileSystem } from './file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from './replace-file.ts'

const VERSION = '0'

/** A line has at most 249 + 11 + 20 bytes and separators, so this holds more partitions than a folder can. */
export const MAX_CHECKPOINT_BYTES = 64 * 1024 * 1024

/**
 * Entries of a checkpoint, in the file's order.
 *
 * @param path - for messages.
 * @param parseLine - an entry from the fields of one line, `undefined` when it is malformed.
 * @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION for another version than 0.
 */
export function parseCheckpoint<T>(
  bytes: Buffer,
  path: string,
  parseLine: (fields: readonly string[]) => T | undefined
): T[] {
  const lines = bytes.toString('utf8').split(/\r?\n/)
  // What follows the last line end is no line.
  if (lines.at(-1) === '') lines.pop()
  const [version, count] = lines
  if (version === undefined) return []
  if (version.trim() !== VERSION) {
    const code = parseCheckpointNumber(version.trim()) === undefined ? 'CORRUPT_FILE' : 'UNSUPPORTED_VERSION'
    throw new LogError(code, `${path} is no checkpoint of version 0`, { path })
  }
  if (count === undefined) return []
  const expected = parseCheckpointNumber(count.trim())
  const found = lines.length - 2
  if (expected !== found) {
    const message = `${path} announces ${expected ?? 'an unreadable number of'} entries and has ${found}`
    throw new LogError('CORRUPT_FILE', message, { path, expected, found })
  }
  const entries: T[] = []
  for (let index = 2; index < lines.length; index += 1) {
    const entry = parseLine(lines[index]!.split(/\s+/))
    if (entry === undefined) {
      throw new LogError('CORRUPT_FILE', `${path} has a malformed line ${index + 1}`, { path, line: index + 1 })
    }
    entries.push(entry)
  }
  return entries
}

/** The bytes of a checkpoint with these lines, each without its line end. */
export function formatCheckpoint(lines: Iterable<string>): Buffer {
  const all = [...lines]
  return Buffer.from([VERSION, all.length, ...all, ''].join('\n'))
}

/** A field as a number; `undefined` unless it is decimal, not negative and exactly representable. */
export function parseCheckpointNumber(field: string | undefined): number | undefined {
  if (field === undefined || !/^[0-9]{1,19}$/.test(field)) return undefined
  const value = Number(field)
  return Number.isSafeInteger(value) ? value : undefined
}

/**
 * Offsets by partition folder (`orders-0`); empty when there is no such file.
 *
 * @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION; else the system's error.
 */
export async function readOffsetCheckpoint(fs: FileSystem, path: string): Promise<Map<string, number>> {
  const bytes = await readWholeFile(fs, path, MAX_CHECKPOINT_BYTES)
  if (bytes === undefined) return new Map()
  return new Map(parseCheckpoint(bytes, path, parseOffsetLine))
}

/** Replaces an offset checkpoint. Keys are partition folders: `orders-0`. */
export async function writeOffsetCheckpoint(
  fs: FileSystem,
  path: string,
  offsets: Iterable<readonly [string, number]>,
  options?: ReplaceOptions
): Promise<void> {
  const lines: string[] = []
  for (const [folder, offset] of offsets) lines.push(offsetLine(folder, offset))
  await replaceFile(fs, path, formatCheckpoint(lines), options)
}

function parseOffsetLine(fields: readonly string[]): [string, number] | undefined {
  const [topic, partitionField] = fields
  const partition = parseCheckpointNumber(partitionField)
  const offset = parseCheckpointNumber(fields[2])
  if (fields.length !== 3 || !topic || partition === undefined || offset === undefined) return undefined
  return [`${topic}-${partition}`, offset]
}

function offsetLine(folder: string, offset: number): string {
  // A topic's name may hold dashes, so the last one parts it from the partition.
  const match = /^([a-zA-Z0-9._-]+)-([0-9]{1,10})$/.exec(folder)
  if (match === null) throw new TypeError(`not the name of a partition's folder: ${folder}`)
  if (!Number.isSafeInteger(offset) || offset < 0) throw new TypeError(`not an offset: ${offset}`)
  return `${match[1]} ${match[2]} ${offset}`
}
