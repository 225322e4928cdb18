/**
 * How much memory does a log take, and how long does it keep the event loop?
 *
 * Appends and scans 1 GB of 100 B records, and once 10 GB, each in a process of its own that does nothing else: the
 * figure is the most that was ever resident (VmHWM), with Node itself (about 45 MB) and the records to be written
 * (6 MB). Where the disk has no room for 10 GB, the log's beginning is deleted on the way, and the note says so.
 * Idle: what a process with 1,000 open logs has more than a bare one. Stall: a timer that is due every millisecond,
 * while eight appends of 1,000 records are always waiting; the figure is the time between its turns, 99.9th
 * percentile, the millisecond included.
 *
 * What decides: arenas (16 MiB for all logs), buffers of reads, and how soon V8 collects what a scan leaves. Expect
 * about 100 MB, whatever the size of the log.
 */
import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { Store } from '../lib/index.ts'
import { runProgram } from './harness/program.ts'
import type { Context, Goal, Measurement, Question, Row, Scale } from './harness/question.ts'
import type { MemoryJob, MemoryReport } from './programs/memory.ts'

const TOPIC = 'log'
const MB = 1e6
const GB = 1e9
const STALL_MS = 1500
/** What is resident hardly varies, and a gigabyte takes seconds. */
const FEWER_ROUNDS = 3
const PARTITIONS = 1000
/** Of free space for a log of a size, and of what is kept where there is less. */
const ROOM = 1.5
const KEPT_BYTES = 1.5 * GB

const goal = (limit: number): Goal => ({ name: 'P10', limit })

type Given = Pick<Row, 'id' | 'title' | 'params'> & Partial<Row>

const row = (given: Given): Row => ({
  unit: 'MB',
  better: 'less',
  contestants: ['heartwood'],
  goals: [goal(150)],
  warmBytes: 0,
  ...given
})

function rows(scale: Scale): Row[] {
  const bytes = GB * scale.factor
  const size = scale.name === 'full' ? '1GB' : '100MB'
  const large = 10 * bytes
  const largeSize = scale.name === 'full' ? '10GB' : '1GB'
  const both = ['heartwood', 'ceiling']
  const stall = (level: string): Row =>
    row({
      id: `stall-${level}`,
      title: `event loop, appends of 1,000 x 100 B at full rate, acknowledged when ${level}`,
      unit: 'ms',
      goals: [goal(5)],
      params: { task: 'stall', level }
    })
  return [
    row({
      id: `append-${size}`,
      title: `appending ${size}`,
      contestants: both,
      params: { task: 'append', bytes, rounds: FEWER_ROUNDS }
    }),
    row({
      id: `scan-${size}`,
      title: `scanning ${size}, lazy records`,
      contestants: both,
      params: { task: 'scan', bytes, rounds: FEWER_ROUNDS }
    }),
    row({
      id: `append-scan-${largeSize}`,
      title: `appending ${largeSize}, then scanning it`,
      params: { task: 'round-trip', bytes: large, rounds: 1 }
    }),
    row({
      id: `idle-${PARTITIONS}`,
      title: 'idle with 1,000 open logs, more than bare Node',
      goals: [goal(64)],
      params: { task: 'idle', rounds: FEWER_ROUNDS }
    }),
    stall('written'),
    stall('synced')
  ]
}

async function prepare({ row, contestant, kept }: Context): Promise<void> {
  const { task, bytes } = row.params
  if (task === 'scan') await run({ task: 'append', engine: contestant, directory: kept, bytes: Number(bytes) })
  if (task !== 'idle') return
  const store = await Store.open(join(kept, 'store'), { defaults: { durability: 'none' } })
  await store.createTopic(TOPIC, { partitions: PARTITIONS })
  for (let partition = 0; partition < PARTITIONS; partition += 1)
    await (await store.openLog(TOPIC, partition)).append([{ value: 'a record' }])
  await store.close()
}

const run = (job: MemoryJob): Promise<MemoryReport> => runProgram('memory', job) as Promise<MemoryReport>

async function measure(context: Context): Promise<Measurement> {
  const { row, contestant, directory, kept } = context
  const task = row.params['task']
  const bytes = Number(row.params['bytes'])
  if (task === 'idle') return measureIdle(join(kept, 'store'))
  if (task === 'stall') return measureStall(context)
  if (task === 'append') return figures(await run({ task, engine: contestant, directory, bytes }))
  if (task === 'scan') return figures(await run({ task, engine: contestant, directory: kept, kind: 'lazy' }))
  const { bavail, bsize } = statfsSync(directory)
  const fits = bavail * bsize > bytes * ROOM
  const keepBytes = fits ? bytes : KEPT_BYTES
  const measured = figures(await run({ task: 'round-trip', directory, bytes, keepBytes }))
  const kb = `${keepBytes / GB} GB`
  const note = `the disk has no room for all of it: the last ${kb} were kept, and scanned again until the sum was reached`
  return fits ? measured : { ...measured, note }
}

function figures({ most, now, bytes, milliseconds }: MemoryReport): Measurement {
  return {
    value: most / MB,
    extras: { 'at the end MB': now / MB, 'MB/s': bytes / 1e3 / milliseconds },
    settings:
      'VmHWM of a process that does nothing else; 1,000 records of 100 B an append, 8 at a time, durability none'
  }
}

async function measureIdle(directory: string): Promise<Measurement> {
  const bare = await run({ task: 'bare' })
  const { now, most } = await run({ task: 'idle', directory, topic: TOPIC, partitions: PARTITIONS })
  return {
    value: Math.max(0, now - bare.now) / MB,
    extras: { 'resident MB': now / MB, 'most MB': most / MB, 'bare Node MB': bare.now / MB },
    settings: 'VmRSS a second after the last of 1,000 logs was opened, less that of a process that only waits'
  }
}

async function measureStall({ row, directory, scale }: Context): Promise<Measurement> {
  const level = row.params['level'] as 'written' | 'synced'
  const { stall, bytes } = await run({ task: 'stall', directory, level, milliseconds: STALL_MS * scale.factor })
  const { p50, p99, p999, max } = stall!
  return {
    value: p999,
    extras: { 'p50 ms': p50, 'p99 ms': p99, 'max ms': max, 'MB/s': bytes / 1e3 / (STALL_MS * scale.factor) },
    settings:
      'monitorEventLoopDelay, resolution 1 ms, which every figure contains; 8 appends of 1,000 records wait at any time'
  }
}

export const question: Question = {
  name: 'memory',
  asks: 'How much memory does a log take, and how long does it keep the event loop?',
  about:
    'Appends and scans 1 GB of 100 B records, and once 10 GB, in processes that do nothing else; the figure is the most ' +
    'that was resident, Node itself (about 45 MB) included. Idle: 1,000 open logs against a bare process. Stall: the ' +
    'time between two turns of a timer that is due every millisecond, 99.9th percentile, while eight appends of 1,000 ' +
    'records always wait. Decided by arenas, read buffers and how soon V8 collects what a scan leaves; expect about ' +
    '100 MB whatever the size of the log.',
  rows,
  prepare,
  measure
}
