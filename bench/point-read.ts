/**
 * How long does it take to read one record at a known offset?
 *
 * Reads single records at random offsets, uniformly drawn with a fixed seed, from a log of 1,000,000 records of 100 B
 * (100,000 where they were appended one at a time), warm: every file is in the page cache. In the rows `page-cache` an
 * engine may keep its index in memory and nothing else; in `cached` it has 32 MiB for whatever it likes, and 10,000
 * offsets out of a quarter of the log (28 MB on disk) are asked for again and again. `by-time` asks for the first
 * record at or after a random timestamp.
 *
 * What limits it: out of the page cache one system call (1.4 us for 4 KiB, 3 us for 11 KB) and the CRC of the batch
 * (2 us for 11 KB), or a thread-pool round trip (40 us) for who reads asynchronously; a batch of 1,000 records costs
 * ten times as much as one of 100, because it is read and checked whole. Out of a cache, a search and a few hundred
 * nanoseconds. lmdb, whose pages are mapped, needs 3 to 4 us either way.
 */
import { Store } from '../lib/index.ts'
import { loadEngine, RIVALS, RivalMissing } from './engines/load.ts'
import { randomFrom } from './harness/data.ts'
import { fillPageCache } from './harness/file-cache.ts'
import { fillLog } from './harness/fill.ts'
import { Latencies } from './harness/latencies.ts'
import type { Context, Goal, Measurement, Question, Row, Scale } from './harness/question.ts'

const MiB = 1024 * 1024
const CACHE_BYTES = 32 * MiB
const WARM_UP_MS = 100
const MEASURED_MS = 250
/** For rows on which no goal hangs. */
const FEWER_ROUNDS = 3
/** Looking at the clock costs as much as a fast read. */
const READS_PER_LOOK = 50
const READS_TIMED_SINGLY = 2000
const ALL = ['heartwood', 'ceiling', ...RIVALS]

interface Spec {
  readonly id: string
  readonly title: string
  readonly batch: number
  readonly records: number
  readonly contestants: readonly string[]
  readonly goals?: readonly Goal[]
  readonly cacheBytes?: number
  readonly byTime?: boolean
}

const SPECS: readonly Spec[] = [
  {
    id: 'cached-x100',
    title: '10,000 offsets again and again, 32 MiB of cache, batches of 100',
    batch: 100,
    records: 1e6,
    contestants: ALL,
    goals: [{ name: 'P6', against: 'lmdb', limit: 1 }],
    cacheBytes: CACHE_BYTES
  },
  {
    id: 'page-cache-x100',
    title: 'anywhere in the log, page cache only, batches of 100',
    batch: 100,
    records: 1e6,
    contestants: ALL,
    goals: [{ name: 'P6', against: 'lmdb', limit: 2.5 }]
  },
  {
    id: 'page-cache-x1',
    title: 'anywhere in the log, page cache only, appended one by one',
    batch: 1,
    records: 1e5,
    contestants: ['heartwood', 'ceiling', 'lmdb']
  },
  {
    id: 'page-cache-x1000',
    title: 'anywhere in the log, page cache only, batches of 1,000',
    batch: 1000,
    records: 1e6,
    contestants: ['heartwood', 'ceiling', 'lmdb']
  },
  {
    id: 'by-time-x100',
    title: 'first record at or after a timestamp, batches of 100',
    batch: 100,
    records: 1e6,
    contestants: ['heartwood'],
    byTime: true
  }
]

function rows({ factor }: Scale): Row[] {
  return SPECS.map(({ id, title, batch, records, contestants, goals = [], cacheBytes = 0, byTime = false }) => ({
    id,
    title,
    unit: 'us',
    better: 'less',
    contestants,
    goals,
    warmBytes: 0,
    params: {
      keyBytes: 10,
      valueBytes: 90,
      records: Math.round(records * factor),
      batch,
      cacheBytes,
      byTime,
      ...(goals.length > 0 ? {} : { rounds: FEWER_ROUNDS })
    }
  }))
}

async function prepare(context: Context): Promise<void> {
  if (context.row.params['byTime'] === true) await fillWithTimes(context)
  else await fillLog(context)
}

/** One record a millisecond, so that every timestamp has its own. */
const FIRST_TIMESTAMP = 1_700_000_000_000

