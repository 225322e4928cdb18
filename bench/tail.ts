/**
 * How long does a record take from its append to where somebody sees it?
 *
 * `visible`: until the append is acknowledged as written, when a reader may have it. `synced`: until it is acknowledged
 * as synced. `hands`: until a follower in the same process has been given it, once in a log that shows what is written
 * and once in one that shows only what is synced. Each at 1,000 appends of one record of 100 B a second, whatever the
 * acknowledgements do meanwhile, and at full rate: 16 callers with 100 records an append, each waiting for its own.
 *
 * `read-hot` and `read-cold` read 64 KiB out of a log of 1,000,000 records while 1,000 a second are appended: among the
 * newest 5,000 records, which are in memory still, and anywhere in the older half, which is in the page cache.
 *
 * What limits it: a small write takes 3 to 5 us, an fdatasync 100 to 250 us on this disk, a round trip through the
 * thread pool 40 us, and a timer that wakes an idle process another 50 us. At full rate it is the queue: 16 appends of
 * 100 records wait for each other. Rivals are set beside it where an acknowledgement says it all.
 */

import type { Appender, Level, Rec } from './engines/engine.ts'
import { type LiveLog, openLive } from './engines/live.ts'
import { loadEngine, RivalMissing } from './engines/load.ts'
import { appendsOf, randomFrom, recordPool } from './harness/data.ts'
import { Latencies } from './harness/latencies.ts'
import { pace } from './harness/pace.ts'
import { call } from './harness/producers.ts'
import type { Context, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const PER_SECOND = 1000
const CALLERS = 16
const BATCH_AT_FULL_RATE = 100
const WARM_UP_MS = 150
const PACED_MS = 800
const FULL_MS = 500
const OURS = ['heartwood', 'ceiling']
const RIVALS = ['lmdb', 'event-storage']
/** No goal hangs on these figures. */
const ROUNDS = 3

type Until = 'acknowledged' | 'hands' | 'read-hot' | 'read-cold'

interface Spec {
  readonly id: string
  readonly title: string
  readonly until: Until
  readonly level: Level
  readonly full: boolean
  readonly contestants: readonly string[]
}

function specsOf(full: boolean): Spec[] {
  const rate = full ? 'full' : '1k'
  const load = full ? '16 callers, 100 records an append' : '1,000 records a second'
  const all = full ? OURS : [...OURS, ...RIVALS]
  return [
    {
      id: `visible-${rate}`,
      title: `append to visible, ${load}`,
      until: 'acknowledged',
      level: 'written',
      full,
      contestants: all
    },
    {
      id: `synced-${rate}`,
      title: `append to synced, ${load}`,
      until: 'acknowledged',
      level: 'synced',
      full,
      contestants: all
    },
    {
      id: `hands-written-${rate}`,
      title: `append to a follower's hands, once written, ${load}`,
      until: 'hands',
      level: 'written',
      full,
      contestants: OURS
    },
    {
      id: `hands-synced-${rate}`,
      title: `append to a follower's hands, once synced, ${load}`,
      until: 'hands',
      level: 'synced',
      full,
      contestants: OURS
    }
  ]
}

const SPECS: readonly Spec[] = [
  ...specsOf(false),
  ...specsOf(true),
  {
    id: 'read-hot',
    title: 'read 64 KiB of the newest, 1,000 records/s appended meanwhile',
    until: 'read-hot',
    level: 'written',
    full: false,
    contestants: ['heartwood']
  },
  {
    id: 'read-cold',
    title: 'read 64 KiB far behind the end, 1,000 records/s appended meanwhile',
    until: 'read-cold',
    level: 'written',
    full: false,
    contestants: ['heartwood']
  }
]

function rows(_scale: Scale): Row[] {
  return SPECS.map(({ id, title, until, level, full, contestants }) => ({
    id,
    title,
    unit: 'us',
    better: 'less',
    contestants,
    warmBytes: full ? 256 * 1024 * 1024 : 16 * 1024 * 1024,
    params: { ...SHAPE, until, level, full, rounds: ROUNDS }
  }))
}

/** Puts the load of the row on `log` for so many milliseconds and, with `latencies`, times the acknowledgements. */
async function load(log: Appender, full: boolean, milliseconds: number, latencies?: Latencies): Promise<number> {
  const pool = recordPool(SHAPE)
  if (full) {
    const appends = appendsOf(pool, BATCH_AT_FULL_RATE)
    const limits = { appends, inFlight: CALLERS, count: Number.POSITIVE_INFINITY, milliseconds }
    return (await call(log, limits, performance.now() + milliseconds, latencies)) * BATCH_AT_FULL_RATE
  }
  const singles: readonly (readonly Rec[])[] = appendsOf(pool, 1)
  return pace({ perSecond: PER_SECOND, milliseconds }, async i => {
    const from = performance.now()
    await log.append(singles[i % singles.length]!)
    latencies?.add(performance.now() - from)
  })
}

async function measureAcknowledged({ row, contestant, directory, scale }: Context): Promise<Measurement> {
  const level = row.params['level'] as Level
  const full = row.params['full'] === true
  const engine = await loadEngine(contestant)
  const appender = await engine.appender?.(directory, level)
  if (appender === undefined) throw new RivalMissing(`${contestant} does not append`)
  const latencies = new Latencies()
  await load(appender, full, WARM_UP_MS)
  const from = performance.now()
  const records = await load(appender, full, (full ? FULL_MS : PACED_MS) * scale.factor, latencies)
  const seconds = (performance.now() - from) / 1000
  await appender.close()
  return { ...figures(latencies, records / seconds), settings: engine.settings(level) }
}

function figures(latencies: Latencies, recordsPerSecond: number): Measurement {
  const { 'p50 us': value, ...extras } = latencies.extras() as { 'p50 us': number; [name: string]: number }
  return { value, extras: { ...extras, 'records/s': recordsPerSecond } }
}

/** When each record was appended, by its position, for as many as can be under way. */
const UNDER_WAY = 1 << 20

async function measureHands({ row, contestant, directory, scale }: Context): Promise<Measurement> {
  const level = row.params['level'] as Level
  const full = row.params['full'] === true
  const log = await openLive(contestant, directory, level)
  const appendedAt = new Float64Array(UNDER_WAY)
  const timed: Appender = {
    append(records) {
      const now = performance.now()
      const first = log.end
      for (let i = 0; i < records.length; i += 1) appendedAt[(first + i) % UNDER_WAY] = now
      return log.append(records)
    },
    close: () => log.close()
  }
  await load(timed, full, WARM_UP_MS)
  const latencies = new Latencies()
  const stop = new AbortController()
  const first = log.end
  const following = follow(log, first, stop, ({ firstPosition, count }) => {
    const now = performance.now()
    for (let i = 0; i < count; i += 1) latencies.add(now - appendedAt[(firstPosition + i) % UNDER_WAY]!)
  })
  const from = performance.now()
  await load(timed, full, (full ? FULL_MS : PACED_MS) * scale.factor)
  // What is appended now has to reach the follower yet.
  while (latencies.count < log.end - first && performance.now() - from < 10_000) await new Promise(setImmediate)
  const seconds = (performance.now() - from) / 1000
  stop.abort()
  await following
  await log.close()
  if (latencies.count !== log.end - first) throw new Error(`the follower got ${latencies.count} of ${log.end - first}`)
  const engine = await loadEngine(contestant)
  return { ...figures(latencies, latencies.count / seconds), settings: engine.settings(level) }
}

async function follow(
  log: LiveLog,
  position: number,
  stop: AbortController,
  take: (page: { firstPosition: number; count: number }) => void
): Promise<void> {
  for await (const page of log.follow(position, stop.signal)) take(page)
}

const PREFILLED = 1_000_000
const NEWEST = 5000
const READ_BYTES = 64 * 1024
/** A read out of memory never waits: without a pause now and then nothing would be appended. */
const READS_PER_PAUSE = 16

async function measureRead({ row, contestant, directory, scale }: Context): Promise<Measurement> {
  const log = await openLive(contestant, directory, 'written')
  if (log.read === undefined) throw new RivalMissing(`${contestant} reads nothing in between`)
  const appends = appendsOf(recordPool(SHAPE), BATCH_AT_FULL_RATE)
  const prefilled = PREFILLED * scale.factor
  const count = prefilled / BATCH_AT_FULL_RATE
  await call(log, { appends, inFlight: CALLERS, count, milliseconds: 0 }, Number.POSITIVE_INFINITY)
  const random = randomFrom(1)
  const isHot = row.params['until'] === 'read-hot'
  const pick = (): number => Math.floor(isHot ? log.end - 1 - random() * NEWEST : (random() * prefilled) / 2)
  const milliseconds = WARM_UP_MS + FULL_MS * scale.factor
  const appending = load(log, false, milliseconds)
  const latencies = new Latencies()
  const begin = performance.now()
  let bytes = 0
  // One read at least is timed, however long the machine makes the others wait.
  for (let reads = 1; latencies.count === 0 || performance.now() - begin < milliseconds; reads += 1) {
    const from = performance.now()
    const read = await log.read(pick(), READ_BYTES)
    const to = performance.now()
    if (from - begin >= WARM_UP_MS) {
      latencies.add(to - from)
      bytes += read
    }
    if (reads % READS_PER_PAUSE === 0) await new Promise(setImmediate)
  }
  await appending
  await log.close()
  const { 'p50 us': value, ...extras } = latencies.extras() as { 'p50 us': number; [name: string]: number }
  const { settings } = await loadEngine(contestant)
  return {
    value,
    extras: { ...extras, 'KiB a read': bytes / latencies.count / 1024 },
    settings: settings('written')
  }
}

function measure(context: Context): Promise<Measurement> {
  const until = context.row.params['until'] as Until
  if (until === 'acknowledged') return measureAcknowledged(context)
  return until === 'hands' ? measureHands(context) : measureRead(context)
}

export const question: Question = {
  name: 'tail',
  asks: 'How long does a record take from its append to where somebody sees it?',
  about:
    '`visible` is the time until an append is acknowledged as written, `synced` as synced, `hands` until a follower in ' +
    'the same process has the record. At 1,000 records a second, one an append, and at full rate with 16 callers of ' +
    '100 records an append, each waiting for its own acknowledgement. The figure is the median of single records. A ' +
    'hot reader takes the newest records out of memory, a cold one old ones out of the page cache. What limits it: a ' +
    'small write of 3 to 5 us, an fdatasync of 100 to 250 us, a thread-pool round trip of 40 us; at full rate the queue.',
  rows,
  measure
}
