/**
 * How long until a store can be used, and what does that depend on?
 *
 * A new process opens a store that was closed cleanly, reads the last record of a log and appends one. The sizes: one
 * log of 10 MB, 1 GB and 10 GB (of the last one, nine segments of 1 GiB are holes around a few batches, with indexes
 * of full length; see harness/large-log.ts). The numbers: 1, 100, 1,000 and 10,000 partitions with some records in
 * each of the last 1,000, by a process that may open 1,024 files; `every log ms` is what opening all of up to 100 takes,
 * which a store does not do by itself.
 *
 * What limits it: code that runs for the first time and is compiled for it, which is two thirds of a first opening; a
 * sync of the directory (the clean-shutdown marker is put aside, durably), the lock, and some thirty small
 * files read for a log; for many partitions, listing that many folders. Nothing that grows with the bytes of a log.
 * Expect 5 to 15 ms for one log, in a process whose code is not compiled yet, and some 10 us more for each partition.
 */
import { join } from 'node:path'
import { Store } from '../lib/index.ts'
import { loadEngine } from './engines/load.ts'
import { recordPool } from './harness/data.ts'
import { LargeLog } from './harness/large-log.ts'
import { runProgram } from './harness/program.ts'
import type { Context, Goal, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'
import type { OpenReport } from './programs/open-store.ts'

const TOPIC = 'log'
const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const RECORDS_PER_BATCH = 100
const RECORDS_PER_PARTITION = 100
/** The last so many get records; filling 10,000 would take minutes. */
const FILLED_PARTITIONS = 1000
const GIB = 1024 ** 3
const FIRST_TIMESTAMP = Date.UTC(2026, 0, 1)
const OPEN_FILES = 1024
/** Opening every log of a larger store, and closing them, would take longer than all else together. */
const EVERY_LOG_PARTITIONS = 100
const RIVALS = ['lmdb', 'better-sqlite3', 'classic-level']

const within = (milliseconds: number, figure?: string): Goal => ({
  name: 'P7',
  limit: milliseconds,
  ...(figure === undefined ? {} : { figure, better: 'less' })
})

function sizeRow(id: string, title: string, bytes: number, rivals: readonly string[]): Row {
  return {
    id,
    title,
    unit: 'ms',
    better: 'less',
    contestants: ['heartwood', ...rivals],
    goals: [within(20)],
    warmBytes: 0,
    params: { bytes, partitions: 1 }
  }
}

function partitionsRow(partitions: number, milliseconds?: number): Row {
  const count = partitions.toLocaleString('en')
  return {
    id: `partitions-${partitions}`,
    title: `a store of ${count} ${partitions === 1 ? 'partition' : 'partitions'}, 1,024 open files allowed`,
    unit: 'ms',
    better: 'less',
    contestants: ['heartwood'],
    goals: milliseconds === undefined ? [] : [within(milliseconds)],
    warmBytes: 0,
    params: { bytes: 0, partitions }
  }
}

function rows(scale: Scale): Row[] {
  const small = sizeRow('10MB', 'one log of 10 MB', 10e6, RIVALS)
  if (scale.name === 'quick')
    return [small, sizeRow('100MB', 'one log of 100 MB', 100e6, []), partitionsRow(1, 20), partitionsRow(100)]
  return [
    small,
    sizeRow('1GB', 'one log of 1 GB', 1e9, []),
    sizeRow('10GB', 'one log of 10 GB', 10e9, []),
    partitionsRow(1, 20),
    partitionsRow(100),
    partitionsRow(1000, 300),
    partitionsRow(10_000, 3000)
  ]
}

async function prepare({ row, contestant, kept }: Context): Promise<void> {
  const bytes = Number(row.params['bytes'])
  if (contestant !== 'heartwood') await fillRival(contestant, kept, bytes)
  else if (bytes > 0) await largeLog(bytes).create(join(kept, 'store'), TOPIC)
  else await fillPartitions(join(kept, 'store'), Number(row.params['partitions']))
}

/** The newest gigabyte at most is written, in one segment. */
function largeLog(bytes: number): LargeLog {
  const plan = {
    records: recordPool(SHAPE).slice(0, RECORDS_PER_BATCH),
    segmentBytes: GIB,
    samplesPerSegment: 1,
    firstTimestamp: FIRST_TIMESTAMP
  }
  const { batchBytes } = new LargeLog({ ...plan, closedSegments: 0, activeBatches: 0 })
  const closedSegments = Math.max(0, Math.ceil((bytes - GIB) / GIB))
  const activeBatches = Math.floor((bytes - closedSegments * GIB) / batchBytes)
  return new LargeLog({ ...plan, closedSegments, activeBatches })
}

async function fillPartitions(directory: string, partitions: number): Promise<void> {
  const records = recordPool(SHAPE).slice(0, RECORDS_PER_PARTITION)
  const store = await Store.open(directory, { defaults: { durability: 'none' } })
  await store.createTopic(TOPIC, { partitions })
  const append = async (partition: number): Promise<void> => {
    const log = await store.openLog(TOPIC, partition)
    await log.append(records)
  }
  const AT_A_TIME = 64
  for (let first = Math.max(0, partitions - FILLED_PARTITIONS); first < partitions; first += AT_A_TIME) {
    const appends: Promise<void>[] = []
    for (let i = first; i < Math.min(partitions, first + AT_A_TIME); i += 1) appends.push(append(i))
    await Promise.all(appends)
  }
  await store.close()
}

async function fillRival(name: string, directory: string, bytes: number): Promise<void> {
  const engine = await loadEngine(name)
  const pool = recordPool(SHAPE)
  const appender = await engine.appender!(directory, 'written')
  const batch = pool.slice(0, 1000)
  const count = bytes / (SHAPE.keyBytes + SHAPE.valueBytes)
  for (let done = 0; done < count; done += batch.length) await appender.append(batch)
  await appender.close()
}

async function measure(context: Context): Promise<Measurement> {
  return context.contestant === 'heartwood' ? measureHeartwood(context) : measureRival(context)
}

async function measureHeartwood({ row, kept }: Context): Promise<Measurement> {
  const partitions = Number(row.params['partitions'])
  const job = {
    directory: join(kept, 'store'),
    topic: TOPIC,
    partitions,
    everyLog: partitions > 1 && partitions <= EVERY_LOG_PARTITIONS
  }
  const report = (await runProgram('open-store', job, { openFiles: OPEN_FILES })) as OpenReport
  if (!report.clean) throw new Error('the log was not found closed cleanly')
  const bytes = Number(row.params['bytes'])
  return {
    value: report.appended,
    extras: {
      'Store.open ms': report.opened,
      'readable ms': report.readable,
      ...(job.everyLog ? { 'every log ms': report.appended + report.everyLog } : {}),
      'close ms': report.closed,
      'again ms': report.again
    },
    settings: 'Store.open, openLog, one read at the end, one append at durability none; a new process',
    ...(bytes > 2 * GIB
      ? { note: 'synthetic: closed segments are holes around real batches, their indexes are whole' }
      : {})
  }
}

/** The same as far as they have it: open for writing, and the first append is acknowledged. The package is loaded. */
async function measureRival({ contestant, kept }: Context): Promise<Measurement> {
  const engine = await loadEngine(contestant)
  const record = recordPool(SHAPE)[0]!
  const begin = performance.now()
  const appender = await engine.appender!(kept, 'written')
  const opened = performance.now() - begin
  await appender.append([record])
  const value = performance.now() - begin
  await appender.close()
  return { value, extras: { 'open ms': opened }, settings: engine.settings('written') }
}

export const question: Question = {
  name: 'open',
  asks: 'How long until a store can be used, and what does that depend on?',
  about:
    'A new process opens a store that was closed cleanly, reads the last record of a log and appends one; the clock runs ' +
    'from Store.open to the acknowledgement. Logs of 10 MB, 1 GB and 10 GB (the closed segments of the last one are ' +
    'holes around real batches, with whole indexes), and stores of 1 to 10,000 partitions, the last 1,000 of them with ' +
    'records, by a process that may ' +
    'open 1,024 files; "every log ms" is what opening all of up to 100 takes, which a store leaves to their first use. ' +
    'Limited by syncs of the directory, locks and small files, never by the bytes of a log. Expect 5 to 15 ms for ' +
    'one log, and some 10 us more for each partition. `again ms` is a second opening in the same process, with the ' +
    'code compiled.',
  rows,
  prepare,
  measure
}
