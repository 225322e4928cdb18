/**
 * What does the size of an append buy, and what does it cost in latency?
 *
 * One producer appends 1 to 10,000 records of 100 B at a time and awaits each append, at both levels of durability. The
 * figure is the rate; beside it stand the times from the call to the acknowledgement.
 *
 * What limits it: what every append costs whatever its size, a write (and a trip to the thread pool) or a sync, against
 * 0.1 us a record. Expect the rate to grow in proportion up to about 100 records written and 1,000 synced, and then to
 * level off, while the latency begins to grow: there is the size to choose.
 */
import type { Appender, Level } from './engines/engine.ts'
import { type AppendParams, measureAppends, rowParams, warmBytesOf } from './harness/append-rows.ts'
import { Latencies } from './harness/latencies.ts'
import { call, type Load } from './harness/producers.ts'
import type { Context, Measurement, Question, Row } from './harness/question.ts'

const SIZES = [1, 10, 100, 1000, 10_000]
const LEVELS: readonly Level[] = ['written', 'synced']
const MEASURED_MS = 300
/** No goal hangs on these figures. */
const ROUNDS = 3
const MAX_RECORDS = 1e6

function row(level: Level, size: number): Row {
  const shape = { keyBytes: 10, valueBytes: 90 }
  const params: AppendParams = { shape, size, inFlight: 1, records: MAX_RECORDS, milliseconds: MEASURED_MS }
  return {
    id: `${level}-x${size}`,
    title: `${size.toLocaleString('en')} an append, ${level}`,
    unit: 'records/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling', 'lmdb'],
    warmBytes: warmBytesOf(params),
    params: { ...rowParams(params), level, rounds: ROUNDS }
  }
}

async function measure(context: Context): Promise<Measurement> {
  let latencies = new Latencies()
  const drive = (appender: Appender, load: Load, deadline: number): Promise<number> => {
    // Those of the warm-up go.
    latencies = new Latencies()
    return call(appender, load, deadline, latencies)
  }
  const level = context.row.params['level'] as Level
  const { measurement } = await measureAppends(context, level, drive)
  return { ...measurement, extras: { ...latencies.extras(), ...measurement.extras } }
}

export const question: Question = {
  name: 'batching',
  asks: 'What does the size of an append buy, and what does it cost in latency?',
  about:
    'One producer appends 1 to 10,000 records of 100 B at a time and awaits each append, written and synced. What limits ' +
    'it: what every append costs whatever its size, a write or a sync, against 0.1 us a record. Expect the rate to grow ' +
    'with the size up to about 100 records written and 1,000 synced, then to level off while the latency grows.',
  curve: { x: 'size', xTitle: 'records an append', panel: 'level' },
  rows: () => LEVELS.flatMap(level => SIZES.map(size => row(level, size))),
  measure
}
