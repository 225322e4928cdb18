/**
 * One run: the disk alone, then the engine on it, then what both mean.
 *
 * Space: at most half of `sizeBytes` for the file that is written and read, then up to three files of a quarter. One
 * after the other, each removed before the next begins.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { MiB } from '../util/sizes.ts'
import { type Bounds, FILE_SHARE, FULL, PIECE_BYTES, QUICK, SMALL_SHARE } from './bounds.ts'
import { coldCopy } from './cold-copy.ts'
import { DeviceReads } from './device-reads.ts'
import { coldReads, type ReadFileOptions, warmReads } from './disk-reads.ts'
import { Content, planned, sequentialWrite } from './disk-writes.ts'
import {
  durableAppends,
  type EngineOptions,
  LARGE,
  removeStore,
  SMALL,
  undurableAppends,
  warmUpAppends,
  withLog
} from './engine-appends.ts'
import { recovery, SIGNS_OF_A_CLEAN_END, scans } from './engine-reads.ts'
import { deviceFacts, machineFacts } from './machine-facts.ts'
import { Pace, secondsSince } from './pace.ts'
import { type BenchReport, REPORT_KIND, REPORT_VERSION, ROW_IDS, type Row, type RowId } from './report.ts'
import { withLimit } from './rows.ts'
import { withScratch } from './scratch.ts'
import { syncLatency } from './sync-latency.ts'
import { adviseDurability, judgeSync } from './verdict.ts'

export interface RunOptions {
  /** A folder on the disk to measure. */
  readonly dir: string
  readonly sizeBytes: number
  readonly quick: boolean
  /** Of heartwood, for the report. */
  readonly version: string
  readonly signal: AbortSignal
  /** Told before each phase begins, `PHASES` times. */
  readonly onPhase: (name: string) => void
}

export const PHASES = 12

const WARM_UP_BYTES = 8 * MiB

/**
 * Measures the disk under `dir`. Leaves nothing behind, whether it ends, fails or is interrupted.
 *
 * @throws {LogError} ABORTED, INVALID_REQUEST, NO_SPACE, PERMISSION_DENIED, STORAGE_FAILED.
 */
export async function runDiskBench(options: RunOptions): Promise<BenchReport> {
  const { dir, sizeBytes, quick } = options
  const date = new Date().toISOString()
  const begun = performance.now()
  return withScratch(dir, sizeBytes, async folder => {
    const device = deviceFacts(folder)
    const machine = machineFacts()
    const work: Work = {
      folder,
      sizeBytes,
      bounds: quick ? QUICK : FULL,
      pace: new Pace(options.signal),
      content: new Content(randomBytes(8 * MiB)),
      reads: new DeviceReads(device),
      onPhase: options.onPhase
    }
    const disk = await measureDisk(work)
    const rows = [...disk.rows, ...(await measureEngine(work, disk))]
    const find = (id: RowId): Row | undefined => rows.find(row => row.id === id)
    const sync = judgeSync({ device, machine, p50Us: find('sync-overwrite-4k')?.latency?.p50Us })
    const durability = adviseDurability({
      sync: sync.verdict,
      append4k: find('sync-append-4k')?.latency,
      acks1: find('durable-1')?.perSecond,
      acks64: find('durable-64')?.perSecond,
      recordsPerSecond: find('append-100b-synced')?.perSecond
    })
    return {
      kind: REPORT_KIND,
      version: REPORT_VERSION,
      heartwood: options.version,
      date,
      dir: fs.realpathSync(dir),
      sizeBytes,
      quick,
      seconds: Math.round(secondsSince(begun) * 10) / 10,
      machine,
      device,
      rows: withLimits(rows),
      sync,
      durability
    }
  })
}

interface Work extends EngineOptions {
  readonly folder: string
  readonly sizeBytes: number
  readonly bounds: Bounds
  readonly reads: DeviceReads
  readonly onPhase: (name: string) => void
}

interface DiskResult {
  readonly rows: readonly Row[]
  readonly writtenPerSecond: number
  readonly readPerSecond: number
}

async function measureDisk({ folder, sizeBytes, bounds, pace, content, reads, onPhase }: Work): Promise<DiskResult> {
  onPhase('sequential write')
  const fileBytes = wholePieces(sizeBytes * FILE_SHARE)
  const file = await sequentialWrite(folder, fileBytes, bounds, pace, content)
  const toRead: ReadFileOptions = { path: file.path, bytes: file.bytes, pace, reads }
  onPhase('cold reads')
  const cold = await coldReads(toRead, bounds)
  onPhase('warm reads')
  const warm = await warmReads(toRead, bounds)
  fs.rmSync(file.path)
  const { bytesPerSecond } = file
  const small = { fileBytes: wholePieces(sizeBytes * SMALL_SHARE), bytesPerSecond, syncMs: bounds.syncMs }
  const syncs = await syncLatency(folder, { ...small, pace, content }, () => onPhase('fdatasync'))
  return {
    rows: [...file.rows, ...cold, ...warm, ...syncs],
    writtenPerSecond: bytesPerSecond,
    readPerSecond: cold[0]?.bytesPerSecond ?? bytesPerSecond
  }
}

