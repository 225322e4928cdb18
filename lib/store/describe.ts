/** What a store tells of a topic and its partitions. */
import type { FileSystem } from '../fs/file-system.ts'
import { forEachLimited } from './for-each-limited.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { readPartitionMetadata } from './partition-metadata.ts'
import { storeError } from './storage-errors.ts'
import type { Topics } from './topics.ts'
import type { BrokenPartition, PartitionDescription, TopicDescription } from './types.ts'
import type { Upkeep } from './upkeep.ts'

const LOGS_AT_A_TIME = 4

interface Parts {
  readonly table: LogTable
  readonly topics: Topics
  readonly upkeep: Upkeep
  readonly fs: FileSystem
}

/** See `Store.describe`. */
export async function describeTopic(
  topic: string,
  slots: ReadonlyMap<number, LogSlot>,
  parts: Parts
): Promise<TopicDescription> {
  const partitions: (PartitionDescription | BrokenPartition)[] = []
  const order = [...slots.keys()].sort((a, b) => a - b)
  await forEachLimited(order.entries(), LOGS_AT_A_TIME, async ([index, partition]) => {
    partitions[index] = await describePartition(slots.get(partition)!, parts)
  })
  const { internal, configs, topicId } = parts.topics.summary(topic)
  return {
    topic,
    topicId: topicId ?? (await topicIdOf(slots, parts.fs)) ?? null,
    internal,
    configs: configs ?? null,
    partitions
  }
}

async function describePartition(
  slot: LogSlot,
  { table, topics, upkeep }: Parts
): Promise<PartitionDescription | BrokenPartition> {
  const { topic, partition } = slot.folder
  try {
    const log = await table.open(slot, () => topics.config(topic))
    const segments = log.segments()
    return {
      partition,
      logStartOffset: log.logStartOffset,
      logEndOffset: log.logEndOffset,
      highWatermark: log.highWatermark,
      lastStableOffset: log.lastStableOffset,
      segments: segments.length,
      bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
      leaderEpoch: log.leaderEpoch,
      ...(await upkeep.describe(slot))
    }
  } catch (error) {
    const { code, message } = storeError(error, 'open', slot.directory.folderPath(slot.folder.name))
    return { partition, error: { code, message } }
  }
}

async function topicIdOf(slots: ReadonlyMap<number, LogSlot>, fs: FileSystem): Promise<string | undefined> {
  for (const { directory, folder } of slots.values()) {
    const path = directory.folderPath(folder.name)
    const topicId = await readPartitionMetadata(fs, path).catch(() => undefined)
    if (topicId !== undefined) return topicId
  }
  return undefined
}

/** Of a topic that was just made: no log is opened for this. */
export function newPartition(partition: number): PartitionDescription {
  return {
    partition,
    logStartOffset: 0,
    logEndOffset: 0,
    highWatermark: 0,
    lastStableOffset: 0,
    segments: 1,
    bytes: 0,
    leaderEpoch: 0
  }
}
