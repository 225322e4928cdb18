/** The compacted topics of the lane: what is written to them, and what a reader must find after any cleaning. */
import { readFileSync } from 'node:fs'
import { cp, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Agent, SeenRecord, TestRecord } from './agent.ts'
import type { Broker } from './broker.ts'
import { CODECS } from './workload.ts'

export const SEGMENT_BYTES = 4096
const KEYS = 23
const BATCH = 6

interface Part {
  readonly records: number
  readonly config: Readonly<Record<string, string>>
  readonly end?: 'commit' | 'abort'
}

interface CompactedTopic {
  readonly configs: Readonly<Record<string, string>>
  /** One producer after the other. */
  readonly parts: readonly Part[]
  /** Every so many records one is a tombstone. */
  readonly tombstoneEvery: number
}

const PLAIN = { 'enable.idempotence': 'false', 'compression.type': 'none' }
const repeat = (times: number, part: (number: number) => Part): Part[] =>
  Array.from({ length: times }, (_, number) => part(number))

const plain: CompactedTopic = { configs: {}, parts: [{ records: 240, config: PLAIN }], tombstoneEvery: 50 }

/** Topics named `halfway-…` are left in the middle of a cleaning: see `leaveHalfway`. */
export const TOPICS: Readonly<Record<string, CompactedTopic>> = {
  plain,
  codecs: {
    configs: {},
    parts: CODECS.map(codec => ({
      records: 120,
      config: { 'enable.idempotence': 'false', 'compression.type': codec }
    })),
    tombstoneEvery: 31
  },
  idempotent: {
    configs: {},
    parts: repeat(6, () => ({ records: 50, config: { 'compression.type': 'none' } })),
    tombstoneEvery: 31
  },
  transactions: {
    configs: {},
    parts: repeat(9, number => ({
      records: 30,
      config: { 'transactional.id': `writer-${number % 2}`, 'compression.type': 'none' },
      end: number % 3 === 1 ? 'abort' : 'commit'
    })),
    tombstoneEvery: 17
  },
  tombstones: { configs: { 'delete.retention.ms': '0' }, parts: plain.parts, tombstoneEvery: 5 },
  'halfway-cleaned': plain,
  'halfway-swap': plain,
  'halfway-exchanged': plain,
  'halfway-named': plain
}

export const NAMES = Object.keys(TOPICS)

interface Written {
  readonly offset: number
  readonly record: TestRecord
  readonly isCommitted: boolean
}

/** Everything that producers were acknowledged, by topic. */
export class CompactedModel {
  readonly #written = new Map<string, Written[]>()

  add(topic: string, record: TestRecord, offset: number, isCommitted: boolean): void {
    const all = this.#written.get(topic) ?? []
    all.push({ record, offset, isCommitted })
    this.#written.set(topic, all)
  }

  count(topic: string): number {
    return this.#written.get(topic)?.length ?? 0
  }

