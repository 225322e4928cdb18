/**
 * How much do many partitions take together, compared with one?
 *
 * Appends of 100 records of 100 B go to 1, 100, 1,000 or 10,000 partitions of one store in turn, 64 at a time, not
 * synced, for 0.6 seconds. Before that each partition gets one append, which opens its log (`opening ms`) and is not
 * counted. The ceiling encodes the same batches and writes each to a file of its own, in the same order, with as many
 * files open at once as a store has (512); those that were used longest ago are closed.
 *
 * What limits it: with few partitions, as for one, copying and CRC; with many, each append is a write of its own (no
 * two wait for the same log), and beyond 512 files an open and a close as well. Expect 3 million records a second into
 * one, half of that into 100, and a third to a fifth into 10,000.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Store } from '../lib/index.ts'
import { Arena, BareEncoder } from './engines/ceiling-encoder.ts'
import type { Rec } from './engines/engine.ts'
import { appendsOf, recordPool } from './harness/data.ts'
import type { Context, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

const TOPIC = 'many'
const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const RECORDS_PER_APPEND = 100
const IN_FLIGHT = 64
const MEASURED_MS = 600
/** No goal hangs on these figures. */
const ROUNDS = 3
/** As many as a store keeps open by default. */
const OPEN_FILES = 512

function row(partitions: number, rounds = ROUNDS): Row {
  const count = partitions.toLocaleString('en')
  return {
    id: `partitions-${partitions}`,
    title: `${count} ${partitions === 1 ? 'partition' : 'partitions'}, 100 x 100 B an append`,
    unit: 'records/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling'],
    warmBytes: 256e6,
    params: { partitions, rounds }
  }
}

function rows(scale: Scale): Row[] {
  // Opening 10,000 logs, and closing them, takes much longer than what is measured.
  return scale.name === 'quick' ? [row(1), row(100)] : [row(1), row(100), row(1000), row(10_000, 1)]
}

async function prepare({ row, contestant, kept }: Context): Promise<void> {
  if (contestant !== 'heartwood') return
  const store = await Store.open(join(kept, 'store'), { defaults: { durability: 'none' } })
  await store.createTopic(TOPIC, { partitions: Number(row.params['partitions']) })
  await store.close()
}

/** Appends to a partition; done when the system has it. */
type AppendTo = (partition: number, records: readonly Rec[]) => Promise<unknown> | undefined

async function measure(context: Context): Promise<Measurement> {
  return context.contestant === 'heartwood' ? measureHeartwood(context) : measureCeiling(context)
}

async function measureHeartwood(context: Context): Promise<Measurement> {
  const partitions = Number(context.row.params['partitions'])
  const store = await Store.open(join(context.kept, 'store'), { defaults: { durability: 'none' } })
  const begin = performance.now()
  const logs = await inTurns(partitions, partition => store.openLog(TOPIC, partition))
  const opening = performance.now() - begin
  const measured = await rate(context, (partition, records) => logs[partition]!.append(records))
  const { misses } = store.status().openFiles
  await store.close()
  return {
    ...measured,
    extras: { ...measured.extras, 'opening ms': opening, 'files opened': misses },
    settings: `Store.openLog, durability none, ${IN_FLIGHT} appends at a time`
  }
}

function measureCeiling(context: Context): Promise<Measurement> {
  const files = new Map<number, number>()
  const encoder = new BareEncoder()
  let arena = new Arena()
  const fileOf = (partition: number): number => {
    let file = files.get(partition)
    if (file === undefined) {
      if (files.size === OPEN_FILES) {
        const [oldest, its] = files.entries().next().value!
        files.delete(oldest)
        closeSync(its)
      }
      file = openSync(join(context.kept, `${partition}.log`), 'a')
    } else files.delete(partition)
    // A map keeps the order of insertion: last in is last out.
    files.set(partition, file)
    return file
  }
  const append: AppendTo = (partition, records) => {
    encoder.add(records)
    arena = encoder.swap(arena)
    writeSync(fileOf(partition), arena.bytes, 0, arena.used)
    return undefined
  }
  return rate(context, append).then(measured => {
    for (const file of files.values()) closeSync(file)
    return {
      ...measured,
      settings: `bare loop: one encode, CRC and writeSync an append, ${OPEN_FILES} files open at most`
    }
  })
}

async function inTurns<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let first = 0; first < count; first += IN_FLIGHT) {
    const turn = Array.from({ length: Math.min(IN_FLIGHT, count - first) }, (_, i) => work(first + i))
    results.push(...(await Promise.all(turn)))
  }
  return results
}

/** Once round all partitions for nothing, then for the clock. */
async function rate({ row, scale }: Context, append: AppendTo): Promise<Measurement> {
  const partitions = Number(row.params['partitions'])
  const appends = appendsOf(recordPool(SHAPE), RECORDS_PER_APPEND)
  let sent = 0
  const turn = async (): Promise<void> => {
    const waiting: Promise<unknown>[] = []
    for (let i = 0; i < IN_FLIGHT; i += 1) {
      const appended = append(sent % partitions, appends[sent % appends.length]!)
      if (appended !== undefined) waiting.push(appended)
      sent += 1
    }
    if (waiting.length > 0) await Promise.all(waiting)
  }
  while (sent < Math.max(partitions, 2000)) await turn()
  sent = 0
  const begin = performance.now()
  const end = begin + MEASURED_MS * scale.factor
  while (performance.now() < end) await turn()
  const seconds = (performance.now() - begin) / 1000
  return { value: (sent * RECORDS_PER_APPEND) / seconds, extras: { 'appends/s': sent / seconds } }
}

export const question: Question = {
  name: 'many-partitions',
  asks: 'How much do many partitions take together, compared with one?',
  about:
    'Appends of 100 records of 100 B go to 1, 100, 1,000 or 10,000 partitions of one store in turn, 64 at a time, not ' +
    'synced, for 0.6 seconds, after each partition had one that is not counted. The ceiling writes the same batches to a ' +
    'file for each partition, 512 of them open at a time. With many partitions no two appends share a write, and beyond ' +
    '512 files each may cost an open and a close as well. Expect 3 million records a second into one partition, and a ' +
    'third to a fifth of that into 10,000. Opening and closing 10,000 logs takes far longer than what is measured, so ' +
    'that row has one round.',
  rows,
  prepare,
  measure
}
