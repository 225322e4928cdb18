/**
 * How fast are appends?
 *
 * One producer appends batches of records to one log, not synced: an append is acknowledged when its bytes are in the
 * operating system's hands. It has at most 8 appends in flight, as a producer with a bounded window has; in the rows
 * `awaited` it awaits each before the next. Where a store's appends are done when they return, nothing is ever in
 * flight. Records come out of a pool of some thousand, made before the clock starts; a run-up of
 * 0.4 seconds comes before it, to compile the code. Each measurement ends after about 220 MB or 0.4 seconds, whichever
 * comes first.
 *
 * What limits it: encoding, about 75 ns for a record of 100 B, a checksum at 6 GB/s, and one write a group at about
 * 5 GB/s into memory that the page cache has used before (a tenth of that into memory it has not). Expect 6 to 10
 * million records of 100 B a second from the bare loop in batches of 1,000, 1 GB/s with records of 1 KiB, and 1.2
 * million from the fastest of the others.
 */
import { RIVALS } from './engines/load.ts'
import { type AppendParams, measureAppends, rowParams, warmBytesOf } from './harness/append-rows.ts'
import { produce } from './harness/producers.ts'
import type { Goal, Question, Row, Shape } from './harness/question.ts'

const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }
const LARGE: Shape = { keyBytes: 16, valueBytes: 1008 }
const IN_FLIGHT = 8
const MEASURED_MS = 400
/** The rows with goals show all rivals. */
const FASTEST_RIVAL = ['lmdb']
/** For shapes on which no goal hangs. */
const FEWER_ROUNDS = 3

const P1: readonly Goal[] = [
  { name: 'P1', against: 'ceiling', limit: 0.8 },
  { name: 'P1', against: 'best rival', limit: 5 }
]
const P2: readonly Goal[] = [
  { name: 'P2', against: 'ceiling', limit: 0.8 },
  { name: 'P2', against: 'best rival', limit: 2.5 }
]

interface Batches {
  readonly id: string
  readonly title: string
  readonly shape: Shape
  readonly size: number
  readonly records: number
  readonly inFlight?: number
  readonly rivals: readonly string[]
  readonly goals?: readonly Goal[]
  readonly rounds?: number
}

const ROWS: readonly Batches[] = [
  {
    id: '100B-x1000',
    title: '100 B records, 1,000 an append',
    shape: SMALL,
    size: 1000,
    records: 2e6,
    rivals: RIVALS,
    goals: P1
  },
  {
    id: '100B-x100',
    title: '100 B records, 100 an append',
    shape: SMALL,
    size: 100,
    records: 2e6,
    rivals: FASTEST_RIVAL
  },
  {
    id: '100B-x10',
    title: '100 B records, 10 an append',
    shape: SMALL,
    size: 10,
    records: 5e5,
    rivals: FASTEST_RIVAL
  },
  { id: '100B-x1', title: '100 B records, one an append', shape: SMALL, size: 1, records: 2e5, rivals: FASTEST_RIVAL },
  {
    id: '1KiB-x100',
    title: '1 KiB records, 100 an append',
    shape: LARGE,
    size: 100,
    records: 2e5,
    rivals: RIVALS,
    goals: P2
  },
  {
    id: '100B-x1000-awaited',
    title: '100 B records, 1,000 an append, each awaited',
    shape: SMALL,
    size: 1000,
    records: 2e6,
    inFlight: 1,
    rivals: [],
    rounds: FEWER_ROUNDS
  },
  {
    id: '20B-x100',
    title: '20 B records (key of 4), 100 an append',
    shape: { keyBytes: 4, valueBytes: 16 },
    size: 100,
    records: 3e6,
    rivals: FASTEST_RIVAL,
    rounds: FEWER_ROUNDS
  },
  {
    id: '10KiB-x10',
    title: '10 KiB records (key of 16), 10 an append',
    shape: { keyBytes: 16, valueBytes: 10224 },
    size: 10,
    records: 2e4,
    rivals: FASTEST_RIVAL,
    rounds: FEWER_ROUNDS
  },
  {
    id: '100B-headers-x100',
    title: '100 B records with 3 headers each, 100 an append',
    shape: { ...SMALL, headers: 3 },
    size: 100,
    records: 1e6,
    rivals: FASTEST_RIVAL,
    rounds: FEWER_ROUNDS
  }
]

function rowOf({ id, title, shape, size, records, inFlight = IN_FLIGHT, rivals, goals = [], rounds }: Batches): Row {
  const params: AppendParams = { shape, size, inFlight, records, milliseconds: MEASURED_MS }
  return {
    id,
    title,
    unit: 'records/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling', ...rivals],
    goals,
    warmBytes: warmBytesOf(params),
    params: { ...rowParams(params), ...(rounds === undefined ? {} : { rounds }) }
  }
}

export const question: Question = {
  name: 'append',
  asks: 'How fast are appends?',
  about:
    'One producer appends batches of records to one log, not synced, with at most 8 appends in flight (in the rows ' +
    '`awaited` one). A store whose appends are done when they return never has one in flight. A measurement ends after ' +
    'about 220 MB or 0.4 seconds, after a run-up of as much. What limits it: encoding, about 75 ns for a record of 100 B, a checksum at 6 GB/s, ' +
    'and a write at about 5 GB/s into memory that the page cache has used before. Expect 6 to 10 million records of ' +
    '100 B a second from the bare loop, 1 GB/s with 1 KiB, and 1.2 million from the fastest of the others.',
  rows: () => ROWS.map(rowOf),
  measure: async context => (await measureAppends(context, 'written', produce)).measurement
}
