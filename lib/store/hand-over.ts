/**
 * Gives a topic of ours to a stopped broker, which has an empty topic of that name: a broker knows only topics of its
 * own metadata, so a folder that is just put there would be set aside as a stray.
 *
 * For each partition the `.log` files and the producer snapshots are copied beside the target's empty ones, then put in
 * their place; `partition.metadata` stays the target's. The copy is then opened and recovered from its beginning:
 * every checksum is checked once more and everything derived is built anew. Closing the target writes its checkpoints
 * and, with the broker's epoch, its clean-shutdown marker.
 *
 * Leader epochs: one above the broker's makes it cut "conflicting" records off when it starts. So the copy's batches
 * carry at most the epoch that the target has; the field is under no checksum, and nothing else changes.
 *
 * Invariants:
 *   O1  A target that holds a record is refused.
 *   O2  A crash on the way is told by `heartwood-hand-over` in the partition's folder, and calling again goes on.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { parseSegmentFileName } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import { copyFile } from './copy-files.ts'
import { attributesFrom, type FileAttributes } from './data-directory.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { storeError, translated } from './storage-errors.ts'
import type { Topics } from './topics.ts'
import type { StoreOptions } from './types.ts'

export type HandOverOptions = Pick<StoreOptions, 'fs' | 'clock' | 'lock' | 'maxOpenFiles' | 'forceUnsafeFileSystem'>

export interface HandOverReport {
  readonly topic: string
  readonly partitions: readonly HandedOverPartition[]
}

export interface HandedOverPartition {
  readonly partition: number
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly segments: number
  readonly bytes: number
  /** Batches whose leader epoch was above the target's and was lowered to it. */
  readonly epochsLowered: number
}

export interface HandOverSide {
  readonly fs: FileSystem
  readonly table: LogTable
  readonly topics: Topics
  readonly dirs: readonly string[]
}

const HAND_OVER_NOTE = 'heartwood-hand-over'
const INCOMING_SUFFIX = '.heartwood-incoming'
const LEADER_EPOCHS = 'leader-epoch-checkpoint'

/**
 * Both stores are open for writing, so no broker runs on either.
 *
 * @throws {LogError} UNKNOWN_TOPIC_OR_PARTITION when either side has no such topic; INVALID_REQUEST when their numbers
 *   of partitions differ, or the target holds records.
 */
export async function handOverTopic(topic: string, ours: HandOverSide, theirs: HandOverSide): Promise<HandOverReport> {
  const pairs = pairPartitions(topic, ours, theirs)
  for (const { target } of pairs) await assertEmpty(theirs, target)
  const partitions: HandedOverPartition[] = []
  for (const { source, target } of pairs) partitions.push(await handOverPartition(ours, source, theirs, target))
  return { topic, partitions }
}

interface Pair {
  readonly source: LogSlot
  readonly target: LogSlot
}

function pairPartitions(topic: string, ours: HandOverSide, theirs: HandOverSide): Pair[] {
  const sources = ours.table.topic(topic)
  if (sources === undefined) {
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic} in ${ours.dirs.join(', ')}`, { topic })
  }
  const targets = theirs.table.topic(topic)
  if (targets === undefined) {
    const message = `there is no topic ${topic} in ${theirs.dirs.join(', ')}: create it with the broker's own tools, stop the broker, then hand over`
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', message, { topic })
  }
  const numbers = [...sources.keys()].sort((a, b) => a - b)
  if (targets.size !== sources.size || numbers.some(partition => !targets.has(partition))) {
    const message = `topic ${topic} has ${sources.size} partitions here and ${targets.size} there: they must be the same`
    throw new LogError('INVALID_REQUEST', message, { topic, ours: sources.size, theirs: targets.size })
  }
  return numbers.map(partition => ({ source: sources.get(partition)!, target: targets.get(partition)! }))
}

async function assertEmpty({ fs, table, topics }: HandOverSide, slot: LogSlot): Promise<void> {
  const { folder, directory } = slot
  const interrupted = await readWholeFile(fs, join(directory.folderPath(folder.name), HAND_OVER_NOTE), 4096)
  // What lies there then is what we put there before something stopped us.
  if (interrupted !== undefined) return
  const log = await table.open(slot, () => topics.config(folder.topic))
  const { logStartOffset, logEndOffset } = log
  await table.settle(slot)
  if (logEndOffset === 0) return
  const message = `${folder.name} in ${directory.path} is not empty: it holds offsets ${logStartOffset} to ${logEndOffset - 1}`
  throw new LogError('INVALID_REQUEST', message, { partition: folder.name, logStartOffset, logEndOffset })
}

