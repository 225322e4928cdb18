import type { FileSystem } from '../../lib/fs/file-system.ts'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { readWholeFile } from '../../lib/fs/replace-file.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { IndexCache } from '../../lib/segment/index-cache.ts'
import type { BatchFacts, IndexRebuilt, SegmentConfig, SegmentEnv } from '../../lib/segment/segment.ts'
import { GiB, MiB } from '../../lib/util/sizes.ts'
import { ManualClock } from './manual-clock.ts'

export interface SegmentEnvOptions extends Partial<SegmentConfig> {
  readonly fs?: FileSystem
  readonly handles?: HandleCache
  readonly clock?: ManualClock
  readonly indexCache?: IndexCache
}

/** What a segment needs around it, with Kafka's defaults. `rebuilt` collects what it tells about its indexes. */
export function segmentEnv(options: SegmentEnvOptions): {
  env: SegmentEnv
  clock: ManualClock
  rebuilt: IndexRebuilt[]
  close: () => Promise<void>
} {
  const fs = options.fs ?? nodeFileSystem
  const handles = options.handles ?? new HandleCache(fs)
  const clock = options.clock ?? new ManualClock()
  const rebuilt: IndexRebuilt[] = []
  const config: SegmentConfig = {
    segmentBytes: options.segmentBytes ?? 1 * GiB,
    segmentMs: options.segmentMs ?? 604_800_000,
    segmentJitterMs: options.segmentJitterMs ?? 0,
    indexBytes: options.indexBytes ?? 10 * MiB,
    indexIntervalBytes: options.indexIntervalBytes ?? 4096,
    preallocate: options.preallocate ?? false,
    cleanupPolicy: options.cleanupPolicy ?? ['delete'],
    maxCompactionLagMs: options.maxCompactionLagMs
  }
  const env: SegmentEnv = {
    fs,
    handles,
    clock,
    indexCache: options.indexCache ?? new IndexCache(),
    config: () => config,
    indexRebuilt: event => rebuilt.push(event)
  }
  return { env, clock, rebuilt, close: () => handles.close() }
}

/** As `segmentEnv`, on a file system in memory. */
export function memoryEnv(options: SegmentEnvOptions = {}): ReturnType<typeof segmentEnv> & { fs: MemoryFileSystem } {
  const fs = new MemoryFileSystem()
  return { ...segmentEnv({ ...options, fs }), fs }
}

export interface BatchOptions {
  readonly baseOffset: number
  readonly count?: number
  /** Of each value. */
  readonly valueBytes?: number
  /** Of the first record; later ones are a millisecond apart. */
  readonly timestamp?: number | bigint
}

/** A sound batch. */
export function batchOf({
  baseOffset,
  count = 1,
  valueBytes = 10,
  timestamp = 1_700_000_000_000
}: BatchOptions): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({
    key: `k${i}`,
    value: Buffer.alloc(valueBytes, i + 1),
    timestamp: typeof timestamp === 'bigint' ? timestamp + BigInt(i) : timestamp < 0 ? timestamp : timestamp + i
  }))
  return encodeBatch(records, { baseOffset, now: 0 })
}

/** What a segment is told of batches that lie back to back, the first one at `position` of the file. */
export function factsOf(bytes: Buffer, position = 0): BatchFacts[] {
  const facts: BatchFacts[] = []
  for (let at = 0; at < bytes.length; ) {
    const { size, baseOffset, lastOffset, maxTimestamp } = new BatchView(bytes, at)
    facts.push({ position: position + at, size, baseOffset, lastOffset, maxTimestamp })
    at += size
  }
  return facts
}

/** The whole content of a file. */
export async function content(fs: FileSystem, path: string): Promise<Buffer> {
  const bytes = await readWholeFile(fs, path, 64 * MiB)
  if (bytes === undefined) throw new Error(`${path} is missing`)
  return bytes
}

/** Makes a file with this content, or gives it this content. */
export async function put(fs: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const handle = await fs.open(path, 'truncate')
  await writeFully(handle, bytes, 0)
  await handle.close()
}
