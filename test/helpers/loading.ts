import type { FileSystem } from '../../lib/fs/file-system.ts'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { loadLog } from '../../lib/log/loader.ts'
import type { LoadedLog, LoadOptions } from '../../lib/log/loader-types.ts'
import { type LogConfig, logConfig } from '../../lib/log/log-config.ts'
import { scanLogFile } from '../../lib/log/recovery-scan.ts'
import type { BatchView } from '../../lib/record/batch-view.ts'
import { IndexCache } from '../../lib/segment/index-cache.ts'
import type { SegmentEnv } from '../../lib/segment/segment.ts'
import { systemClock } from '../../lib/util/clock.ts'

export interface LoadGiven extends Partial<LoadOptions> {
  readonly fs: FileSystem
  readonly dir: string
}

export function segmentEnv(fs: FileSystem, config: LogConfig = logConfig()): SegmentEnv {
  const shared = { fs, handles: new HandleCache(fs), clock: systemClock }
  return { ...shared, indexCache: new IndexCache(), config: () => config }
}

/** Loads a log that nobody else has a hand in: after a crash, unless told otherwise. */
export function load(given: LoadGiven): Promise<LoadedLog> {
  const config = given.config ?? logConfig()
  const env = segmentEnv(given.fs, config)
  return loadLog({
    handles: env.handles,
    clock: systemClock,
    env,
    topic: 't',
    partition: 0,
    config,
    readOnly: false,
    clean: false,
    foreign: false,
    onCorruption: 'fail',
    createIfMissing: true,
    ...given
  })
}

/** Lets go of everything; with `clean` the files are left as a clean close leaves them. */
export async function closeLoaded(log: LoadedLog, clean = true): Promise<void> {
  for (const segment of log.segments) await segment.close({ clean })
  await log.watermark?.close()
}

/** Every batch in a loaded log's segments. The bytes are copies. */
export async function eachBatch(log: LoadedLog, visit: (batch: BatchView) => void): Promise<void> {
  for (const segment of log.segments) {
    const scan = await scanLogFile(
      { read: (target, position) => segment.read(target as Buffer, position) },
      {
        baseOffset: segment.baseOffset,
        from: 0,
        to: segment.size,
        nextOffset: segment.baseOffset,
        visit: batch => visit(batch.view())
      }
    )
    if (scan.damage !== undefined) throw new Error(`segment ${segment.baseOffset}: ${scan.damage.reason}`)
  }
}
