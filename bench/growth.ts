/**
 * Does anything become slower as a log grows?
 *
 * The same operations on a log of 100 GB (100 segments of 1 GiB) and on one of 100 MB: opening, appending 100 records,
 * reading a batch by offset, finding an offset by time. Places to read are 1,000 in either log, far apart, so that
 * both find their batches in the page cache; what differs is how much index there is (780 kB and 1.1 MB a segment,
 * of which 32 MiB are held in memory) and how many segments. The figure is the mean cost of one operation.
 *
 * The closed segments of the 100 GB are synthetic: holes around real batches where a read looks, with the files and
 * indexes that the engine would have written (harness/large-log.ts); the active segment is real. The log of 100 MB is
 * all real, in one segment.
 *
 * What limits it: an index that is not in memory has to be read and checked, a search by time looks at each segment's
 * largest timestamp. Expect 10 to 50 us for an append or a read, some ms for opening.
 */
import { join } from 'node:path'
import { recordPool } from './harness/data.ts'
import { LargeLog } from './harness/large-log.ts'
import { runProgram } from './harness/program.ts'
import type { Context, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'
import type { GrowthReport } from './programs/growth.ts'

const TOPIC = 'log'
const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const RECORDS_PER_BATCH = 100
const GIB = 1024 ** 3
const SMALL_BYTES = 100e6
const LARGE_BYTES = 100e9
const SAMPLES = 1000
const SMALL = 'heartwood-100MB'

function row(id: string, title: string, count: number): Row {
  return {
    id,
    title,
    unit: 'us',
    better: 'less',
    contestants: ['heartwood', SMALL],
    goals: [{ name: 'P11', against: SMALL, limit: 1.1 }],
    warmBytes: 0,
    params: { operation: id, count }
  }
}

function rows(_scale: Scale): Row[] {
  return [
    row('append', 'appending 100 records of 100 B', 10_000),
    row('offset', 'reading the batch that holds an offset', 10_000),
    row('time', 'finding the first offset at or after a time', 2_000),
    row('open', 'opening the store and the log', 10)
  ]
}

/** The tenth part at `quick`. */
function logOf(contestant: string, scale: Scale): LargeLog {
  const plan = {
    records: recordPool(SHAPE).slice(0, RECORDS_PER_BATCH),
    segmentBytes: GIB,
    firstTimestamp: Date.UTC(2026, 0, 1)
  }
  const { batchBytes } = new LargeLog({ ...plan, closedSegments: 0, activeBatches: 0, samplesPerSegment: 0 })
  const activeBatches = Math.floor(SMALL_BYTES / batchBytes)
  const closedSegments = contestant === SMALL ? 0 : Math.round(((LARGE_BYTES - SMALL_BYTES) / GIB) * scale.factor)
  const samplesPerSegment = Math.round(SAMPLES / (closedSegments + 1))
  return new LargeLog({ ...plan, closedSegments, activeBatches, samplesPerSegment })
}

async function prepare({ contestant, kept, scale }: Context): Promise<void> {
  await logOf(contestant, scale).create(join(kept, 'store'), TOPIC)
}

async function measure({ row, contestant, kept, scale }: Context): Promise<Measurement> {
  const { operation } = row.params
  const log = logOf(contestant, scale)
  // An append is undone by cutting the log where it ended.
  const end = {
    offset: log.batchCount * RECORDS_PER_BATCH,
    baseOffset: log.batchCount * RECORDS_PER_BATCH,
    timestamp: 0
  }
  const job = {
    directory: join(kept, 'store'),
    topic: TOPIC,
    operation,
    samples: operation === 'append' ? [end] : log.samples(),
    shape: SHAPE,
    recordsPerAppend: RECORDS_PER_BATCH,
    count: Math.ceil(Number(row.params['count']) * (operation === 'open' ? 1 : scale.factor))
  }
  const { mean, p50, p99 } = (await runProgram('growth', job)) as GrowthReport
  return {
    value: mean,
    extras: { 'p50 us': p50, 'p99 us': p99, 'log GB': log.bytes / 1e9 },
    settings:
      contestant === SMALL
        ? 'a log of 100 MB, all of it real'
        : 'synthetic: closed segments are holes around real batches; names, indexes and the active segment are real'
  }
}

export const question: Question = {
  name: 'growth',
  asks: 'Does anything become slower as a log grows?',
  about:
    'The same operations on a log of 100 GB in 100 segments and on one of 100 MB: opening, appending 100 records, reading ' +
    'a batch by offset, finding an offset by time; the figure is the mean cost of one, in a process of its own, after as ' +
    'many that are not measured. The closed segments of the 100 GB are holes around real batches, at 1,000 places ' +
    'where reads look; their indexes are whole. What can grow is the index (780 kB and 1.1 MB a segment, of which ' +
    '32 MiB are held in memory) and the number of segments. Expect 10 to 50 us for an append or a read, some ms to open.',
  rows,
  prepare,
  measure
}
