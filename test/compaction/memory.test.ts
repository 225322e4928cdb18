import t from 'tap'
import { cleanLog } from '../../lib/compaction/cleaner.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { systemClock } from '../../lib/util/clock.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { inputFor } from '../helpers/cleaning.ts'
import { file, putFiles } from '../helpers/partition-folder.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('a cleaning takes the memory of its map and a few pieces, however large the log (C4)', async t => {
  const dir = await tempDir(t)
  const value = Buffer.alloc(1000, 'v')
  const segment = (base: number): Buffer => {
    const batches: Buffer[] = []
    for (let offset = base; offset < base + 16_000; offset += 16) {
      const records = Array.from({ length: 16 }, (_, i) => ({ key: `k${(offset + i) % 5000}`, value }))
      batches.push(encodeBatch(records, { now: 1, baseOffset: offset }))
    }
    return Buffer.concat(batches)
  }
  for (let base = 0; base < 64_000; base += 16_000) await putFiles(nodeFileSystem, { [file(base)]: segment(base) }, dir)
  await putFiles(nodeFileSystem, { [file(64_000)]: '' }, dir)
  const input = await inputFor({ fs: nodeFileSystem, dir, settings: { segmentBytes: 1 } })
  const bytes = input.segments.reduce((sum, source) => sum + source.bytes, 0)
  t.ok(bytes > 60 * MiB)
  const before = process.memoryUsage().arrayBuffers
  let most = 0
  const { keys, mapBytes } = await cleanLog(input, {
    fs: nodeFileSystem,
    clock: systemClock,
    onGroup: () => undefined,
    onProgress: () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    }
  })
  t.equal(keys, 5000)
  t.ok(mapBytes <= 1 * MiB)
  // Pieces of one reader that the collector has not got to yet are among it.
  t.ok(most < mapBytes + 12 * MiB, `${most} bytes beside a log of ${bytes}`)
})
