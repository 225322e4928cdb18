/** The engine on this disk: scanning a log, and opening one that was not closed. */
import fs from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { PartitionLog } from '../log/partition-log.ts'
import { Store } from '../store/store.ts'
import { LogError } from '../util/errors.ts'
import type { DeviceReads } from './device-reads.ts'
import { TOPIC } from './engine-appends.ts'
import { type Pace, secondsSince } from './pace.ts'
import type { Row } from './report.ts'
import { row } from './rows.ts'

/** What tells an engine that a directory was closed cleanly, or up to where its logs were synced. */
export const SIGNS_OF_A_CLEAN_END: ReadonlySet<string> = new Set([
  '.kafka_cleanshutdown',
  'recovery-point-offset-checkpoint',
  'heartwood-watermark'
])

/** Cut off the end of the log, so that its last batch is torn. */
const TORN_BYTES = 57

export interface ScanOptions {
  /** A closed store. */
  readonly dir: string
  readonly mostMs: number
  readonly pace: Pace
  readonly reads: DeviceReads
}

/** Reads all records, CRCs checked, twice: the first time they come from where the caller has put them. */
export async function scans({ dir, mostMs, pace, reads }: ScanOptions): Promise<Row[]> {
  const store = await Store.open(dir, { readOnly: true })
  try {
    const log = await store.openLog(TOPIC, 0)
    const cold = await scan('scan-cold', log, mostMs, pace, reads)
    return [cold, await scan('scan-warm', log, mostMs, pace, reads)]
  } finally {
    await store.close()
  }
}

async function scan(
  id: 'scan-cold' | 'scan-warm',
  log: PartitionLog,
  mostMs: number,
  pace: Pace,
  reads: DeviceReads
): Promise<Row> {
  const count = reads.begin(id === 'scan-cold' ? 'cold' : 'warm')
  const begun = performance.now()
  let expected = 0
  let cut = false
  for await (const page of log.records().pages()) {
    for (const { offset } of page) {
      if (offset !== expected) throw notAsWritten(`record ${offset} where ${expected} was written`, log.dir)
      expected += 1
    }
    if (pace.isDue) await pace.breathe()
    if ((cut = performance.now() - begun > mostMs)) break
  }
  const seconds = secondsSince(begun)
  if (!cut && expected !== log.highWatermark)
    throw notAsWritten(`${expected} records of ${log.highWatermark} that were written`, log.dir)
  const bytes = Math.round((sizeOf(log) * expected) / log.highWatermark)
  return row(id, { operations: expected, bytes, seconds, cut, ...count.end(bytes) })
}

/**
 * Opens a store as a crash leaves it: no marker, nothing known to be synced, the last batch torn. All of the log is
 * read and checked; what is torn is cut off.
 *
 * @param dir - a copy of a store, without `SIGNS_OF_A_CLEAN_END`; changed.
 */
export async function recovery(dir: string, reads: DeviceReads): Promise<Row> {
  const bytes = tear(dir)
  const count = reads.begin('cold')
  const begun = performance.now()
  const store = await Store.open(dir, { forceUnsafeFileSystem: true })
  const seconds = secondsSince(begun)
  const origin = count.end(bytes)
  try {
    const log = await store.openLog(TOPIC, 0)
    const { scannedBytes, truncatedBytes } = log.recovery
    if (truncatedBytes === 0 || scannedBytes + truncatedBytes < bytes)
      throw notAsWritten(`${scannedBytes} sound bytes and ${truncatedBytes} torn ones of ${bytes}`, log.dir)
    return row('recovery', { operations: log.logEndOffset, bytes, seconds, cut: false, ...origin })
  } finally {
    await store.close()
  }
}

/** @returns bytes that are left. */
function tear(dir: string): number {
  const folder = join(dir, `${TOPIC}-0`)
  const names = fs.readdirSync(folder).filter(name => name.endsWith('.log'))
  const sizes = names.sort().map(name => fs.statSync(join(folder, name)).size)
  const last = names.at(-1) as string
  fs.truncateSync(join(folder, last), Math.max((sizes.at(-1) as number) - TORN_BYTES, 0))
  return sizes.reduce((sum, size) => sum + size, -TORN_BYTES)
}

/** Neither the engine's figures nor the disk are worth anything then. */
function notAsWritten(what: string, path: string): LogError {
  return new LogError('STORAGE_FAILED', `the disk did not give back what was written: ${what} in ${path}`, { path })
}

function sizeOf(log: PartitionLog): number {
  return log.segments().reduce((sum, segment) => sum + segment.bytes, 0)
}
