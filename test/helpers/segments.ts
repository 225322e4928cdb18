import type { FileSystem } from '../../lib/fs/file-system.ts'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { IndexCache } from '../../lib/segment/index-cache.ts'
import type { IndexRebuilt, SegmentConfig, SegmentEnv } from '../../lib/segment/segment.ts'
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
