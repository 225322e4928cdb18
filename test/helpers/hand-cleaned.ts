import type { FileSystem } from '../../lib/fs/file-system.ts'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import type { LogView } from '../../lib/log/maintenance.ts'
import type { CleanedSegment } from '../../lib/log/segment-swap.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { filePath, segmentFileName } from '../../lib/segment/file-names.ts'
import { Segment, type TransactionsDigest } from '../../lib/segment/segment.ts'
import { readFile } from './partition-folder.ts'
import { segmentEnv } from './segments.ts'

/**
 * Writes what a cleaner would that keeps the batches which `keep` says, out of all sealed segments into one: for tests
 * of what becomes of it.
 */
export async function cleanByHand(
  fs: FileSystem,
  dir: string,
  view: LogView,
  keep: (batch: BatchView) => boolean
): Promise<{ sources: number[]; cleaned: CleanedSegment[] }> {
  const sealed = view.segments.filter(({ active }) => !active)
  const sources = sealed.map(({ baseOffset }) => baseOffset)
  const base = sources[0] as number
  const handles = new HandleCache(fs)
  const { env } = segmentEnv({ fs, handles, indexIntervalBytes: 150 })
  const segment = await Segment.create(env, dir, base, '.cleaned')
  for (const { baseOffset } of sealed) {
    const bytes = await readFile(fs, filePath(dir, segmentFileName(baseOffset, '.log')))
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      const { size, lastOffset, maxTimestamp } = batch
      if (keep(batch)) {
        const facts = { position: segment.size, size, baseOffset: batch.baseOffset, lastOffset, maxTimestamp }
        await segment.write(bytes.subarray(at, batch.end), [facts])
      }
      at = batch.end
    }
  }
  await segment.seal()
  const transactions = (await segment.digestOfTransactions()) as TransactionsDigest
  await segment.close({ clean: false })
  await handles.close()
  return {
    sources,
    cleaned: [{ baseOffset: base, bytes: segment.size, nextOffset: segment.nextOffset ?? base, transactions }]
  }
}
