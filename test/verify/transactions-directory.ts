/** A small directory in memory with transactions that reach over segments, to be damaged and repaired. */
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { Store } from '../../lib/store/store.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'

export const FILE = 't-0/00000000000000000004.log'
export const INDEX = '/data/t-0/00000000000000000004.txnindex'
const ABORTED = { producerId: 7, producerEpoch: 0 }
const COMMITTED = { producerId: 8, producerEpoch: 0 }

/**
 * Offsets 0 and 1 of a transaction that is aborted at 6, 2 and 3 of one that is committed at 7. Segment 4 has plain
 * records at 4 and 5, and these two markers; segment 8 a plain record.
 */
export async function made(closed: boolean): Promise<MemoryFileSystem> {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await Store.open('/data', { fs, clock, upkeep: { background: false } })
  await store.createTopic('t')
  const log = await store.openLog('t', 0)
  await log.append(numbered(2), { ...ABORTED, baseSequence: 0, transactional: true })
  await log.append(numbered(2, 2), { ...COMMITTED, baseSequence: 0, transactional: true })
  await log.roll()
  await log.append(numbered(2, 4), { ownBatch: true })
  await log.appendEndTransaction({ type: 'abort', ...ABORTED })
  await log.appendEndTransaction({ type: 'commit', ...COMMITTED })
  await log.roll()
  await log.append(numbered(1, 8))
  await log.sync()
  await clock.advanceAsync(61_000)
  const killed = fs.clone()
  await store.close()
  return closed ? fs : killed
}

export async function change(fs: MemoryFileSystem, path: string, edit: (bytes: Buffer) => void): Promise<void> {
  const bytes = Buffer.from(await readFile(fs, path))
  edit(bytes)
  const handle = await fs.open(path, 'write')
  await writeFully(handle, bytes, 0)
  await handle.sync()
  await handle.close()
}

/** Byte of the file in the middle of its batch of this number. */
export function within(bytes: Buffer, number: number): number {
  let at = 0
  for (let i = 0; i < number; i += 1) at += 12 + bytes.readInt32BE(at + 8)
  return at + 70
}

export const flip = (at: (bytes: Buffer) => number) => (bytes: Buffer) => {
  bytes[at(bytes)] = (bytes[at(bytes)] as number) ^ 1
}

export async function open(
  fs: MemoryFileSystem,
  { dir = '/data', readOnly = false }: { dir?: string; readOnly?: boolean } = {}
): Promise<Store> {
  return Store.open(dir, { fs, readOnly, clock: new ManualClock(), upkeep: { background: false } })
}
