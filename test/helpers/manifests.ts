import type { FileSystem } from '../../lib/fs/file-system.ts'
import { type ActiveSegment, type Manifest, readManifest } from '../../lib/log/manifest.ts'
import { changedTransactions } from '../../lib/log/segment-check.ts'
import { digestOf } from '../../lib/log/segment-digest.ts'
import { filePath, segmentFileName } from '../../lib/segment/file-names.ts'
import type { ManualClock } from './manual-clock.ts'

/** Lets the second pass after which a manifest is written, until it names `count` segments with their digests. */
export async function manifestWith(fs: FileSystem, dir: string, clock: ManualClock, count: number): Promise<Manifest> {
  for (let round = 0; round < 200; round += 1) {
    clock.advance(1000)
    for (let turn = 0; turn < 10; turn += 1) await new Promise(resolve => setImmediate(resolve))
    const manifest = await readManifest(fs, dir)
    const isWhole = manifest?.sealed.every(({ digest }) => digest !== undefined) === true
    if (isWhole && manifest.sealed.length === count) return manifest
  }
  throw new Error(`no manifest with ${count} digests in ${dir}`)
}

/** What the manifest in a folder says that is not so, for people; M2 of manifest.ts. */
export async function untruths(fs: FileSystem, dir: string, logStartOffset: number): Promise<string[]> {
  const manifest = await readManifest(fs, dir)
  const found: string[] = []
  for (const { baseOffset, bytes, nextOffset, digest, transactions } of manifest?.sealed ?? []) {
    const path = filePath(dir, segmentFileName(baseOffset, '.log'))
    if ((await fs.stat(path)) === undefined) {
      if (nextOffset > Math.max(logStartOffset, manifest?.logStartOffset ?? 0)) found.push(`${baseOffset} is gone`)
      continue
    }
    const is = await digestOf(fs, path)
    if (is.bytes !== bytes) found.push(`${baseOffset} has ${is.bytes} bytes, not ${bytes}`)
    if (digest !== undefined && is.digest?.hash !== digest.hash) found.push(`${baseOffset} has another digest`)
    const changed = await changedTransactions(fs, dir, baseOffset, transactions)
    if (changed !== undefined) found.push(changed.message)
  }
  return found
}

/** Of a log that was not closed in good order since. */
export function activeAt(baseOffset: number): ActiveSegment {
  return { baseOffset, nextOffset: undefined, transactions: undefined }
}
