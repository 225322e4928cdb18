/** The counts of `npm run bench:check`: what a busy machine does not change. */
import { join } from 'node:path'
import { nodeFileSystem } from '../../lib/fs/index.ts'
import { PartitionLog, sharedParts } from '../../lib/index.ts'
import type { AllocationJob, AllocationReport } from '../programs/allocations.ts'
import { CountingFileSystem } from './counting-file-system.ts'
import { appendsOf, recordPool } from './data.ts'
import { runProgram } from './program.ts'

/** @param directory - empty, the count's own. */
export type Count = (directory: string) => Promise<number>

const RECORD_BYTES = 100
const MB = 1e6

export const COUNTS: Readonly<Record<string, Count>> = {
  'heap bytes a record, append x1000': heapBytes({ path: 'append', records: 1e6, recordsPerAppend: 1000 }),
  'heap bytes an append of one record': heapBytes({ path: 'append', records: 1e5, recordsPerAppend: 1 }),
  'heap bytes a record, cursor': heapBytes({ path: 'cursor', records: 1e6, recordsPerAppend: 1000 }),
  'heap bytes a record, lazy': heapBytes({ path: 'lazy', records: 1e6, recordsPerAppend: 1000 }),
  'calls a MB written, append x1000': callsToAppend(1000, 1),
  'calls a MB written, append x10, 64 at a time': callsToAppend(10, 64),
  'calls a MB read, scan': callsToScan
}

/**
 * Compiled on the main thread, code is compiled after as many calls each time. Otherwise it may happen that a getter
 * is not inlined, and its number goes to the heap, in one run out of two.
 */
const ALLOCATION_FLAGS = ['--no-concurrent-recompilation']

function heapBytes(job: Omit<AllocationJob, 'directory'>): Count {
  return async directory => {
    const options = { flags: ALLOCATION_FLAGS }
    const report = (await runProgram('allocations', { ...job, directory }, options)) as AllocationReport
    return report.bytesPerRecord
  }
}

async function openCounted(directory: string): Promise<{ log: PartitionLog; counted: CountingFileSystem }> {
  const counted = new CountingFileSystem(nodeFileSystem)
  const log = await PartitionLog.open({
    dir: join(directory, 'log-0'),
    topic: 'log',
    partition: 0,
    config: { durability: 'none' },
    shared: sharedParts({ fs: counted.fs })
  })
  return { log, counted }
}

/** @returns payload bytes. */
async function append(log: PartitionLog, recordsPerAppend: number, atATime: number): Promise<number> {
  const batches = appendsOf(recordPool({ keyBytes: 10, valueBytes: RECORD_BYTES - 10 }), recordsPerAppend)
  const turns = Math.ceil((50 * MB) / (RECORD_BYTES * recordsPerAppend * atATime))
  for (let turn = 0; turn < turns; turn += 1) {
    const waiting = Array.from({ length: atATime }, (_, i) => log.append(batches[(turn + i) % batches.length]!))
    await Promise.all(waiting)
  }
  return turns * atATime * recordsPerAppend * RECORD_BYTES
}

function callsToAppend(recordsPerAppend: number, atATime: number): Count {
  return async directory => {
    const { log, counted } = await openCounted(directory)
    counted.reset()
    const bytes = await append(log, recordsPerAppend, atATime)
    const calls = counted.calls()
    await log.close()
    return calls / (bytes / MB)
  }
}

async function callsToScan(directory: string): Promise<number> {
  const written = await openCounted(directory)
  const bytes = await append(written.log, 1000, 1)
  await written.log.close()
  const { log, counted } = await openCounted(directory)
  counted.reset()
  let read = 0
  for await (const { batches } of log.batches()) read += batches.length
  const calls = counted.calls()
  await log.close()
  if (read < bytes) throw new Error(`a scan read ${read} of ${bytes} bytes`)
  return calls / (bytes / MB)
}
