/**
 * How fast are appends of one record, each with an acknowledgement of its own?
 *
 * Records of 100 B, one a call, not synced. `awaited`: one caller that awaits each call before the next. `64-callers`:
 * 64 of them at once, as requests of a server are. `bursts-of-1000`: a loop that calls 1,000 times and then awaits all
 * of it, as one does with what has just arrived. Nothing is gathered by the caller: what is gathered is the engine's
 * doing. A measurement ends after 0.3 seconds or 400,000 records.
 *
 * What limits it: awaited, a system call (1.4 to 6 us) or, where a store hands its work to a thread, a trip there and
 * back (20 to 45 us); together, a promise a call (about 0.3 us) and the encoding. Expect 20,000 to 400,000 a second
 * awaited, and 1 to 2 million in bursts.
 */
import { RIVALS } from './engines/load.ts'
import { type AppendParams, measureAppends, rowParams, warmBytesOf } from './harness/append-rows.ts'
import { call, callInBursts } from './harness/producers.ts'
import type { Context, Goal, Measurement, Question, Row } from './harness/question.ts'

const P3: readonly Goal[] = [{ name: 'P3', against: 'best rival', limit: 2 }]
const TOGETHER = ['lmdb', 'lmdb-async', 'better-sqlite3-group', 'classic-level', 'event-storage']
const CALLERS = 64
const BURST = 1000
const MEASURED_MS = 300

function row(id: string, title: string, inFlight: number): Row {
  const shape = { keyBytes: 10, valueBytes: 90 }
  const params: AppendParams = { shape, size: 1, inFlight, records: 4e5, milliseconds: MEASURED_MS }
  // Where several calls come together, those who gather them stand for the synchronous stores that do not.
  const rivals = inFlight === 1 ? RIVALS : TOGETHER
  return {
    id,
    title,
    unit: 'records/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling', ...rivals],
    goals: P3,
    warmBytes: warmBytesOf(params),
    params: rowParams(params)
  }
}

const ROWS: readonly Row[] = [
  row('awaited', 'one caller, each call awaited', 1),
  row('64-callers', '64 callers, each awaits its own', CALLERS),
  row('bursts-of-1000', '1,000 calls at a time, then all awaited', BURST)
]

async function measure(context: Context): Promise<Measurement> {
  const drive = context.row.params['inFlight'] === BURST ? callInBursts : call
  return (await measureAppends(context, 'written', drive)).measurement
}

export const question: Question = {
  name: 'append-single',
  asks: 'How fast are appends of one record, each with an acknowledgement of its own?',
  about:
    'Records of 100 B, one a call, not synced: one caller that awaits each call, 64 such callers, and bursts of 1,000 ' +
    'calls that are awaited together. What limits it: awaited, a system call (1.4 to 6 us) or a trip to a thread and ' +
    'back (20 to 45 us); together, a promise a call and the encoding. Expect 20,000 to 400,000 a second awaited, 1 to ' +
    '2 million in bursts. better-sqlite3-group and lmdb-async gather what was called in one turn of the event loop.',
  rows: () => ROWS,
  measure
}
