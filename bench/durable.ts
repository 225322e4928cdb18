/**
 * How many appends a second can be made durable, and how long does each wait?
 *
 * Records of 100 B, one an append, acknowledged after a sync; 1, 8, 64 and 256 writers, each of which awaits its
 * acknowledgement before its next append. Half a second each, after a run-up.
 *
 * What limits it: the disk's flush (0.1 to 0.25 ms where these figures come from, which is too fast for a plain disk;
 * 1 to 10 ms on many), and how many appends share one. The ceiling is a bare group-commit loop: whatever came while
 * a group was on its way is the next group, one write and one fdatasync, both in the thread pool. `ceiling-sync` makes
 * the same calls on the main thread, which saves two trips to the pool and stops everything else: no library may.
 * Expect 4,000 acknowledgements a second from one writer, 190,000 from 64.
 */
import type { Appender } from './engines/engine.ts'
import { type AppendParams, measureAppends, rowParams } from './harness/append-rows.ts'
import { Latencies } from './harness/latencies.ts'
import { call, type Load } from './harness/producers.ts'
import type { Context, Goal, Measurement, Question, Row } from './harness/question.ts'

const MEASURED_MS = 500
/** No count ends a measurement here, the time does. */
const ENOUGH = 1e9

const ALONE = ['lmdb', 'better-sqlite3', 'classic-level', 'event-storage', 'json-lines']
/** Stores that commit for many at once. */
const TOGETHER = ['lmdb', 'better-sqlite3-group', 'classic-level', 'event-storage']
/** For rows on which no goal hangs. */
const FEWER_ROUNDS = 3

/** The topic's setting that whoever needs this speed would choose: see engines/heartwood-preallocate.ts. */
const PREALLOCATED = 'heartwood-preallocate'

function row(writers: number, rivals: readonly string[], goals: readonly Goal[] = []): Row {
  const shape = { keyBytes: 10, valueBytes: 90 }
  const params: AppendParams = { shape, size: 1, inFlight: writers, records: ENOUGH, milliseconds: MEASURED_MS }
  return {
    id: `writers-${writers}`,
    title: writers === 1 ? 'one writer' : `${writers} writers`,
    unit: 'acks/s',
    better: 'more',
    contestants: ['heartwood', PREALLOCATED, 'ceiling', 'ceiling-sync', ...rivals],
    goals,
    warmBytes: 32 * 1024 * 1024,
    params: { ...rowParams(params), ...(goals.length > 0 ? {} : { rounds: FEWER_ROUNDS }) }
  }
}

function goals(timesLmdb: number): Goal[] {
  return [
    { name: 'P4', against: 'lmdb', limit: timesLmdb },
    { name: 'P4', against: 'ceiling', limit: 0.85 },
    { name: 'P4', of: PREALLOCATED, against: 'lmdb', limit: timesLmdb },
    { name: 'P4', of: PREALLOCATED, against: 'ceiling', limit: 0.85 }
  ]
}

const ROWS: readonly Row[] = [
  row(1, ALONE, goals(1.2)),
  row(8, ['lmdb']),
  row(64, TOGETHER, goals(1.5)),
  row(256, ['lmdb'])
]

async function measure(context: Context): Promise<Measurement> {
  let latencies = new Latencies()
  const drive = (appender: Appender, load: Load, deadline: number): Promise<number> => {
    // Those of the warm-up go.
    latencies = new Latencies()
    return call(appender, load, deadline, latencies)
  }
  const { measurement } = await measureAppends(context, 'synced', drive)
  const { 'bytes/record': bytes = 0, 'cpu us/record': cpu = 0 } = measurement.extras ?? {}
  return { ...measurement, extras: { ...latencies.extras(), 'cpu us/ack': cpu, 'bytes/record': bytes } }
}

export const question: Question = {
  name: 'durable',
  asks: 'How many appends a second can be made durable, and how long does each wait?',
  about:
    'Records of 100 B, one an append, acknowledged after a sync; 1, 8, 64 and 256 writers, each of which awaits its own ' +
    'acknowledgement. What limits it: the flush of the disk and how many appends share one. The ceiling is a bare ' +
    'group-commit loop with one group in flight, in the thread pool; ceiling-sync makes the same calls on the main ' +
    'thread, which no library may do to its host. Expect 4,000 a second from one writer and 190,000 from 64 where a ' +
    'flush takes 0.2 ms, and a twentieth of that on a disk that takes 4 ms.',
  rows: () => ROWS,
  measure
}
