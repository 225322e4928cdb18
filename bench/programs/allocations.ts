/**
 * Counts what an append or a scan takes from the heap. The heap is looked at after each step (an append, a read), and
 * the figure is the median of what a step has added to it: a step in which V8 collected or compiled something is an
 * outlier, and counts for nothing. Timing has no part in it.
 */
import { getHeapStatistics } from 'node:v8'
import { BatchView, type PartitionLog } from '../../lib/index.ts'
import { openBenchLog } from '../engines/heartwood.ts'
import { appendsOf, recordPool } from '../harness/data.ts'
import { program } from '../harness/program.ts'
import { summarize } from '../harness/statistics.ts'

export interface AllocationJob {
  readonly directory: string
  readonly path: 'append' | 'cursor' | 'lazy'
  readonly records: number
  readonly recordsPerAppend: number
}

export interface AllocationReport {
  /** Of the heap, for one record. */
  readonly bytesPerRecord: number
  /** Steps that the figure was taken from, and those after which the heap was smaller. */
  readonly steps: number
  readonly collected: number
}

/** Does steps, and tells after each how many records it had; ends when there are no more. */
type Steps = AsyncGenerator<number>

program<AllocationJob>(async (job): Promise<AllocationReport> => {
  const { store, log } = await openBenchLog(job.directory, { durability: 'none' })
  if (job.path !== 'append') for await (const _ of appending(log, job));
  const steps = job.path === 'append' ? appending : job.path === 'cursor' ? cursors : lazies
  // Twice: what runs for the first time is compiled.
  await measured(steps(log, job))
  const report = await measured(steps(log, job))
  await store.close()
  return report
})

async function* appending(log: PartitionLog, { records, recordsPerAppend }: AllocationJob): Steps {
  const batches = appendsOf(recordPool({ keyBytes: 10, valueBytes: 90 }), recordsPerAppend)
  // As a step so many that a look at the heap is small beside it, and few enough that V8 does not collect in most.
  const appendsPerStep = recordsPerAppend === 1 ? 100 : 1
  for (let done = 0; done < records; done += appendsPerStep * recordsPerAppend) {
    for (let i = 0; i < appendsPerStep; i += 1) await log.append(batches[i % batches.length]!)
    yield appendsPerStep * recordsPerAppend
  }
}

async function* cursors(log: PartitionLog): Steps {
  let sum = 0
  for await (const { batches } of log.batches()) {
    let records = 0
    for (let at = 0; at < batches.length; ) {
      const batch = new BatchView(batches, at)
      sum += sumOf(batch)
      records += batch.recordCount
      at = batch.end
    }
    yield records
  }
  if (sum < 0) throw new Error('offsets and timestamps are not negative')
}

/** A function of its own, so that V8 compiles the loop as it would a user's, with no numbers on the heap. */
function sumOf(batch: BatchView): number {
  const cursor = batch.records({ checkCrc: false })
  let sum = 0
  while (cursor.next())
    sum += cursor.offset + cursor.timestamp + cursor.keyEnd - cursor.keyStart + cursor.valueEnd - cursor.valueStart
  return sum
}

/** Records that nobody asks for their key or value: one object each. */
async function* lazies(log: PartitionLog): Steps {
  let sum = 0
  for await (const page of log.records().pages()) {
    for (const record of page) sum += record.offset
    yield page.length
  }
  if (sum < 0) throw new Error('offsets are not negative')
}

async function measured(steps: Steps): Promise<AllocationReport> {
  const added: number[] = []
  let collected = 0
  const look = lookCost()
  let before = getHeapStatistics().used_heap_size
  for await (const records of steps) {
    const now = getHeapStatistics().used_heap_size
    if (now < before) collected += 1
    else added.push(Math.max(0, now - before - look) / records)
    before = now
  }
  const summary = summarize(added)
  if (summary === undefined) throw new Error('the heap shrank in every step')
  return { bytesPerRecord: summary.median, steps: added.length, collected }
}

/** What looking at the heap takes of it. */
function lookCost(): number {
  const costs: number[] = []
  for (let i = 0; i < 101; i += 1) {
    const before = getHeapStatistics().used_heap_size
    costs.push(getHeapStatistics().used_heap_size - before)
  }
  return summarize(costs)!.median
}
