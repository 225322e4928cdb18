/** What becomes of transactions when a segment is taken away that ends them. */
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { Store } from '../../lib/store/store.ts'
import { repairDirectory } from '../../lib/verify/repair.ts'
import { verifyDirectory } from '../../lib/verify/verify.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'

t.setTimeout(200_000)

const FILE = 't-0/00000000000000000004.log'
const INDEX = '/data/t-0/00000000000000000004.txnindex'
const ABORTED = { producerId: 7, producerEpoch: 0 }
const COMMITTED = { producerId: 8, producerEpoch: 0 }

/**
 * Offsets 0 and 1 of a transaction that is aborted at 6, 2 and 3 of one that is committed at 7. Segment 4 has plain
 * records at 4 and 5, and these two markers; segment 8 a plain record.
 */
async function made(closed: boolean): Promise<MemoryFileSystem> {
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

async function change(fs: MemoryFileSystem, path: string, edit: (bytes: Buffer) => void): Promise<void> {
  const bytes = Buffer.from(await readFile(fs, path))
  edit(bytes)
  const handle = await fs.open(path, 'write')
  await writeFully(handle, bytes, 0)
  await handle.sync()
  await handle.close()
}

/** Byte of the file in the middle of its batch of this number. */
function within(bytes: Buffer, number: number): number {
  let at = 0
  for (let i = 0; i < number; i += 1) at += 12 + bytes.readInt32BE(at + 8)
  return at + 70
}

const flip = (at: (bytes: Buffer) => number) => (bytes: Buffer) => {
  bytes[at(bytes)] = (bytes[at(bytes)] as number) ^ 1
}

async function open(fs: MemoryFileSystem): Promise<Store> {
  return Store.open('/data', { fs, clock: new ManualClock(), upkeep: { background: false } })
}

/** Offsets that readers of committed records get, holes passed over, and how far they get. */
async function committed(fs: MemoryFileSystem): Promise<{ offsets: number[]; stable: number }> {
  const store = await open(fs)
  const log = await store.openLog('t', 0)
  const offsets: number[] = []
  for (let from = 0; from < log.lastStableOffset; ) {
    try {
      for await (const { offset } of log.records({ from, isolation: 'read_committed' })) offsets.push(offset)
      break
    } catch (error) {
      from = (error as { details: { to: number } }).details.to
    }
  }
  const stable = log.lastStableOffset
  await store.close()
  return { offsets, stable }
}

for (const closed of [true, false]) {
  const of = closed ? 'a closed log' : 'a log that was killed'

  t.test(`${of}: what was aborted and what was committed stays so when the segment goes that says it`, async t => {
    const fs = await made(closed)
    await change(
      fs,
      join('/data', FILE),
      flip(bytes => within(bytes, 0))
    )
    const { verified } = await repairDirectory('/data', { kind: 'quarantine', file: FILE }, { fs })
    t.ok(verified.sound, JSON.stringify(verified.partitions))
    t.same(await committed(fs), { offsets: [2, 3, 8], stable: 9 })
    t.ok((await fs.stat('/data/t-0/quarantine/00000000000000000004.log')) !== undefined)
    const again = await repairDirectory('/data', { kind: 'quarantine', file: FILE }, { fs })
    t.ok(again.verified.sound, 'done again it changes nothing')
    t.same(await committed(fs), { offsets: [2, 3, 8], stable: 9 })
    await repairDirectory('/data', { kind: 'rebuild' }, { fs })
    const store = await open(fs)
    await store.close()
    t.same(await committed(fs), { offsets: [2, 3, 8], stable: 9 }, 'nor does reading all of it anew')
  })

  t.test(`${of}: where the marker of an abort is damaged, the index tells what was aborted`, async t => {
    const fs = await made(closed)
    // That of a log that was killed is written with the segment's sealing.
    t.equal((await fs.stat(INDEX))?.size, 34)
    await change(
      fs,
      join('/data', FILE),
      flip(bytes => within(bytes, 1))
    )
    const { verified } = await repairDirectory('/data', { kind: 'quarantine', file: FILE }, { fs })
    t.ok(verified.sound, JSON.stringify(verified.partitions))
    t.same(await committed(fs), { offsets: [2, 3, 8], stable: 9 })
  })

  t.test(`${of}: where that is damaged too, readers wait for somebody who decides`, async t => {
    const fs = await made(closed)
    await change(
      fs,
      join('/data', FILE),
      flip(bytes => within(bytes, 1))
    )
    await change(
      fs,
      INDEX,
      flip(() => 9)
    )
    await repairDirectory('/data', { kind: 'quarantine', file: FILE }, { fs })
    t.same(await committed(fs), { offsets: [], stable: 0 })
    const store = await open(fs)
    const log = await store.openLog('t', 0)
    t.match(await log.openTransactions(), [{ producerId: 7, firstOffset: 0 }])
    await log.abortTransaction(7)
    await store.close()
    t.same(await committed(fs), { offsets: [2, 3, 8], stable: 10 })
    t.ok((await verifyDirectory('/data', { fs })).sound)
  })
}
