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
 *   S4  Our own marker is not removed but put aside, as `heartwood-cleanshutdown`, in one step: what is durable then
 *       says that we opened the directory, without another file to write. It goes back in one step as well.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'

export const CLEAN_SHUTDOWN_MARKER = '.kafka_cleanshutdown'
/** Our own marker, while we have the directory open (S4). */
export const MARKER_ASIDE = 'heartwood-cleanshutdown'
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

/** The bytes of a marker that was put aside; `undefined` if none was. */
export function readMarkerAside(fs: FileSystem, dir: string): Promise<Buffer | undefined> {
  return readWholeFile(fs, join(dir, MARKER_ASIDE), MAX_BYTES)
}

/** S4. As durable as `removeCleanShutdownMarker`. */
export async function putMarkerAside(fs: FileSystem, dir: string): Promise<void> {
  await fs.rename(join(dir, CLEAN_SHUTDOWN_MARKER), join(dir, MARKER_ASIDE))
  await fs.syncDirectory(dir)
}

/** S4. As durable as `writeCleanShutdownMarker`. */
export async function putMarkerBack(fs: FileSystem, dir: string): Promise<void> {
  await fs.rename(join(dir, MARKER_ASIDE), join(dir, CLEAN_SHUTDOWN_MARKER))
  await fs.syncDirectory(dir)
}

/** The content of a marker of ours. */
export function formatCleanShutdownMarker(brokerEpoch: bigint | undefined): Buffer {
  return Buffer.from(`{"version":0,"brokerEpoch":${brokerEpoch ?? -1n}}`)
}

/** Removes the marker, and one put aside; once this resolves, no crash brings them back. No marker is no error. */
export async function removeCleanShutdownMarker(fs: FileSystem, dir: string): Promise<void> {
  const wasThere = await removeIfThere(fs, join(dir, CLEAN_SHUTDOWN_MARKER))
  const wasAside = await removeIfThere(fs, join(dir, MARKER_ASIDE))
  if (wasThere || wasAside) await fs.syncDirectory(dir)
}

async function removeIfThere(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.unlink(path)
    return true
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return false
    throw error
  }
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
