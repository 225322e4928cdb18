/** The engine on this disk: appends that are not synced, and appends of which each is. */
import fs from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { Durability } from '../log/log-config.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { RecordInput } from '../record/record.ts'
import { Store } from '../store/store.ts'
import type { Content } from './disk-writes.ts'
import { Latencies } from './latencies.ts'
import { type Pace, secondsSince } from './pace.ts'
import type { Row } from './report.ts'
import { cutShort, row } from './rows.ts'

export const TOPIC = 'bench'

/** Appends under way at a time, so that the log never waits for its caller. */
const WINDOW = 8

export interface Shape {
  readonly recordsEach: number
  readonly valueBytes: number
  readonly row: 'append-100b' | 'append-1k'
}

export const SMALL: Shape = { recordsEach: 1000, valueBytes: 100, row: 'append-100b' }
export const LARGE: Shape = { recordsEach: 100, valueBytes: 1024, row: 'append-1k' }

export interface EngineOptions {
  readonly pace: Pace
  readonly content: Content
}

/** Lets `work` use a log in a new store of its own, and closes it; `removeStore` removes it. */
export async function withLog<T>(
  dir: string,
  durability: Durability,
  work: (log: PartitionLog) => Promise<T>
): Promise<T> {
  // What a network file system promises is what the run is about to say something on.
  const store = await Store.open(dir, { forceUnsafeFileSystem: true })
  let result: T
  try {
    await store.createTopic(TOPIC, { configs: { 'heartwood.durability': durability } })
    result = await work(await store.openLog(TOPIC, 0))
  } catch (error) {
    // Closing may fail for the same reason, a full disk; what went wrong first is what is told.
    await store.close().catch(() => {})
    throw error
  }
  await store.close()
  return result
}

export function removeStore(dir: string): void {
  fs.rmSync(dir, { recursive: true, force: true })
}

/** Appends of both shapes, in turn, that nobody measures: the compiler sees the code that will be. */
export async function warmUpAppends(dir: string, mostBytes: number, { pace, content }: EngineOptions): Promise<void> {
  await withLog(dir, 'none', async log => {
    for (const shape of [SMALL, LARGE, SMALL, LARGE])
      await appendFor(log, shape, { mostBytes, mostMs: 300, pace, content })
    await log.sync()
  })
}

export interface AppendBounds {
  /** What a disk that is fast enough takes. */
  readonly wantedBytes: number
  /** What this one can be asked to take in the time there is. */
  readonly mostBytes: number
  readonly mostMs: number
}

/**
 * Appends at durability `none` until bytes or time run out: one row for the acknowledged appends, one with the sync
 * that makes them durable.
 */
export async function undurableAppends(
  log: PartitionLog,
  shape: Shape,
  bounds: AppendBounds,
  { pace, content }: EngineOptions
): Promise<Row[]> {
  const begun = performance.now()
  const records = await appendFor(log, shape, { ...bounds, pace, content })
  const seconds = secondsSince(begun)
  await log.sync()
  const syncedSeconds = secondsSince(begun)
  const bytes = sizeOf(log)
  const whole = bytes >= bounds.wantedBytes ? { cut: false } : cutShort(bytes, bounds.wantedBytes)
  return [
    row(shape.row, { operations: records, bytes, seconds, ...whole }),
    row(`${shape.row}-synced`, { operations: records, bytes, seconds: syncedSeconds, ...whole })
  ]
}

/** @returns how many records. */
async function appendFor(
  log: PartitionLog,
  { recordsEach, valueBytes }: Shape,
  { mostBytes, mostMs, pace, content }: Omit<AppendBounds, 'wantedBytes'> & EngineOptions
): Promise<number> {
  const records = Array.from({ length: recordsEach }, (): RecordInput => ({ value: content.piece(valueBytes) }))
  const end = performance.now() + mostMs
  const underWay: Promise<unknown>[] = []
  let appended = 0
  try {
    while (appended * valueBytes < mostBytes && performance.now() < end) {
      underWay.push(log.append(records))
      appended += recordsEach
      if (underWay.length >= WINDOW) await underWay.shift()
      if (pace.isDue) await pace.breathe()
    }
  } finally {
    // Also those that nobody waits for when one has failed.
    await settled(underWay)
  }
  return appended
}

/** One record an append, each acknowledged after its sync, by so many writers at a time. */
export async function durableAppends(
  log: PartitionLog,
  writers: 1 | 64,
  ms: number,
  { pace, content }: EngineOptions
): Promise<Row> {
  await appendTogether(log, writers, ms / 10, new Latencies(), { pace, content })
  const acknowledged = new Latencies()
  const bytesBefore = sizeOf(log)
  const begun = performance.now()
  const operations = await appendTogether(log, writers, ms, acknowledged, { pace, content })
  const seconds = secondsSince(begun)
  return row(writers === 1 ? 'durable-1' : 'durable-64', {
    operations,
    bytes: sizeOf(log) - bytesBefore,
    seconds,
    latency: acknowledged.summary(),
    cut: false
  })
}

async function appendTogether(
  log: PartitionLog,
  writers: number,
  ms: number,
  latencies: Latencies,
  { pace, content }: EngineOptions
): Promise<number> {
  const end = performance.now() + ms
  let appended = 0
  const write = async (): Promise<void> => {
    const record = [{ value: content.piece(SMALL.valueBytes) }]
    do {
      const begun = performance.now()
      await log.append(record)
      latencies.add(performance.now() - begun)
      appended += 1
      pace.check()
    } while (performance.now() < end)
  }
  await settled(Array.from({ length: writers }, write))
  return appended
}

/** Waits for all of them, and fails as the first that failed. */
async function settled(promises: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) if (result.status === 'rejected') throw result.reason
}

function sizeOf(log: PartitionLog): number {
  return log.segments().reduce((sum, segment) => sum + segment.bytes, 0)
}
