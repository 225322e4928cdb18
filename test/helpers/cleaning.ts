/** What a cleaning is given, taken from a partition's folder as a log would see it. */
import { join } from 'node:path'
import type { CleaningOptions } from '../../lib/compaction/cleaner.ts'
import { cleanLog } from '../../lib/compaction/cleaner.ts'
import type {
  CleanedGroup,
  CleaningInput,
  CleaningResult,
  CleaningSettings,
  LiveProducer,
  SourceSegment
} from '../../lib/compaction/cleaning-types.ts'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { parseSegmentFileName, segmentFileName } from '../../lib/segment/file-names.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { ManualClock } from './manual-clock.ts'
import { DIR, readFile } from './partition-folder.ts'

export const SEEDS = Uint32Array.of(1, 2, 3, 4)

export const SETTINGS: CleaningSettings = {
  segmentBytes: 1024 * MiB,
  indexBytes: 10 * MiB,
  indexIntervalBytes: 4096,
  deleteRetentionMs: 1000
}

/** The segments of a folder, ascending, without what bears another suffix. */
export async function sourcesIn(fs: FileSystem, dir: string = DIR): Promise<SourceSegment[]> {
  const names = (await fs.readDirectory(dir)).map(({ name }) => name)
  const sources: SourceSegment[] = []
  for (const name of names.sort()) {
    const parsed = parseSegmentFileName(name)
    if (parsed?.suffix !== '.log') continue
    const { offset: baseOffset } = parsed
    const log = await readFile(fs, join(dir, name))
    let nextOffset = baseOffset
    for (let at = 0; at < log.length; ) {
      const batch = new BatchView(log, at)
      nextOffset = batch.nextOffset
      at = batch.end
    }
    const sizeOf = async (suffix: string): Promise<number> =>
      (await fs.stat(join(dir, segmentFileName(baseOffset, suffix))))?.size ?? 0
    sources.push({
      baseOffset,
      nextOffset,
      bytes: log.length,
      indexBytes: await sizeOf('.index'),
      timeIndexBytes: await sizeOf('.timeindex'),
      modifiedMs: (await fs.stat(join(dir, name)))?.modifiedMs ?? 0
    })
  }
  return sources
}

export interface InputOptions extends Partial<Omit<CleaningInput, 'settings' | 'segments'>> {
  readonly fs: FileSystem
  readonly settings?: Partial<CleaningSettings>
  readonly producers?: readonly LiveProducer[]
}

/** All segments but the last one, which is the active one; all of them dirty, unless told otherwise. */
export async function inputFor({ fs, settings, ...more }: InputOptions): Promise<CleaningInput> {
  const all = await sourcesIn(fs, more.dir)
  const active = all.at(-1) as SourceSegment
  return {
    dir: DIR,
    name: 't-0',
    segments: all.slice(0, -1),
    firstDirtyOffset: all[0]!.baseOffset,
    firstUncleanableOffset: active.baseOffset,
    now: 1_800_000_000_000,
    producers: [],
    mapBytes: 1 * MiB,
    hashSeeds: SEEDS,
    ...more,
    settings: { ...SETTINGS, ...settings }
  }
}

const SUFFIXES = ['.log', '.index', '.timeindex', '.txnindex']

/** Puts a group in place as the log does, without its care for crashes. */
export async function swapIn(fs: FileSystem, dir: string, { sources, cleaned }: CleanedGroup): Promise<void> {
  for (const baseOffset of sources) {
    for (const suffix of SUFFIXES) {
      const path = join(dir, segmentFileName(baseOffset, suffix))
      if ((await fs.stat(path)) !== undefined) await fs.unlink(path)
    }
  }
  for (const { baseOffset } of cleaned) {
    for (const suffix of SUFFIXES) {
      const path = join(dir, segmentFileName(baseOffset, suffix))
      if ((await fs.stat(`${path}.cleaned`)) !== undefined) await fs.rename(`${path}.cleaned`, path)
    }
  }
}

/** Cleans, and puts what came out in place. */
export async function cleanAndSwap(
  fs: FileSystem,
  input: CleaningInput,
  options: Partial<CleaningOptions> = {}
): Promise<CleaningResult & { readonly all: readonly CleanedGroup[] }> {
  const all: CleanedGroup[] = []
  const result = await cleanLog(input, {
    fs,
    clock: new ManualClock(),
    onGroup: async group => {
      all.push(group)
      await swapIn(fs, input.dir, group)
    },
    ...options
  })
  return { ...result, all }
}