async function measureEngine(work: Work, disk: DiskResult): Promise<Row[]> {
  const { folder, sizeBytes, bounds, pace, content, reads, onPhase } = work
  const share = wholePieces(sizeBytes * SMALL_SHARE)
  const writable = planned(share, disk.writtenPerSecond, bounds.appendMs)
  const mostMs = bounds.appendMs
  const rows: Row[] = []
  onPhase('warming up')
  await warmUp(work, Math.min(WARM_UP_BYTES, share / 8))
  onPhase('appends')
  const large = join(folder, 'append-1k')
  rows.push(
    ...(await withLog(large, 'none', log =>
      undurableAppends(log, LARGE, { wantedBytes: share, mostBytes: writable, mostMs }, work)
    ))
  )
  removeStore(large)

  onPhase('durable appends')
  const durable = join(folder, 'durable')
  await withLog(durable, 'batch', async log => {
    for (const writers of [1, 64] as const)
      rows.push(await durableAppends(log, writers, bounds.durableMs, { pace, content }))
  })
  removeStore(durable)

  onPhase('appends')
  const small = join(folder, 'append-100b')
  const torn = join(folder, 'torn')
  const cold = join(folder, 'cold')
  const readable = planned(share, disk.readPerSecond, bounds.recoveryMs)
  await withLog(small, 'none', async log => {
    const mostBytes = Math.min(writable, readable)
    rows.push(...(await undurableAppends(log, SMALL, { wantedBytes: share, mostBytes, mostMs }, work)))
    // As a crash would find it now, the store still open.
    await coldCopy(small, torn, SIGNS_OF_A_CLEAN_END, pace)
  })
  await coldCopy(small, cold, new Set(), pace)
  removeStore(small)

  onPhase('scan')
  rows.push(...(await scans({ dir: cold, mostMs: bounds.scanMs, pace, reads })))
  onPhase('recovery')
  rows.push(await recovery(torn, reads))
  return rows
}

/** Every path that will be measured, run once on little: what is not compiled yet is not what a disk does. */
async function warmUp(work: Work, mostBytes: number): Promise<void> {
  const { folder, bounds, pace, reads } = work
  const [dir, torn] = [join(folder, 'warm-up'), join(folder, 'warm-up-torn')]
  await warmUpAppends(dir, mostBytes, work)
  await coldCopy(dir, torn, SIGNS_OF_A_CLEAN_END, pace)
  await scans({ dir, mostMs: bounds.scanMs, pace, reads })
  await recovery(torn, reads)
  removeStore(dir)
  removeStore(torn)
}

/** Each row of the engine beside what the disk does for the same work, in the order of the list. */
function withLimits(rows: readonly Row[]): Row[] {
  const find = (id: RowId): Row | undefined => rows.find(row => row.id === id)
  const limitOf = (row: Row): Row => {
    switch (row.id) {
      case 'append-100b':
      case 'append-1k':
        return withLimit(row, find('sequential-write-cached'), { name: 'write into memory', by: 'bytesPerSecond' })
      case 'append-100b-synced':
      case 'append-1k-synced':
        return withLimit(row, find('sequential-write'), { name: 'write, synced', by: 'bytesPerSecond' })
      case 'durable-1':
        return withLimit(row, find('sync-append-4k'), { name: 'a sync for each', by: 'perSecond' })
      case 'durable-64':
        return withLimit(row, find('sync-append-4k'), { name: 'a sync for 64', by: 'perSecond', times: 64 })
      case 'scan-cold':
      case 'recovery':
        return withLimit(row, find('sequential-read-cold'), { name: 'sequential read', by: 'bytesPerSecond' })
      case 'scan-warm':
        return withLimit(row, find('sequential-read-warm'), { name: 'sequential read', by: 'bytesPerSecond' })
      default:
        return row
    }
  }
  return ROW_IDS.flatMap(id => find(id) ?? []).map(limitOf)
}

function wholePieces(bytes: number): number {
  return Math.max(Math.floor(bytes / PIECE_BYTES), 1) * PIECE_BYTES
}
