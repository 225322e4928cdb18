/**
 * Does one thing and says what it took of memory, and how long the event loop stood still: in a process of its own,
 * so that nothing else is counted. What it uses is loaded by the task that needs it, so `bare` is Node alone.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Rec, ScanKind } from '../engines/engine.ts'
import { memoryNow, mostMemory } from '../harness/process-facts.ts'
import { program } from '../harness/program.ts'

export type MemoryJob =
  | { readonly task: 'bare' }
  | { readonly task: 'idle'; readonly directory: string; readonly topic: string; readonly partitions: number }
  | { readonly task: 'append'; readonly engine: string; readonly directory: string; readonly bytes: number }
  | { readonly task: 'scan'; readonly engine: string; readonly directory: string; readonly kind: ScanKind }
  | { readonly task: 'round-trip'; readonly directory: string; readonly bytes: number; readonly keepBytes: number }
  | {
      readonly task: 'stall'
      readonly directory: string
      readonly level: 'written' | 'synced'
      readonly milliseconds: number
    }

export interface MemoryReport {
  /** Resident, bytes: at the end, and the most there ever was. */
  readonly now: number
  readonly most: number
  /** Payload appended or read, bytes. */
  readonly bytes: number
  readonly milliseconds: number
  /** Time between two turns of a timer that is due every millisecond, ms. */
  readonly stall?: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number }
}

const RECORD_BYTES = 100
const RECORDS_PER_APPEND = 1000
const APPEND_BYTES = RECORD_BYTES * RECORDS_PER_APPEND
const IN_FLIGHT = 8
const IDLE_MS = 1000

program<MemoryJob>(async (job): Promise<MemoryReport> => {
  const begin = performance.now()
  const done = await run(job)
  const milliseconds = performance.now() - begin
  return { bytes: 0, milliseconds, ...done, now: memoryNow(), most: mostMemory() }
})

async function run(job: MemoryJob): Promise<Partial<MemoryReport>> {
  if (job.task === 'idle') return idle(job)
  if (job.task === 'append') return append(job)
  if (job.task === 'scan') return scan(job)
  if (job.task === 'round-trip') return roundTrip(job)
  if (job.task === 'stall') return stall(job)
  await sleep(IDLE_MS)
  return {}
}

async function appends(): Promise<readonly (readonly Rec[])[]> {
  const { appendsOf, recordPool } = await import('../harness/data.ts')
  return appendsOf(recordPool({ keyBytes: 10, valueBytes: RECORD_BYTES - 10 }), RECORDS_PER_APPEND)
}

async function idle({ directory, topic, partitions }: MemoryJob & { task: 'idle' }): Promise<Partial<MemoryReport>> {
  const { Store } = await import('../../lib/index.ts')
  const store = await Store.open(directory)
  for (let partition = 0; partition < partitions; partition += 1) await store.openLog(topic, partition)
  await sleep(IDLE_MS)
  // Measured before it is closed, which takes memory of its own.
  const now = memoryNow()
  const most = mostMemory()
  await store.close()
  return { now, most }
}

async function append({ engine, directory, bytes }: MemoryJob & { task: 'append' }): Promise<Partial<MemoryReport>> {
  const { loadEngine } = await import('../engines/load.ts')
  const appender = await (await loadEngine(engine)).appender!(directory, 'written')
  const batches = await appends()
  const count = Math.ceil(bytes / APPEND_BYTES)
  for (let i = 0; i < count; i += 1) {
    const appended = appender.append(batches[i % batches.length]!)
    if (i % IN_FLIGHT === IN_FLIGHT - 1) await appended
  }
  await appender.close()
  return { bytes: count * APPEND_BYTES }
}

async function scan({ engine, directory, kind }: MemoryJob & { task: 'scan' }): Promise<Partial<MemoryReport>> {
  const { loadEngine } = await import('../engines/load.ts')
  const scanner = await (await loadEngine(engine)).scanner!(directory, kind)
  const { bytes } = await scanner!.scan()
  await scanner!.close()
  return { bytes }
}

/** Appends, drops the beginning where it may keep less than it writes, and reads as many bytes as it has written. */
async function roundTrip(job: MemoryJob & { task: 'round-trip' }): Promise<Partial<MemoryReport>> {
  const { openBenchLog } = await import('../engines/heartwood.ts')
  const { store, log } = await openBenchLog(job.directory, { durability: 'none' })
  const batches = await appends()
  const count = Math.ceil(job.bytes / APPEND_BYTES)
  const kept = Math.ceil(job.keepBytes / RECORD_BYTES)
  for (let i = 0; i < count; i += 1) {
    const appended = log.append(batches[i % batches.length]!)
    if (i % IN_FLIGHT === IN_FLIGHT - 1) await appended
    if (i % 1000 === 999 && log.writtenOffset > kept) await log.deleteRecordsBefore(log.writtenOffset - kept)
  }
  await log.sync()
  let bytes = 0
  while (bytes < job.bytes) {
    for await (const page of log.records().pages())
      for (const record of page) bytes += record.key!.length + record.value!.length
  }
  await store.close()
  return { bytes: count * APPEND_BYTES + bytes }
}

async function stall(job: MemoryJob & { task: 'stall' }): Promise<Partial<MemoryReport>> {
  const { loadEngine } = await import('../engines/load.ts')
  const appender = await (await loadEngine('heartwood')).appender!(job.directory, job.level)
  const batches = await appends()
  let sent = 0
  const until = async (end: number): Promise<void> => {
    while (performance.now() < end) {
      sent += 1
      await appender.append(batches[sent % batches.length]!)
    }
  }
  const appendFor = async (milliseconds: number): Promise<void> => {
    const end = performance.now() + milliseconds
    await Promise.all(Array.from({ length: IN_FLIGHT }, () => until(end)))
  }
  // What has to be compiled first is no stall of the engine.
  await appendFor(job.milliseconds / 4)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  sent = 0
  await appendFor(job.milliseconds)
  delay.disable()
  await appender.close()
  const at = (percentile: number): number => delay.percentile(percentile) / 1e6
  return { bytes: sent * APPEND_BYTES, stall: { p50: at(50), p99: at(99), p999: at(99.9), max: delay.max / 1e6 } }
}
