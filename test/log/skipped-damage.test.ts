/**
 * A batch that is damaged where it says how many offsets it has looks as if it lay below what a reader asks for. It was
 * passed over without a word, and its records with it; the damage tests found that in a directory of Kafka's.
 */
import t from 'tap'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { openFaulty } from '../helpers/fault-runs.ts'
import { batch, DIR, file, memoryFolder } from '../helpers/partition-folder.ts'

const written = [0, 2, 4, 6, 8].map(baseOffset => batch(baseOffset, { count: 2, valueBytes: 2 }))
const size = written[0]!.length

/** A log whose batch `index` gets another last offset delta while it is open, as on a disk that decays. */
async function opened(index: number, delta: number, isConsistent = false): ReturnType<typeof openFaulty> {
  const damaged = Buffer.from(written[index]!)
  damaged.writeInt32BE(delta, 23)
  if (isConsistent) updateCrc(damaged, 0)
  const fs = await memoryFolder({ [file(0)]: Buffer.concat(written) })
  const log = await openFaulty(fs, 'none', { recoveryPoint: 10, logStartOffset: 0 }, true)
  const handle = await fs.open(`${DIR}/${file(0)}`, 'write')
  await writeFully(handle, damaged, index * size)
  await handle.close()
  return log
}

for (const delta of [-(2 ** 31) + 1, -1, 0]) {
  t.test(`a last offset delta of ${delta} where it was 1: read, get and streams refuse`, async t => {
    for (const index of [0, 1, 2, 3, 4]) {
      const log = await opened(index, delta)
      const offset = 2 * index + 1
      await t.rejects(log.read(offset), { code: 'CORRUPT_LOG', details: { position: index * size } }, `batch ${index}`)
      await t.rejects(log.get(offset), { code: 'CORRUPT_LOG' })
      await t.rejects(log.offsetForTimestamp(1_700_000_000_000 + 2 * index), { code: 'CORRUPT_LOG' }, 'by time')
      if (index > 0) t.equal((await log.read(0)).nextOffset, 2 * index, 'nothing damaged is in the middle of a read')
      const offsets: number[] = []
      const all = async (): Promise<void> => {
        for await (const record of log.records({ from: 'earliest' })) offsets.push(record.offset)
      }
      await t.rejects(all(), { code: 'CORRUPT_LOG' })
      t.same(offsets, [...offsets.keys()].slice(0, 2 * index), 'what is in front of it is given out')
      t.equal(offsets.length, 2 * index)
      await log.close({ clean: false })
    }
  })
}

t.test('a gap that compaction left is none: the batch before it is sound', async t => {
  const log = await opened(0, 0, true)
  t.match(await log.read(1), { baseOffset: 2 })
  t.equal(await log.get(1), undefined)
  await log.close({ clean: false })
})
