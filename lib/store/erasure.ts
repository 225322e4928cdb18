/**
 * Takes the records of one key out of a log's files, now, and proves it (decision 24): for those who must forget a
 * person.
 *
 *     find     every record of the key, and its values
 *     mark     a tombstone at the end of the log, durable; the active segment is closed behind it
 *     rewrite  each segment that has such a record, with the cleaner's own steps: nothing else changes
 *     purge    files that are out of use, and the partition's quarantine
 *     prove    two scans over every file of the partition's folder: no record of the key but tombstones; none of its
 *              values of 16 bytes or more that no other key holds
 *
 * Interrupted anywhere it can be done again. What a disk's controller, a backup, a reader's copy or a file that another
 * process still has open keeps is beyond it.
 */
import { join } from 'node:path'
import type { CleanerHost } from '../compaction/cleaner-host.ts'
import { type CleanedGroup, type CleaningStats, noStats } from '../compaction/cleaning-types.ts'
import type { EraseOptions, EraseReceipt } from '../log/erase-types.ts'
import { isCompacted } from '../log/log-config.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import { QUARANTINE_FOLDER } from '../log/quarantine.ts'
import { LogError } from '../util/errors.ts'
import { cleaningInput } from './cleaning-input.ts'
import { findKey, forgetShared, type KeyFindings, nothingFound, proveErased } from './erasure-scan.ts'
import { removeTree } from './remove-tree.ts'

export interface ErasureParts {
  readonly shared: SharedParts
  readonly host: CleanerHost
}

/**
 * @param key - one byte or more; the record's key, byte for byte.
 * @throws {LogError} INVALID_TXN_STATE while a transaction is open that may hold such records back; CORRUPT_LOG for
 *   damage in a segment; SEGMENTS_CHANGED when the log was cut meanwhile; what appending and rolling throw. Doing it
 *   again goes on from there.
 */
export async function eraseKey(
  log: PartitionLog,
  key: Uint8Array,
  { shared, host }: ErasureParts,
  { dryRun = false, signal }: EraseOptions = {}
): Promise<EraseReceipt> {
  const { topic, partition, dir } = log
  const { fs } = shared
  assertDecided(log)
  await log.sync() // what is accepted is looked at as well
  const seen = log.highWatermark
  const found = nothingFound()
  await findKey(log, key, found, { from: log.logStartOffset, signal })
  const tombstoneStaysMs = isCompacted(log.config) ? log.config.deleteRetentionMs : undefined
  const receipt = {
    topic,
    partition,
    dryRun,
    recordsFound: found.records,
    segmentsFound: found.segments.size,
    tombstoneOffset: undefined,
    tombstoneStaysMs,
    segmentsRewritten: 0,
    recordsRemoved: 0,
    bytesRemoved: 0,
    quarantinePurged: 0,
    proof: undefined
  }
  if (dryRun) return receipt
  const tombstoneOffset = found.records === 0 ? undefined : await mark(log, key)
  // Others may have appended such records meanwhile.
  if (tombstoneOffset !== undefined) await findKey(log, key, found, { from: seen, signal })
  await forgetShared(log, key, found, signal)
  const stats = found.records === 0 ? noStats() : await rewrite(log, key, { host, found, signal })
  await log.maintenance.removeDeleted({ all: true })
  const quarantine = join(dir, QUARANTINE_FOLDER)
  const quarantinePurged = (await fs.stat(quarantine)) === undefined ? 0 : (await fs.readDirectory(quarantine)).length
  if (quarantinePurged > 0) {
    await removeTree(fs, quarantine)
    await fs.syncDirectory(dir)
  }
  return {
    ...receipt,
    recordsFound: found.records,
    segmentsFound: found.segments.size,
    tombstoneOffset,
    segmentsRewritten: found.segments.size,
    recordsRemoved: stats.erased,
    bytesRemoved: stats.bytesRead - stats.bytesKept,
    quarantinePurged,
    proof: await proveErased({ fs, dir, log, key, found, signal })
  }
}

/** Nothing above the last stable offset is rewritten: an open transaction may still be aborted, or hold such records. */
function assertDecided(log: PartitionLog): void {
  const { topic, partition, lastStableOffset, highWatermark } = log
  if (lastStableOffset >= highWatermark) return
  const message =
    `${topic}-${partition}: a transaction is open from offset ${lastStableOffset} on. ` +
    'What lies behind it cannot be erased before it is committed or aborted.'
  throw new LogError('INVALID_TXN_STATE', message, { topic, partition, lastStableOffset })
}

/** Before anything goes: whoever follows the log is told that the key is gone. */
async function mark(log: PartitionLog, key: Uint8Array): Promise<number> {
  const { baseOffset } = await log.append([{ key, value: null }], { durability: 'batch', ownBatch: true })
  // Records of the key may lie in the active segment, which is never rewritten.
  await log.roll()
  return baseOffset
}

async function rewrite(
  log: PartitionLog,
  key: Uint8Array,
  { host, found, signal }: { host: CleanerHost; found: KeyFindings; signal: AbortSignal | undefined }
): Promise<CleaningStats> {
  const { maintenance } = log
  assertDecided(log)
  const view = await maintenance.view()
  const input = await cleaningInput(log, view, {
    firstDirtyOffset: view.logStartOffset,
    firstUncleanableOffset: view.segments.at(-1)?.baseOffset ?? view.logEndOffset,
    now: 0,
    mapBytes: 1024,
    eraseKeys: [Uint8Array.from(key)],
    eraseOnly: [...found.segments]
  })
  const onGroup = (group: CleanedGroup) => maintenance.replace(view, group)
  const result = await maintenance.goingBy(view, () => host.clean(input, { signal, onGroup }))
  return result.stats
}
