/**
 * Makes what recovery accepts durable, before anybody is served from it.
 *
 * A sync alone does not: where one has failed, and the process ended before that was noted in the watermark, the page
 * cache still shows what the disk has not got, and Linux takes those pages for clean, so that no later sync writes them.
 * Nothing tells that from a process that was killed. So what lies above the watermark, which no sync is known to have
 * covered, is read from the device as well. Where that shows something else, or cannot be asked, the same bytes are
 * written again at the same place, which makes the pages dirty, and synced once more. Below the watermark nothing is
 * doubted, and without one nothing is (no sync of ours was ever noted here; another engine's files stay as they are).
 * With the default durability the range is what was appended within the last 10 ms or so, with `interval` what its
 * thresholds allow. Of a log that nobody asked to sync it may be a segment and more: beyond 64 MiB the sync is believed,
 * for every recovery of such a log would take several times as long, against a failure that it had little occasion to
 * meet.
 *
 * A crash while bytes are written again leaves the same bytes: a device writes a sector whole or not at all, on which
 * every append that begins within a sector relies too. Since they were judged a clean page may have gone from the cache,
 * and come back as the disk has it. So what the cache shows in the end is judged once more.
 */
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import { writeFully } from '../fs/write-fully.ts'
import { BatchScanner } from '../segment/scan.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { logPath, type PlannedSegment } from './loader-plan.ts'
import { orSyncFailed } from './recovery-apply.ts'
import type { Watermark } from './watermark-file.ts'

const CHUNK_BYTES = 1 * MiB
const MOST_AGAIN_BYTES = 64 * MiB

/**
 * @param kept - their files end where what is good ends.
 * @throws {LogError} SYNC_FAILED if anything could not be written or synced: the next loading asks the device.
 *   STORAGE_FAILED, PERMISSION_DENIED, TOO_MANY_OPEN_FILES
 */
export async function syncAccepted(
  { fs, dir, watermark }: { fs: FileSystem; dir: string; watermark: Watermark | undefined },
  kept: readonly PlannedSegment[],
  mostAgainBytes = MOST_AGAIN_BYTES
): Promise<void> {
  const scanned = kept.filter(segment => segment.scanned)
  const doubted = scanned.map(each => Math.max(0, each.validBytes - doubtedFrom(watermark, each.baseOffset)))
  const isMuch = doubted.reduce((sum, bytes) => sum + bytes, 0) > mostAgainBytes
  for (const { baseOffset, validBytes } of scanned) {
    const path = logPath(dir, baseOffset)
    const handle = await fs.open(path, 'write')
    try {
      await orSyncFailed(path, handle.datasync())
      const from = doubtedFrom(watermark, baseOffset)
      if (from >= validBytes || isMuch) continue
      if (!(await isOnDevice(fs, handle, from, validBytes))) {
        await writeAgain(handle, from, validBytes)
        await orSyncFailed(path, handle.datasync())
      }
      if (!(await isSound(handle, from, validBytes))) throw vanished(path, from)
    } finally {
      await handle.close()
    }
  }
}

/** Position in a segment from which on nothing says that it was ever synced. */
function doubtedFrom(watermark: Watermark | undefined, baseOffset: number): number {
  // After a sync that is known to have failed the device itself was asked.
  if (watermark === undefined || watermark.syncFailed) return Number.POSITIVE_INFINITY
  const { segmentBaseOffset, position } = watermark
  if (baseOffset === segmentBaseOffset) return position
  return baseOffset < segmentBaseOffset ? Number.POSITIVE_INFINITY : 0
}

/** False as well where the device cannot be asked. */
async function isOnDevice(fs: FileSystem, handle: FileHandle, from: number, to: number): Promise<boolean> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, to - from))
  for (let at = from; at < to; ) {
    const shown = buffer.subarray(0, Math.min(buffer.length, to - at))
    const count = await handle.read(shown, at)
    const device = count === 0 ? undefined : await fs.readPastCache(handle.path, at, count)
    if (device === undefined || Buffer.compare(device, shown.subarray(0, count)) !== 0) return false
    at += count
  }
  return true
}

async function writeAgain(handle: FileHandle, from: number, to: number): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, to - from))
  for (let at = from; at < to; ) {
    const wanted = buffer.subarray(0, Math.min(buffer.length, to - at))
    const count = await handle.read(wanted, at)
    // Somebody has cut what was just read to its end.
    if (count === 0) throw new LogError('STORAGE_FAILED', `${handle.path} ends at ${at}, not at ${to}`, { at, to })
    // There are blocks for these bytes, or the sync that should have brought them has failed for want of them.
    await orSyncFailed(handle.path, writeFully(handle, wanted.subarray(0, count), at), 'write again')
    at += count
  }
}

async function isSound(handle: FileHandle, from: number, to: number): Promise<boolean> {
  const scanner = new BatchScanner(handle, { from, to, reuseBuffer: true })
  // No CRC covers the base offset.
  let next = 0
  while (await scanner.fill()) {
    for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
      if (batch.baseOffset < next) return false
      next = batch.nextOffset
    }
  }
  return scanner.end?.kind === 'end' && scanner.end.position === to
}

function vanished(path: string, position: number): LogError {
  const message =
    `${path}: what was read behind byte ${position} a moment ago is not on the disk: a sync had failed. ` +
    'Opening it again takes the log as the disk has it.'
  return new LogError('SYNC_FAILED', message, { path, position })
}