async function handOverPartition(
  ours: HandOverSide,
  source: LogSlot,
  theirs: HandOverSide,
  target: LogSlot
): Promise<HandedOverPartition> {
  const { topic, partition, name } = source.folder
  const log = await ours.table.open(source, () => ours.topics.config(topic))
  const { logStartOffset } = log
  // Closed, the files are whole and stand still; the directory stays locked.
  const problem = await ours.table.settle(source)
  if (problem !== undefined) throw problem
  const { fs } = theirs
  const from = source.directory.folderPath(name)
  const to = target.directory.folderPath(name)
  const path = (file: string): string => join(to, file)
  const epochsLowered = await translated('hand over to', to, async () => {
    const attributes = attributesFrom((await fs.stat(to))!)
    const epoch = await targetEpoch(theirs, target)
    await removeFiles(fs, to, file => file.endsWith(INCOMING_SUFFIX))
    const files = await copyIn(fs, { from, to, attributes })
    let lowered = 0
    for (const file of files)
      if (file.endsWith('.log')) lowered += await lowerEpochs(fs, path(file + INCOMING_SUFFIX), epoch)
    const note = Buffer.from(`${JSON.stringify({ topic, partition, leaderEpoch: epoch })}\n`)
    await replaceFile(fs, path(HAND_OVER_NOTE), note, {
      permissions: attributes.filePermissions,
      owner: attributes.owner
    })
    await theirs.table.letGo(target)
    await removeFiles(fs, to, isReplaced)
    for (const file of files) await fs.rename(path(file + INCOMING_SUFFIX), path(file))
    await fs.syncDirectory(to)
    return lowered
  })
  const report = await rebuild(theirs, target, logStartOffset)
  await translated('hand over to', to, async () => {
    await fs.unlink(path(HAND_OVER_NOTE))
    await fs.syncDirectory(to)
  })
  return { partition, ...report, epochsLowered }
}

/** Opens the copy with nothing taken for granted, and closes it cleanly. */
async function rebuild(
  { table, topics }: HandOverSide,
  slot: LogSlot,
  logStartOffset: number
): Promise<Pick<HandedOverPartition, 'logStartOffset' | 'logEndOffset' | 'segments' | 'bytes'>> {
  const { directory, folder } = slot
  directory.checkpoint('recoveryPoint').set(folder.name, 0)
  directory.checkpoint('logStart').set(folder.name, logStartOffset > 0 ? logStartOffset : undefined)
  await directory.saveCheckpoints()
  slot.clean = false
  // Of what an interrupted hand-over had left.
  slot.failure = undefined
  const log = await table.open(slot, () => topics.config(folder.topic))
  const segments = log.segments()
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  const report = {
    logStartOffset: log.logStartOffset,
    logEndOffset: log.logEndOffset,
    segments: segments.length,
    bytes
  }
  const problem = await table.settle(slot)
  if (problem !== undefined) throw problem
  return report
}

/** The newest epoch that the broker gave this partition; a hand-over that was interrupted wrote it down. */
async function targetEpoch({ fs }: HandOverSide, { directory, folder }: LogSlot): Promise<number> {
  const to = directory.folderPath(folder.name)
  const note = await readWholeFile(fs, join(to, HAND_OVER_NOTE), 4096)
  const noted = note === undefined ? null : /"leaderEpoch":(\d{1,10})/.exec(note.toString('latin1'))
  if (noted !== null) return Number(noted[1])
  const bytes = await readWholeFile(fs, join(to, LEADER_EPOCHS), 1024 * 1024)
  // Lines of "epoch offset" after the version and the count; the last is the newest.
  const last = bytes?.toString('latin1').trimEnd().split('\n').slice(2).at(-1)
  const epoch = /^(\d{1,10}) \d+$/.exec(last ?? '')
  return epoch === null ? 0 : Number(epoch[1])
}

/** The empty log and what describes it: the broker's epochs, our own side-cars. */
function isReplaced(file: string): boolean {
  if (file === HAND_OVER_NOTE || file.endsWith(INCOMING_SUFFIX)) return false
  return parseSegmentFileName(file) !== undefined || file === LEADER_EPOCHS || file.startsWith('heartwood-')
}

async function copyIn(
  fs: FileSystem,
  { from, to, attributes }: { readonly from: string; readonly to: string; readonly attributes: FileAttributes }
): Promise<string[]> {
  const files: string[] = []
  for (const { name, kind } of await fs.readDirectory(from)) {
    const suffix = parseSegmentFileName(name)?.suffix
    if (kind !== 'file' || (suffix !== '.log' && suffix !== '.snapshot')) continue
    const { size } = (await fs.stat(join(from, name)))!
    await copyFile(fs, { from: join(from, name), to: join(to, name + INCOMING_SUFFIX) }, size, attributes)
    files.push(name)
  }
  return files.sort()
}

/** Offset, length, leader epoch, magic: what stands before the checksum of a batch. */
const HEAD_BYTES = 17
const LENGTH_AT = 8
const LENGTH_COUNTED_FROM = 12
const LEADER_EPOCH_AT = 12
const MAGIC_AT = 16

/** @returns how many batches had an epoch above `most` and now have `most`. */
async function lowerEpochs(fs: FileSystem, path: string, most: number): Promise<number> {
  const handle = await fs.open(path, 'write')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    const epoch = Buffer.alloc(4)
    epoch.writeInt32BE(most)
    let lowered = 0
    for (let position = 0; (await handle.read(head, position)) === HEAD_BYTES; ) {
      const length = head.readInt32BE(LENGTH_AT)
      // Whatever is wrong here, opening the copy says it better.
      if (length <= 0) break
      if (head.readInt8(MAGIC_AT) === 2 && head.readInt32BE(LEADER_EPOCH_AT) > most) {
        await writeFully(handle, epoch, position + LEADER_EPOCH_AT)
        lowered += 1
      }
      position += LENGTH_COUNTED_FROM + length
    }
    if (lowered > 0) await handle.sync()
    return lowered
  } finally {
    await handle.close()
  }
}

async function removeFiles(fs: FileSystem, folder: string, which: (name: string) => boolean): Promise<void> {
  for (const { name, kind } of await fs.readDirectory(folder)) {
    if (kind !== 'file' || !which(name)) continue
    try {
      await fs.unlink(join(folder, name))
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw storeError(error, 'remove', join(folder, name))
    }
  }
}