  /** What `seen`, by a reader of committed records, has wrong. */
  differences(topic: string, seen: readonly SeenRecord[]): string[] {
    const wrong: string[] = []
    const written = new Map(this.#written.get(topic)?.map(each => [each.offset, each]))
    const latest = new Map<string | null, TestRecord>()
    for (const { record, isCommitted } of written.values()) if (isCommitted) latest.set(record.key, record)
    const found = new Map<string | null, SeenRecord>()
    let last = -1
    for (const each of seen) {
      const { offset, key, value, timestamp } = each
      const source = written.get(offset)
      if (offset <= last) wrong.push(`${offset} after ${last}`)
      if (source === undefined || !source.isCommitted) wrong.push(`nobody committed what is at ${offset}`)
      else if (key !== source.record.key || value !== source.record.value || timestamp !== source.record.timestamp)
        wrong.push(`${offset} has changed`)
      found.set(key, each)
      last = offset
    }
    for (const [key, { value }] of latest) {
      const now = found.get(key)
      // A tombstone may be gone, and with it all that was before.
      if (value !== (now?.value ?? null)) wrong.push(`${key} is ${now?.value}, not ${value}`)
    }
    return wrong.slice(0, 10).map(each => `${topic}: ${each}`)
  }
}

export async function createTopics(agent: Agent, { bootstrap }: Broker, version: string): Promise<void> {
  const segmentBytes = version.startsWith('3.') ? 'segment.bytes' : 'internal.segment.bytes'
  for (const [name, { configs }] of Object.entries(TOPICS))
    await agent.createTopic(bootstrap, name, 1, {
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0.01',
      'delete.retention.ms': '3600000',
      [segmentBytes]: String(SEGMENT_BYTES),
      ...configs
    })
}

/** Writes to every topic, each time over the same keys. */
export async function produceAll(agent: Agent, { bootstrap }: Broker, model: CompactedModel): Promise<void> {
  for (const [topic, { parts, tombstoneEvery }] of Object.entries(TOPICS)) {
    for (const { records: count, config, end } of parts) {
      const from = model.count(topic)
      const records = Array.from({ length: count }, (_, index) => keyed(from + index, tombstoneEvery))
      const ended = end === undefined ? {} : { end }
      const command = { topic, partition: 0, records, batch: BATCH, config, ...ended }
      const { offsets, problem } = await agent.produce(bootstrap, command)
      if (problem !== undefined) throw new Error(`${topic}: ${problem}`)
      for (const [index, record] of records.entries()) model.add(topic, record, offsets[index]!, end !== 'abort')
    }
  }
}

function keyed(number: number, tombstoneEvery: number): TestRecord {
  const hex = (text: string): string => Buffer.from(text).toString('hex')
  // Some keys come all the time, some now and then, some only once.
  const key = number % 10 === 5 ? `once-${number}` : number % 3 === 0 ? number % 7 : (number * 7919) % KEYS
  const isTombstone = number % tombstoneEvery === tombstoneEvery - 1
  return {
    key: hex(`key-${key}`),
    value: isTombstone ? null : hex(`value-${number}-`.padEnd(60 + (number % 80), 'abcdefghijk')),
    headers: number % 4 === 1 ? [['trace', hex(`t${number}`)]] : [],
    timestamp: 1_700_000_000_000 + number * 10
  }
}

/** First offset that is not clean yet, by topic, as the directory's checkpoint has it. */
export function cleanedUpTo(data: string): Record<string, number> {
  const lines = readFileSync(join(data, 'cleaner-offset-checkpoint'), 'utf8').split('\n').slice(2)
  const rows = lines.map(line => line.split(' ')).filter(([name]) => NAMES.includes(name!))
  return Object.fromEntries(rows.map(([name, , offset]) => [name!, Number(offset)]))
}

const LOG = /^(\d{20})\.log$/
const SEGMENT_FILE = /^(\d{20})\.(log|index|timeindex|txnindex)$/

export async function basesIn(data: string, topic: string): Promise<number[]> {
  const names = await readdir(join(data, `${topic}-0`))
  return names
    .flatMap(name => LOG.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
}

/** Names that an unfinished cleaning leaves. */
export async function leftOver(data: string): Promise<string[]> {
  const names = await readdir(data, { recursive: true })
  return names.filter(name => /\.(cleaned|swap|deleted)$/.test(name))
}

/**
 * Makes of a folder before a cleaning, and the same after it, what a kill in the middle leaves: the first group that
 * came of several segments is under way, those below it are done, those above it are not begun.
 *
 * @param data - holds the topics as they were before; the folder is changed.
 * @param after - a data directory that holds them as a broker's cleaner left them.
 * @returns base offsets of the segments that the group was made of.
 */
export async function leaveHalfway(data: string, after: string, topic: string): Promise<number[]> {
  const dir = join(data, `${topic}-0`)
  const old = await basesIn(data, topic)
  const fresh = await basesIn(after, topic)
  const sourcesOf = (index: number): number[] =>
    old.filter(base => base >= fresh[index]! && base < (fresh[index + 1] ?? Number.POSITIVE_INFINITY))
  const at = fresh.findIndex((_, index) => sourcesOf(index).length > 1)
  if (at < 0) throw new Error(`${topic}: no group of several segments, ${old} to ${fresh}`)
  const files = await filesOf(dir)
  const freshFiles = await filesOf(join(after, `${topic}-0`))
  const place = async (base: number, suffix: string): Promise<void> => {
    for (const name of freshFiles.get(base) ?? []) await cp(join(after, `${topic}-0`, name), join(dir, name + suffix))
  }
  const retire = async (base: number): Promise<void> => {
    for (const name of files.get(base) ?? []) await rename(join(dir, name), join(dir, `${name}.deleted`))
  }
  for (let index = 0; index < at; index += 1) {
    for (const base of sourcesOf(index)) await retire(base)
    await place(fresh[index]!, '')
  }
  const sources = sourcesOf(at)
  await place(fresh[at]!, topic === 'halfway-cleaned' ? '.cleaned' : '.swap')
  // One of the old files has not got its new name yet; or all have, and the log its own.
  if (topic === 'halfway-exchanged') for (const base of sources.slice(0, -1)) await retire(base)
  if (topic === 'halfway-named') {
    for (const base of sources) await retire(base)
    const name = `${String(fresh[at]).padStart(20, '0')}.log`
    await rename(join(dir, `${name}.swap`), join(dir, name))
  }
  return sources
}

async function filesOf(dir: string): Promise<Map<number, string[]>> {
  const files = new Map<number, string[]>()
  for (const name of (await readdir(dir)).sort()) {
    const base = SEGMENT_FILE.exec(name)?.[1]
    if (base !== undefined) files.set(Number(base), [...(files.get(Number(base)) ?? []), name])
  }
  return files
}
