/**
 * Uses a large log: opens it, reads by offset and by time where it has batches, appends. Each cost is that of one
 * operation; all the same in number and in what they touch, however long the log is.
 */
import { type PartitionLog, Store } from '../../lib/index.ts'
import { appendsOf, randomFrom, recordPool } from '../harness/data.ts'
import type { Sample } from '../harness/large-log.ts'
import { program } from '../harness/program.ts'
import type { Shape } from '../harness/question.ts'

export interface GrowthJob {
  readonly directory: string
  readonly topic: string
  readonly operation: 'append' | 'offset' | 'time' | 'open'
  readonly samples: readonly Sample[]
  readonly shape: Shape
  readonly recordsPerAppend: number
  /** Operations that are measured, at most; as many before, for what has to be compiled and read first. */
  readonly count: number
}

export interface GrowthReport {
  /** Of one operation, microseconds. */
  readonly mean: number
  readonly p50: number
  readonly p99: number
}

/** Nothing is begun after this time, before the measurement and in it: an operation may turn out slow. */
const MOST_MS = 1500

program<GrowthJob>(async (job): Promise<GrowthReport> => {
  if (job.operation === 'open') return open(job)
  const store = await Store.open(job.directory)
  const log = await store.openLog(job.topic, 0, { durability: 'none' })
  const operation = operationOf(log, job)
  const warmUntil = performance.now() + MOST_MS
  for (let i = 0; i < job.count && performance.now() < warmUntil; i += 1) await operation(i)
  const report = await timed(job.count, operation)
  // What was appended goes again, so that the next round finds the log as it was.
  if (job.operation === 'append') await log.truncateTo(job.samples[0]!.baseOffset)
  await store.close()
  return report
})

function operationOf(log: PartitionLog, job: GrowthJob): (i: number) => Promise<unknown> {
  const { samples, operation, shape, recordsPerAppend } = job
  if (operation === 'append') {
    const appends = appendsOf(recordPool(shape), recordsPerAppend)
    return i => log.append(appends[i % appends.length]!, { ownBatch: true })
  }
  const random = randomFrom(1)
  const any = (): Sample => samples[Math.floor(random() * samples.length)]!
  if (operation === 'offset') {
    return async () => {
      const { offset, baseOffset } = any()
      const found = await log.read(offset, { maxBytes: 1 })
      if (found.baseOffset !== baseOffset) throw new Error(`offset ${offset} led to the batch at ${found.baseOffset}`)
    }
  }
  return async () => {
    const { timestamp, baseOffset } = any()
    const found = await log.offsetForTimestamp(timestamp)
    if (found?.offset !== baseOffset) throw new Error(`time ${timestamp} led to offset ${found?.offset}`)
  }
}

async function open({ directory, topic, count }: GrowthJob): Promise<GrowthReport> {
  return timed(count, async () => {
    const store = await Store.open(directory)
    await store.openLog(topic, 0)
    return () => store.close()
  })
}

/** @param operation - may give back what is to be done after it, off the clock. */
async function timed(count: number, operation: (i: number) => Promise<unknown>): Promise<GrowthReport> {
  const times: number[] = []
  const end = performance.now() + MOST_MS
  for (let i = 0; i < count && performance.now() < end; i += 1) {
    const begin = performance.now()
    const after = await operation(i)
    times.push((performance.now() - begin) * 1000)
    if (typeof after === 'function') await after()
  }
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length
  times.sort((a, b) => a - b)
  const at = (fraction: number): number => times[Math.min(times.length - 1, Math.floor(times.length * fraction))]!
  return { mean, p50: at(0.5), p99: at(0.99) }
}
