/** Leader epochs across a recovery that does not read the log from its beginning. */
import t, { type Test } from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { formatProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { IndexBuilder } from '../../lib/segment/index-builder.ts'
import { closeLoaded, load } from '../helpers/loading.ts'
import { batch, DIR, file, markBehind, memoryFolder, putWatermark } from '../helpers/partition-folder.ts'

const epochOf = (offset: number): number => (offset < 3 ? 0 : offset < 9 ? 1 : 2)
const all = Array.from({ length: 12 }, (_, offset) => batch(offset, { leaderEpoch: epochOf(offset) }))
const RECORDED = { 'leader-epoch-checkpoint': '0\n3\n0 0\n1 3\n2 9\n' }

/** The second recovery reads all of it, and is to find every batch to be of the epoch that is recorded. */
async function staysRecorded(t: Test, fs: MemoryFileSystem, recoveryPoint: number): Promise<void> {
  for (const point of [recoveryPoint, 0]) {
    const log = await load({ fs, dir: DIR, recoveryPoint: point })
    const starts = log.epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset])
    t.same(starts, [[0, 0], [1, 3], [2, 9]], `from ${point} on`) // biome-ignore format: a table
    t.equal(log.report.scannedBatches < all.length, point > 0)
    await closeLoaded(log, false)
  }
}

t.test('epochs that began in a segment that is not scanned stay where they began', async t => {
  const fs = await memoryFolder({
    [file(0)]: Buffer.concat(all.slice(0, 6)),
    [file(0, '.index')]: '',
    [file(0, '.timeindex')]: '',
    [file(6)]: Buffer.concat(all.slice(6)),
    [file(6, '.snapshot')]: formatProducerSnapshot([]),
    ...RECORDED
  })
  await putWatermark(fs, markBehind(6, all.slice(6)))
  await staysRecorded(t, fs, 6)
})

t.test('so do those that began in the part of a segment that is not scanned', async t => {
  const builder = IndexBuilder.empty(0)
  let position = 0
  for (const [offset, bytes] of all.slice(0, 8).entries()) {
    builder.add(position, offset, 1_700_000_000_000 + offset, { indexIntervalBytes: 0, indexBytes: 1 << 20 })
    position += bytes.length
  }
  const fs = await memoryFolder({
    [file(0)]: Buffer.concat(all),
    [file(0, '.index')]: builder.offsets.bytes(0),
    [file(0, '.timeindex')]: builder.times.bytes(0),
    [file(8, '.snapshot')]: formatProducerSnapshot([]),
    ...RECORDED
  })
  await putWatermark(fs, markBehind(0, all))
  await staysRecorded(t, fs, 8)
})