async function fillWithTimes({ row, kept }: Context): Promise<void> {
  const records = Number(row.params['records'])
  const batch = Number(row.params['batch'])
  await using store = await Store.open(kept)
  const log = await store.openLog('bench', 0, { durability: 'none' })
  const value = Buffer.alloc(Number(row.params['valueBytes']), 'value ')
  const key = Buffer.alloc(Number(row.params['keyBytes']), 'key')
  for (let first = 0; first < records; first += batch) {
    const timestamped = Array.from({ length: batch }, (_, i) => ({
      key,
      value,
      timestamp: FIRST_TIMESTAMP + first + i
    }))
    await log.append(timestamped)
  }
}

/** A read of one record; what it resolves to is the size of its value. */
type Get = (position: number) => Promise<number> | number

async function openReader({
  row,
  contestant,
  kept
}: Context): Promise<{ get: Get; close(): unknown; settings: string }> {
  const engine = await loadEngine(contestant)
  if (row.params['byTime'] === true) {
    const store = await Store.open(kept)
    const log = await store.openLog('bench', 0)
    const get = async (position: number): Promise<number> => {
      const found = await log.offsetForTimestamp(FIRST_TIMESTAMP + position)
      if (found?.offset !== position) throw new Error(`looked for ${position}, found ${found?.offset}`)
      return Number(row.params['valueBytes'])
    }
    return { get, close: () => store.close(), settings: engine.settings('written') }
  }
  const reader = await engine.pointReader?.(kept, { cacheBytes: Number(row.params['cacheBytes']) })
  if (reader === undefined) throw new RivalMissing(`${contestant} reads no single records`)
  return { get: p => reader.get(p), close: () => reader.close(), settings: engine.settings('written') }
}

/** Offsets to ask for, in this order, round and round. */
function positionsFor({ row, round }: Context): Uint32Array {
  const records = Number(row.params['records'])
  const uniform = randomFrom(round)
  const random = (below: number): number => Math.floor(uniform() * below)
  if (Number(row.params['cacheBytes']) === 0) return Uint32Array.from({ length: 1 << 17 }, () => random(records))
  const hot = Math.ceil(records / 4)
  const from = random(records - hot)
  return Uint32Array.from({ length: 10_000 }, () => from + random(hot))
}

async function measure(context: Context): Promise<Measurement> {
  fillPageCache(context.kept)
  const { get, close, settings } = await openReader(context)
  const positions = positionsFor(context)
  const valueBytes = Number(context.row.params['valueBytes'])
  let next = 0
  let wrong = 0
  const read = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      const position = positions[next]!
      next = next + 1 === positions.length ? 0 : next + 1
      const size = get(position)
      // To await what is there already would cost a synchronous engine as much as the read.
      if ((typeof size === 'number' ? size : await size) !== valueBytes) wrong += 1
    }
  }
  if (Number(context.row.params['cacheBytes']) > 0) await read(positions.length)
  const readFor = async (milliseconds: number): Promise<number> => {
    const from = performance.now()
    let reads = 0
    let now = from
    for (; now - from < milliseconds; now = performance.now()) {
      await read(READS_PER_LOOK)
      reads += READS_PER_LOOK
    }
    return ((now - from) * 1000) / reads
  }
  await readFor(WARM_UP_MS)
  const value = await readFor(MEASURED_MS)
  const latencies = new Latencies()
  for (let i = 0; i < READS_TIMED_SINGLY; i += 1) {
    const from = performance.now()
    await read(1)
    latencies.add(performance.now() - from)
  }
  await close()
  if (wrong > 0) throw new Error(`${wrong} values of another size than ${valueBytes}`)
  return { value, extras: { 'p99 us': latencies.percentile(99) }, settings }
}

export const question: Question = {
  name: 'point-read',
  asks: 'How long does it take to read one record at a known offset?',
  about:
    'Single records at random offsets, uniformly drawn, out of a log of 1,000,000 records of 100 B whose files are in ' +
    'the page cache. In `page-cache` an engine keeps its index in memory and nothing else; in `cached` it has 32 MiB, ' +
    'and 10,000 offsets out of a quarter of the log are asked for again and again. What limits it: a system call of 1 ' +
    'to 3 us and the CRC of the batch, or a thread-pool round trip of 40 us; out of a cache, a few hundred nanoseconds.',
  rows,
  prepare,
  measure
}
