/** Heartwood as a program uses it: through a store, with default settings but for the durability. */
import {
  BatchView,
  type LazyRecord,
  type LogConfig,
  MiB,
  type PartitionLog,
  type RecordCursor,
  Store
} from '../../lib/index.ts'
import type { Appender, Engine, Level, PointReader, ScanKind, Scanner } from './engine.ts'
import { heartwoodVersion } from './load.ts'

export const TOPIC = 'bench'
export const DURABILITY = { written: 'none', synced: 'batch' } as const
/** A limit and no more: an append of 10,000 records of 100 B is above the default, which is Kafka's. */
export const MAX_MESSAGE_BYTES = 16 * MiB

/** The log of the benchmark in `directory`, created on first use. */
export async function openBenchLog(
  directory: string,
  config: Partial<LogConfig> = {}
): Promise<{ store: Store; log: PartitionLog }> {
  const store = await Store.open(directory)
  return { store, log: await store.openLog(TOPIC, 0, { maxMessageBytes: MAX_MESSAGE_BYTES, ...config }) }
}

async function appender(directory: string, level: Level): Promise<Appender> {
  const { store, log } = await openBenchLog(directory, { durability: DURABILITY[level] })
  return appenderOf(store, log)
}

export function appenderOf(store: Store, log: PartitionLog): Appender {
  return {
    // The acknowledgement says more than `void`; nobody here needs it.
    append: records => log.append(records) as Promise<unknown> as Promise<void>,
    close: () => store.close()
  }
}

type Tally = { records: number; bytes: number; sum: number }

// What is done with each record stands in functions of its own, as in the bare loop. A loop in the midst of an async
// function may be thrown back to unoptimised code when the function goes on behind an `await`, and stay there: of
// eager objects the same process then read a tenth.

function takePage(page: readonly LazyRecord[], tally: Tally): void {
  for (const record of page) {
    tally.bytes += record.key!.length + record.value!.length
    tally.sum += record.offset + record.timestamp
  }
  tally.records += page.length
}

async function scanPages(log: PartitionLog, tally: Tally): Promise<void> {
  for await (const page of log.records().pages()) takePage(page, tally)
}

function takeByCursor(cursor: RecordCursor, tally: Tally): void {
  let bytes = 0
  let sum = 0
  while (cursor.next()) {
    sum += cursor.offset + cursor.timestamp
    bytes += cursor.keyEnd - cursor.keyStart + (cursor.valueEnd - cursor.valueStart)
  }
  tally.records += cursor.batch.recordCount
  tally.bytes += bytes
  tally.sum += sum
}

async function scanCursor(log: PartitionLog, tally: Tally): Promise<void> {
  const scan = log.scan()
  while (await scan.fill())
    for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next()) takeByCursor(cursor, tally)
}

function takeEager(batches: Buffer, tally: Tally): void {
  for (let at = 0; at < batches.length; ) {
    const batch = new BatchView(batches, at)
    const cursor = batch.records({ checkCrc: false })
    while (cursor.next()) {
      const record = cursor.toRecord()
      tally.records += 1
      tally.bytes += record.key!.length + record.value!.length
      tally.sum += record.offset + record.timestamp
    }
    at = batch.end
  }
}

/** Objects that may be kept, and so in memory that is theirs. The read has checked each batch's CRC. */
async function scanEager(log: PartitionLog, tally: Tally): Promise<void> {
  for await (const { batches } of log.batches()) takeEager(batches, tally)
}

const SCANS = { cursor: scanCursor, lazy: scanPages, eager: scanEager }

async function scanner(directory: string, kind: ScanKind): Promise<Scanner> {
  const { store, log } = await openBenchLog(directory)
  return {
    async scan() {
      const tally = { records: 0, bytes: 0, sum: 0 }
      await SCANS[kind](log, tally)
      if (tally.sum < 0) throw new Error('offsets and timestamps are not negative')
      return { records: tally.records, bytes: tally.bytes }
    },
    close: () => store.close()
  }
}

/** Without a cache: with the smallest there is, which holds a hundredth of the log. */
async function pointReader(directory: string, { cacheBytes }: { cacheBytes: number }): Promise<PointReader> {
  const store = await Store.open(directory, { batchCacheBytes: Math.max(cacheBytes, 1 * MiB) })
  const log = await store.openLog(TOPIC, 0, { maxMessageBytes: MAX_MESSAGE_BYTES })
  return {
    async get(offset) {
      const record = await log.get(offset)
      if (record?.offset !== offset) throw new Error(`looked for ${offset}, found ${record?.offset}`)
      return record.value!.length
    },
    close: () => store.close()
  }
}

export const engine: Engine = {
  name: 'heartwood',
  settings: level =>
    `Store.openLog, heartwood.durability=${DURABILITY[level]}, max.message.bytes=${MAX_MESSAGE_BYTES} (a limit only), otherwise defaults: CRC, indexes, producer state and recovery point are kept`,
  version: heartwoodVersion,
  appender,
  scanner,
  pointReader
}
