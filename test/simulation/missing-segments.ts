/** Which open transactions an engine may forget: its segments tell no more how they ended. */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { History } from './history.ts'

/** To be called before a log is opened, which takes away what it does not need. Calls nothing that is counted. */
export async function noteMissing(history: History, disk: MemoryFileSystem, folder: string): Promise<void> {
  const undecided = history.firstUndecided()
  const mayBeBelow = undecided !== undefined && undecided < history.highestStart()
  history.missingBefore = mayBeBelow ? await missingBefore(disk.clone(), folder) : []
}

/**
 * Base offsets of the segments of a partition in front of which one is missing, the first one's too. Of a log that was
 * never cleaned.
 */
async function missingBefore(fs: MemoryFileSystem, folder: string): Promise<number[]> {
  const names = (await fs.stat(folder)) === undefined ? [] : (await fs.readDirectory(folder)).map(({ name }) => name)
  const missing: number[] = []
  let end: number | undefined
  for (const name of names.filter(each => /^\d{20}\.log$/.test(each)).sort()) {
    const base = Number.parseInt(name, 10)
    if (base !== end) missing.push(base)
    end = await endOf(fs, `${folder}/${name}`, base)
  }
  return missing
}

/** The offset behind the last batch of a segment file: 61 bytes or more each, behind base offset and length. */
async function endOf(fs: MemoryFileSystem, path: string, base: number): Promise<number> {
  const handle = await fs.open(path, 'read')
  const bytes = Buffer.alloc((await handle.stat()).size)
  await handle.read(bytes, 0)
  await handle.close()
  let end = base
  for (let at = 0; at + 61 <= bytes.length; ) {
    const length = bytes.readInt32BE(at + 8)
    if (length < 49 || at + 12 + length > bytes.length) break
    end = Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23) + 1
    at += 12 + length
  }
  return end
}
