/** Which segments a folder has, once what was interrupted in it is finished: as loading would list them. */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { FolderListing } from '../log/loader-files.ts'
import { scanLogFile } from '../log/recovery-scan.ts'
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  SWAP_SUFFIX,
  segmentFileName,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX
} from '../segment/file-names.ts'

export interface ListedSegment {
  readonly baseOffset: number
  readonly log: string
  /** Names of its indexes; `undefined` for one that is not there. */
  readonly offsetIndex: string | undefined
  readonly timeIndex: string | undefined
  readonly transactionIndex: string | undefined
}

/** Ascending. */
export async function listSegments(fs: FileSystem, path: string, listing: FolderListing): Promise<ListedSegment[]> {
  const { cleaned, swaps, names } = listing
  const unfinishedFrom = cleaned.reduce((least, file) => Math.min(least, file.offset), Number.POSITIVE_INFINITY)
  const complete = swaps.filter(({ suffix, offset }) => suffix === LOG_SUFFIX && offset < unfinishedFrom)
  let bases = listing.bases
  for (const { name, offset } of complete) {
    const end = await endOffset(fs, join(path, name), offset)
    bases = bases.filter(base => base < offset || base >= Math.max(end, offset + 1))
  }
  const swapped = complete.map(({ offset }) => ({ baseOffset: offset, top: SWAP_SUFFIX }))
  const all = [...bases.map(baseOffset => ({ baseOffset, top: '' })), ...swapped]
  return all
    .sort((a, b) => a.baseOffset - b.baseOffset)
    .map(({ baseOffset, top }) => {
      const there = (suffix: string): string | undefined => {
        const own = segmentFileName(baseOffset, suffix)
        return [own + top, own].find(name => names.has(name))
      }
      return {
        baseOffset,
        log: segmentFileName(baseOffset, LOG_SUFFIX) + top,
        offsetIndex: there(OFFSET_INDEX_SUFFIX),
        timeIndex: there(TIME_INDEX_SUFFIX),
        transactionIndex: there(TRANSACTION_INDEX_SUFFIX)
      }
    })
}

async function endOffset(fs: FileSystem, path: string, baseOffset: number): Promise<number> {
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    return (await scanLogFile(handle, { baseOffset, from: 0, to: size, nextOffset: baseOffset })).nextOffset
  } finally {
    await handle.close()
  }
}

/** Base offsets of segments of which there is an index, but no log, and no sign that the log was removed. */
export function missingLogs({ files, bases, deleted, swaps }: FolderListing): number[] {
  const known = new Set([...bases, ...deleted.map(file => file.offset), ...swaps.map(file => file.offset)])
  const orphans = files.filter(({ offset }) => !known.has(offset)).map(({ offset }) => offset)
  return [...new Set(orphans)].sort((a, b) => a - b)
}
