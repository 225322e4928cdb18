/** What becomes of transactions when a segment is taken away that ends them. */
import { join } from 'node:path'
import t from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { repairDirectory } from '../../lib/verify/repair.ts'
import { verifyDirectory } from '../../lib/verify/verify.ts'
import { change, FILE, flip, INDEX, made, open, within } from './transactions-directory.ts'

t.setTimeout(200_000)

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
