/**
 * `.kafka_cleanshutdown`, the marker that a data directory was closed cleanly.
 *
 * Format: JSON `{"version":0,"brokerEpoch":N}` since Kafka 3.7; before, an empty file.
 *
 * Invariants:
 *   S1  Read, then removed, and the removal made durable, before a log of the directory is changed.
 *   S2  Written last of all, and only if every log of the directory is clean (decisions: the marker speaks for the
 *       whole directory). A torn tail under a marker makes Kafka append behind the torn bytes.
 *   S3  The broker's epoch goes from the marker found into the marker written.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'

export const CLEAN_SHUTDOWN_MARKER = '.kafka_cleanshutdown'
const MAX_BYTES = 65536

export interface CleanShutdownMarker {
  readonly bytes: Buffer
  /** `undefined` when the marker names none: Kafka before 3.7, or damage. Its existence counts all the same. */
  readonly brokerEpoch: bigint | undefined
}

export async function readCleanShutdownMarker(fs: FileSystem, dir: string): Promise<CleanShutdownMarker | undefined> {
  const bytes = await readWholeFile(fs, join(dir, CLEAN_SHUTDOWN_MARKER), MAX_BYTES)
  return bytes === undefined ? undefined : { bytes, brokerEpoch: parseBrokerEpoch(bytes) }
}

/** The content of a marker of ours. */
export function formatCleanShutdownMarker(brokerEpoch: bigint | undefined): Buffer {
  return Buffer.from(`{"version":0,"brokerEpoch":${brokerEpoch ?? -1n}}`)
}

/** Removes the marker; once this resolves, no crash brings it back. No marker is no error. */
export async function removeCleanShutdownMarker(fs: FileSystem, dir: string): Promise<void> {
  try {
    await fs.unlink(join(dir, CLEAN_SHUTDOWN_MARKER))
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return
    throw error
  }
  await fs.syncDirectory(dir)
}

export function writeCleanShutdownMarker(
  fs: FileSystem,
  dir: string,
  bytes: Uint8Array,
  options: ReplaceOptions
): Promise<void> {
  return replaceFile(fs, join(dir, CLEAN_SHUTDOWN_MARKER), bytes, options)
}

function parseBrokerEpoch(bytes: Buffer): bigint | undefined {
  // Not JSON.parse: a ZooKeeper transaction id, which the epoch once was, does not fit a number exactly.
  const match = /"brokerEpoch"\s*:\s*(-?\d{1,19})\s*[,}]/.exec(bytes.toString('latin1'))
  return match === null ? undefined : BigInt(match[1]!)
}
