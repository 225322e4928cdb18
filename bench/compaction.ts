/**
 * What does compaction take?
 *
 * `rate`: a log of 2.5 million records of 100 B, each key twice, is compacted by the store, in its worker thread; the
 * figure is bytes read of sealed segments over the whole time, with the new files synced and put in place. Against
 * it, in `scan-append`, the same log is read through by a cursor, and as many bytes are appended to another log, 1,000
 * records an append, and synced at the end.
 *
 * `latency`: one caller appends 100 records 100 times a second, while another log of the store, four times as large, is
 * compacted or, in `undisturbed`, while nothing else happens for about as long; the figure is the p99 latency of an append.
 *
 * `memory`: compacting logs of distinct keys, in a process that does nothing else: the figure is how much more was
 * resident at the most (VmHWM) than before, less the map that was configured. `keys-10M` has ten million keys in a map
 * of 128 MiB, which takes them in several rounds, `records-100M` a hundred million records of ten million keys.
 *
 * What limits it: a random access to memory for each record in either pass, the CRC, and building batches anew. Expect
 * 100 to 200 MB/s.
 */
import { closeSync, cpSync, fsyncSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MiB, type PartitionLog, Store } from '../lib/index.ts'
import { appendsOf, recordPool } from './harness/data.ts'
import { Latencies } from './harness/latencies.ts'
import { pace } from './harness/pace.ts'
import { memoryNow, mostMemory } from './harness/process-facts.ts'
import type { Context, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

const TOPIC = 'compacted'
const OTHER = 'other'
const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const RECORDS_PER_APPEND = 1000
const SEGMENT_BYTES = 64 * MiB
const MAP_BYTES = 128 * MiB
const APPENDS_PER_SECOND = 100
const LEAST_MS = 1000
const MB = 1e6

const goal = { name: 'P12' }

function rows({ factor }: Scale): Row[] {
  const memory = (id: string, title: string, records: number, distinct: number): Row => ({
    id,
    title,
    unit: 'MB',
    better: 'less',
    contestants: ['heartwood'],
    goals: [{ ...goal, limit: (32 * MiB) / MB }],
    warmBytes: 0,
    params: { task: 'memory', records: records * factor, distinct: distinct * factor, valueBytes: 4, rounds: 1 }
  })
  const data = { records: 2.5e6 * factor, distinct: 1.25e6 * factor, valueBytes: SHAPE.valueBytes }
  // A p99 of fewer than some 800 appends would be one of the slowest five.
  const moreData = { ...data, records: 4 * data.records, distinct: 4 * data.distinct }
  return [
    {
      id: 'rate',
      title: '100 B records, each key twice',
      unit: 'MB/s',
      better: 'more',
      contestants: ['heartwood', 'scan-append'],
      goals: [{ ...goal, against: 'scan-append', limit: 0.5 }],
      params: { task: 'rate', ...data }
    },
    {
      id: 'latency',
      title: '100 appends of 100 records a second, while another log is compacted',
      unit: 'us',
      better: 'less',
      contestants: ['heartwood', 'undisturbed'],
      goals: [{ ...goal, against: 'undisturbed', limit: 2 }],
      params: { task: 'latency', ...moreData }
    },
    memory('keys-10M', 'ten million distinct keys, a map of 128 MiB, resident beyond the map', 1e7, 1e7),
    memory('records-100M', 'a hundred million records of ten million keys, the same map', 1e8, 1e7)
  ]
}

async function openStore(directory: string): Promise<Store> {
  const store = await Store.open(join(directory, 'store'), {
    upkeep: { background: false, cleanerMapBytes: MAP_BYTES },
    defaults: { durability: 'none' }
  })
  const isThere = store.topics().some(({ topic }) => topic === TOPIC)
  const configs = { 'cleanup.policy': 'compact', 'segment.bytes': String(SEGMENT_BYTES) }
  if (!isThere) await store.createTopic(TOPIC, { configs })
  if (!isThere) await store.createTopic(OTHER, { configs: { 'segment.bytes': String(SEGMENT_BYTES) } })
  return store
}

async function prepare({ row, kept }: Context): Promise<void> {
  const { records, distinct, valueBytes } = row.params as Record<string, number>
  const store = await openStore(kept)
  const log = await store.openLog(TOPIC, 0)
  const value = recordPool({ keyBytes: SHAPE.keyBytes, valueBytes: valueBytes! }).map(record => record.value)
  for (let i = 0; i < records!; i += RECORDS_PER_APPEND) {
    const append = Array.from({ length: RECORDS_PER_APPEND }, (_, j) => ({
      // Far apart, and each key as often as any other.
      key: `k${((i + j) * 7919) % distinct!}`.padEnd(SHAPE.keyBytes, '-'),
      value: value[(i + j) % value.length]!
    }))
    await log.append(append, { ownBatch: true })
  }
  await log.roll()
  await store.close()
}

async function measure(context: Context): Promise<Measurement> {
  const { row, contestant, directory, kept } = context
  const { task } = row.params
  // Compacting changes it; what takes minutes to make is compacted once.
  if (task !== 'memory') copySynced(join(kept, 'store'), join(directory, 'store'))
  const store = await openStore(task === 'memory' ? kept : directory)
  const log = await store.openLog(TOPIC, 0)
  try {
    if (task === 'memory') return await measureMemory(store)
    if (task === 'latency') return await measureLatency(context, store)
    return contestant === 'heartwood' ? await measureRate(store) : await measureScanAndAppend(store, log)
  } finally {
    await store.close()
  }
}

/** What a copy leaves to be written would be written while something is measured. */
function copySynced(from: string, to: string): void {
  cpSync(from, to, { recursive: true })
  for (const entry of readdirSync(to, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const fd = openSync(join(entry.parentPath, entry.name), 'r+')
    fsyncSync(fd)
    closeSync(fd)
  }
}

interface Compacted {
  readonly seconds: number
  readonly bytesRead: number
  readonly bytesAfter: number
  readonly rounds: number
}

async function compact(store: Store): Promise<Compacted> {
  const begun = performance.now()
  const { partitions } = await store.compact({ topics: [TOPIC], force: true })
  const seconds = (performance.now() - begun) / 1000
  const [first] = partitions
  if (first === undefined || !('cleaned' in first) || first.cleaned === undefined)
    throw new Error(`nothing was compacted: ${JSON.stringify(first)}`)
  const { stats, bytesAfter, rounds } = first.cleaned
  return { seconds, bytesRead: stats.bytesRead, bytesAfter, rounds }
}

async function measureRate(store: Store): Promise<Measurement> {
  const { seconds, bytesRead, bytesAfter } = await compact(store)
  return {
    value: bytesRead / MB / seconds,
    extras: { seconds, 'log MB': bytesRead / MB, 'left MB': bytesAfter / MB },
    settings: 'store.compact, in a worker thread; the bytes of sealed segments over the whole time'
  }
}

async function measureScanAndAppend(store: Store, log: PartitionLog): Promise<Measurement> {
  const bytes = log.segments().reduce((sum, segment) => sum + segment.bytes, 0)
  const other = await store.openLog(OTHER, 0)
  const appends = appendsOf(recordPool(SHAPE), RECORDS_PER_APPEND)
  const begun = performance.now()
  let seen = 0
  const scan = log.scan()
  while (await scan.fill())
    for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next())
      while (cursor.next()) seen += cursor.keyEnd - cursor.keyStart
  const scanned = performance.now()
  for (let i = 0; other.stats().bytesOnDisk < bytes; i += 1) await other.append(appends[i % appends.length]!)
  await other.sync()
  const seconds = (performance.now() - begun) / 1000
  return {
    value: bytes / MB / seconds,
    extras: { seconds, 'scan seconds': (scanned - begun) / 1000, 'key MB': seen / MB, 'log MB': bytes / MB },
    settings: 'a cursor through the log, then as many bytes appended to another, 1,000 records an append, one sync'
  }
}

async function measureLatency({ contestant, scale }: Context, store: Store): Promise<Measurement> {
  const other = await store.openLog(OTHER, 0)
  const appends = appendsOf(recordPool(SHAPE), 100)
  const latencies = new Latencies()
  const append = async (i: number, isMeasured: boolean): Promise<void> => {
    const from = performance.now()
    await other.append(appends[i % appends.length]!)
    if (isMeasured) latencies.add(performance.now() - from)
  }
  await pace({ perSecond: APPENDS_PER_SECOND, milliseconds: LEAST_MS * scale.factor }, i => append(i, false))
  let isOver = contestant !== 'heartwood'
  const compacting = isOver
    ? undefined
    : compact(store).finally(() => {
        isOver = true
      })
  const slice = { perSecond: APPENDS_PER_SECOND, milliseconds: 100 }
  const begun = performance.now()
  const isEnough = (): boolean =>
    isOver && (compacting !== undefined || performance.now() - begun > 8 * LEAST_MS * scale.factor)
  do await pace(slice, i => append(i, true))
  while (!isEnough())
  const compacted = await compacting
  return {
    value: latencies.percentile(99),
    extras: {
      'p50 us': latencies.percentile(50),
      'p99.9 us': latencies.percentile(99.9),
      appends: latencies.count,
      ...(compacted && { 'compaction seconds': compacted.seconds })
    },
    settings:
      compacted === undefined
        ? 'appends not synced; nothing else happens'
        : 'appends not synced; all of them while the compaction runs, in a worker thread of the same process'
  }
}

async function measureMemory(store: Store): Promise<Measurement> {
  const before = memoryNow()
  const { seconds, bytesRead, rounds, bytesAfter } = await compact(store)
  const growth = mostMemory() - before
  return {
    value: Math.max(0, growth - MAP_BYTES) / MB,
    extras: {
      'growth MB': growth / MB,
      'map MB': MAP_BYTES / MB,
      rounds,
      seconds,
      'MB/s': bytesRead / MB / seconds,
      'left MB': bytesAfter / MB
    },
    settings: 'VmHWM after store.compact, less VmRSS before it and the configured map of 128 MiB'
  }
}

export const question: Question = {
  name: 'compaction',
  asks: 'What does compaction take?',
  about:
    'Compacts a log of 2.5 million records of 100 B, each key twice, against reading as much by a cursor and appending as ' +
    'much; appends beside it against appends alone, p99; and memory beyond the configured map with ten million distinct ' +
    'keys and a hundred million records. What limits it: a random access to memory for each record in either pass, the ' +
    'CRC, building batches anew.',
  rows,
  prepare,
  measure
}
