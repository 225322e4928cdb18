/**
 * How does heartwood do in the set-up of the paper that introduced Kafka?
 *
 * In: messages of 200 B without a key, 200 an append, one producer, one partition, and a real fdatasync for every 600
 * messages: `heartwood.durability=interval` with `flush.messages=600` and no other threshold. The producer has at most
 * 3 appends in flight, which are 600 messages: with more, the log may let a sync cover up to 1,200. `messages/sync` is
 * what was measured. A run-up comes before each measurement, in which the code is compiled. The ceiling is the bare loop: 3 appends, one write, one fdatasync, again.
 *
 * Out: one reader, 1 MiB a read, through a million messages that are not in the page cache, every CRC checked; `out`
 * with a cursor, `out-eager` as objects. Only root can empty the page cache; otherwise the rows say that they are warm.
 *
 * What limits it: in, the disk's flush, for 2.5 million messages a second are 4,200 of them; out, the disk, for 5.5
 * million are 1.1 GB/s. The paper's figures are the floor: 250,000 messages (50 MB) a second in and 550,000 (110 MB)
 * out. The goal is ten times both.
 */
import type { Appender, ScanKind } from './engines/engine.ts'
import { openBenchLog } from './engines/heartwood.ts'
import { loadEngine } from './engines/load.ts'
import { appendsOf, payloadBytes, recordPool } from './harness/data.ts'
import { canDropPageCache, coldNote, dropPageCache, fillPageCache } from './harness/file-cache.ts'
import { fillLog } from './harness/fill.ts'
import { callInBursts, type Load, measureRun, produce } from './harness/producers.ts'
import type { Context, Goal, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

const MESSAGE: Shape = { keyBytes: 0, valueBytes: 200 }
const BATCH = 200
const FLUSH_MESSAGES = 600
const MESSAGES = 1e6
/** Times 200 messages: no sync covers more than 600. */
const IN_FLIGHT = FLUSH_MESSAGES / BATCH
const MEASURED_MS = 1000
/** Part of that, before the clock starts, so that code is compiled. */
const RUN_UP = 0.5

function goalsOf(floor: number): Goal[] {
  return [
    { name: 'P13 floor', limit: floor },
    { name: 'P13', limit: 10 * floor }
  ]
}

function rows({ factor }: Scale): Row[] {
  const records = Math.ceil((MESSAGES * factor) / BATCH) * BATCH
  const common = { unit: 'messages/s', better: 'more', contestants: ['heartwood', 'ceiling'] } as const
  const params = { ...MESSAGE, records, batch: BATCH }
  const reading = (id: string, title: string, kind: ScanKind): Row => ({
    ...common,
    id,
    title: `${title}, 1 MiB a read, ${canDropPageCache() ? 'cold' : 'warm'}`,
    goals: goalsOf(550_000),
    warmBytes: 0,
    params: { ...params, kind }
  })
  return [
    {
      ...common,
      id: 'in',
      title: `200 B messages, ${BATCH} an append, fdatasync every ${FLUSH_MESSAGES}`,
      goals: goalsOf(250_000),
      warmBytes: MESSAGES * (payloadBytes(MESSAGE) + 8),
      params
    },
    reading('out', 'one reader with a cursor', 'cursor'),
    reading('out-eager', 'one reader, messages as objects', 'eager')
  ]
}

async function prepare(context: Context): Promise<void> {
  if (context.row.params['kind'] !== undefined) await fillLog(context)
}

interface Writer {
  readonly appender: Appender
  readonly drive: (appender: Appender, load: Load, deadline: number) => Promise<number>
  readonly inFlight: number
  readonly settings: string
  /** Syncs so far, where they are counted. */
  syncs(): number | undefined
}

async function heartwoodWriter(directory: string): Promise<Writer> {
  const { store, log } = await openBenchLog(directory, {
    durability: 'interval',
    flushMessages: FLUSH_MESSAGES,
    flushMs: undefined,
    flushBytes: undefined
  })
  const append: Appender['append'] = records => log.append(records) as Promise<unknown> as Promise<void>
  return {
    appender: { append, close: () => store.close() },
    drive: produce,
    inFlight: IN_FLIGHT,
    settings: `heartwood.durability=interval, flush.messages=${FLUSH_MESSAGES}, no other threshold; at most ${IN_FLIGHT} appends in flight`,
    syncs: () => log.stats().syncMicroseconds.count
  }
}

async function bareWriter(directory: string): Promise<Writer> {
  const engine = await loadEngine('ceiling')
  return {
    appender: await engine.appender!(directory, 'synced'),
    drive: callInBursts,
    inFlight: IN_FLIGHT,
    settings: `bare loop: ${IN_FLIGHT} appends, one write, one fdatasync, awaited`,
    syncs: () => undefined
  }
}

async function measureIn({ contestant, directory, row, scale }: Context): Promise<Measurement> {
  const writer = await (contestant === 'ceiling' ? bareWriter(directory) : heartwoodWriter(directory))
  const appends = appendsOf(recordPool(MESSAGE), BATCH)
  const load = (part: number): Load => ({
    appends,
    inFlight: writer.inFlight,
    count: Math.ceil((Number(row.params['records']) * part) / BATCH),
    milliseconds: MEASURED_MS * part * scale.factor
  })
  const { appender, drive } = writer
  await measureRun(load(RUN_UP), (load, deadline) => drive(appender, load, deadline))
  const syncsBefore = writer.syncs()
  const run = await measureRun(load(1), (load, deadline) => drive(appender, load, deadline))
  const syncs = writer.syncs()
  await appender.close()
  const rate = run.records / run.seconds
  return {
    value: rate,
    extras: {
      'MB/s': (rate * payloadBytes(MESSAGE)) / 1e6,
      'cpu us/message': (run.cpuSeconds * 1e6) / run.records,
      ...(syncs === undefined ? {} : { 'messages/sync': run.records / (syncs - syncsBefore!) })
    },
    settings: writer.settings
  }
}

async function measureOut({ contestant, kept, row }: Context): Promise<Measurement> {
  const isCold = canDropPageCache()
  if (!isCold) fillPageCache(kept)
  const engine = await loadEngine(contestant)
  const scanner = (await engine.scanner!(kept, row.params['kind'] as ScanKind))!
  // The run-up, in which the code is compiled; then the files are cold again.
  await scanner.scan()
  if (isCold) dropPageCache(kept)
  const began = performance.now()
  const { records, bytes } = await scanner.scan()
  const seconds = (performance.now() - began) / 1000
  await scanner.close()
  if (records !== row.params['records']) throw new Error(`${contestant} read ${records} of ${row.params['records']}`)
  const note = isCold ? coldNote(kept) : 'warm: only root can empty the page cache'
  return {
    value: records / seconds,
    extras: { 'MB/s': bytes / seconds / 1e6 },
    ...(note === undefined ? {} : { note })
  }
}

export const question: Question = {
  name: 'kafka-paper',
  asks: 'How does heartwood do in the set-up of the paper that introduced Kafka?',
  about:
    'Messages of 200 B, 200 an append, one producer, one partition, an fdatasync every 600 messages; then one reader, ' +
    `1 MiB a read, ${canDropPageCache() ? 'from a cold page cache' : 'from a warm page cache, for only root can empty it'}, every CRC checked. ` +
    'What limits it: in, the flush of the disk; out, the disk. The floor is the figures of the paper, 250,000 messages ' +
    '(50 MB) a second in and 550,000 (110 MB) out; the goal is ten times both. The ceiling syncs and appends by turns.',
  rows,
  prepare,
  measure: context => (context.row.params['kind'] === undefined ? measureIn(context) : measureOut(context))
}
