/** `heartwood topics`: create, list, describe, alter, delete, hand-over. */
import { Store } from '../store/store.ts'
import type {
  BrokenPartition,
  CompactionDescription,
  PartitionDescription,
  TopicDescription,
  VerificationDescription
} from '../store/types.ts'
import { type Context, type DirOption, parseConfigOptions, UsageError, withStore } from './common.ts'
import { printTable } from './table.ts'

export interface TopicOptions extends DirOption {
  readonly topic: string
  readonly json: boolean
}

export async function createTopic(
  options: TopicOptions & { partitions: number; replicationFactor: number; config: readonly string[] },
  context: Context
): Promise<number> {
  if (options.replicationFactor !== 1)
    throw new UsageError(`--replication-factor is 1: one directory holds one replica, not ${options.replicationFactor}`)
  const configs = parseConfigOptions(options.config)
  return withStore(options.dir, { readOnly: false }, async store => {
    const description = await store.createTopic(options.topic, { partitions: options.partitions, configs })
    await shown(
      description,
      options.json,
      context,
      `Created topic ${options.topic} with ${options.partitions} partition(s).`
    )
    return 0
  })
}

export async function listTopics(
  options: DirOption & { internal: boolean; json: boolean },
  context: Context
): Promise<number> {
  return withStore(options.dir, { readOnly: true }, async store => {
    for (const { topic, topicId, internal, partitions } of store.topics({ internal: options.internal })) {
      if (options.json)
        await context.out.json({ topic, topicId: topicId ?? null, internal, partitions: partitions.length })
      else await context.out.write(`${topic}\n`)
    }
    await context.out.flush()
    return 0
  })
}

export async function describeTopics(
  options: DirOption & { topic: string | undefined; internal: boolean; json: boolean },
  context: Context
): Promise<number> {
  return withStore(options.dir, { readOnly: true }, async store => {
    const topics =
      options.topic === undefined
        ? store.topics({ internal: options.internal }).map(known => known.topic)
        : [options.topic]
    let broken = false
    for (const topic of topics) {
      const description = await store.describe(topic)
      broken ||= description.partitions.some(isBroken)
      if (options.json) await context.out.json(description)
      else await printDescription(description, context)
    }
    await context.out.flush()
    return broken ? 1 : 0
  })
}

export async function alterTopic(
  options: TopicOptions & {
    config: readonly string[]
    deleteConfig: readonly string[]
    partitions: number | undefined
  },
  context: Context
): Promise<number> {
  if (options.config.length === 0 && options.deleteConfig.length === 0 && options.partitions === undefined) {
    throw new UsageError('nothing to alter: give --config, --delete-config or --partitions')
  }
  const set = parseConfigOptions(options.config)
  return withStore(options.dir, { readOnly: false, createIfMissing: false }, async store => {
    await store.alterTopic(options.topic, {
      set,
      delete: options.deleteConfig,
      ...(options.partitions === undefined ? {} : { partitions: options.partitions })
    })
    await shown(await store.describe(options.topic), options.json, context, `Altered topic ${options.topic}.`)
    return 0
  })
}

export async function deleteTopic(options: TopicOptions, context: Context): Promise<number> {
  return withStore(options.dir, { readOnly: false, createIfMissing: false }, async store => {
    await store.deleteTopic(options.topic)
    if (options.json) await context.out.json({ topic: options.topic, deleted: true })
    else context.say(`Deleted topic ${options.topic}.`)
    await context.out.flush()
    return 0
  })
}

export async function handOver(options: TopicOptions & { to: string }, context: Context): Promise<number> {
  if (options.dir.length !== 1) throw new UsageError('hand-over takes one --dir, the directory that has the topic')
  const report = await Store.handOver(options.topic, options.dir[0] as string, options.to)
  if (options.json) await context.out.json(report)
  else context.say(`Topic ${options.topic} is now in ${options.to}; start the broker there.`)
  await context.out.flush()
  return 0
}

export async function backup(options: DirOption & { to: string; json: boolean }, context: Context): Promise<number> {
  const report = await withStore(options.dir, { readOnly: true }, store => store.backup(options.to))
  const skipped = report.skipped.map(({ partition, error: { code, message } }) => ({
    partition,
    error: { code, message }
  }))
  if (options.json) await context.out.json({ ...report, skipped })
  else context.say(`Backed up ${options.dir.join(', ')} to ${options.to}: ${report.partitions} partition(s).`)
  for (const { partition, error } of options.json ? [] : skipped)
    context.say(`heartwood: ${partition} is not in the copy: ${error.code}: ${error.message}`)
  await context.out.flush()
  return skipped.length === 0 ? 0 : 1
}

async function shown(description: TopicDescription, json: boolean, context: Context, message: string): Promise<void> {
  if (json) await context.out.json(description)
  else context.say(message)
  await context.out.flush()
}

function isBroken(partition: PartitionDescription | BrokenPartition): partition is BrokenPartition {
  return 'error' in partition
}

async function printDescription(description: TopicDescription, context: Context): Promise<void> {
  const { topic, topicId, internal, configs, partitions } = description
  await context.out.write(
    `topic ${topic}${topicId === null ? '' : `  id ${topicId}`}${internal ? '  (internal)' : ''}\n`
  )
  const settings =
    configs === null
      ? 'unknown: another engine made this topic; nothing is ever deleted from it until "topics alter" states its cleanup.policy'
      : list(configs)
  await context.out.write(`settings ${settings}\n`)
  const rows = partitions.map(partition =>
    isBroken(partition)
      ? [String(partition.partition), `${partition.error.code}: ${partition.error.message}`]
      : [
          partition.partition,
          partition.logStartOffset,
          partition.logEndOffset,
          partition.highWatermark,
          partition.lastStableOffset,
          partition.segments,
          partition.bytes,
          partition.leaderEpoch
        ].map(String)
  )
  await printTable(
    context,
    ['partition', 'start', 'end', 'high watermark', 'last stable', 'segments', 'bytes', 'epoch'],
    rows
  )
  for (const partition of partitions) {
    if (isBroken(partition)) continue
    if (partition.verification !== undefined)
      await context.out.write(`verification of ${partition.partition}: ${verificationLine(partition.verification)}\n`)
    if (partition.compaction === undefined) continue
    await context.out.write(`compaction of ${partition.partition}: ${compactionLine(partition.compaction)}\n`)
  }
  await context.out.write('\n')
}

function verificationLine({ sealedSegments, verifiedSegments, oldestMs, damage }: VerificationDescription): string {
  const oldest = oldestMs === null ? '' : `, the oldest of these ${new Date(oldestMs).toISOString()}`
  const found = damage.map(({ error: { code, message } }) => `; ${code}: ${message}`)
  return `${verifiedSegments} of ${sealedSegments} sealed segments were found sound${oldest}${found.join('')}`
}

function compactionLine(compaction: CompactionDescription): string {
  const { firstDirtyOffset, dirtyRatio, due, reason, overdueMs, failures, lastError } = compaction
  const overdue = overdueMs > 0 ? `, overdue for ${overdueMs} ms` : ''
  const failed = lastError === null ? '' : `; failed ${failures} times: ${lastError.code}: ${lastError.message}`
  const state = due ? `due (${reason})` : reason
  return `clean up to offset ${firstDirtyOffset}, ${(100 * dirtyRatio).toFixed(1)} % dirty, ${state}${overdue}${failed}`
}

function list(configs: Readonly<Record<string, string>>): string {
  const entries = Object.entries(configs)
  return entries.length === 0 ? 'all defaults' : entries.map(([key, value]) => `${key}=${value}`).join(' ')
}
