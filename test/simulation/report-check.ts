/** R9: nothing of a log goes without a line in the report of its recovery. */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { RecoveryReport } from '../../lib/log/recovery-report.ts'
import { WATERMARK_FILE } from '../../lib/log/watermark-file.ts'
import { readWatermark } from '../helpers/partition-folder.ts'
import { Violation } from './history.ts'
import { DATA } from './life.ts'

/** Bytes of each `.log` file, by path below the data directory. */
export async function logSizes(fs: MemoryFileSystem): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  if ((await fs.stat(DATA)) === undefined) return sizes
  for (const { name: folder, kind } of await fs.readDirectory(DATA)) {
    if (kind !== 'directory') continue
    for (const { name } of await fs.readDirectory(`${DATA}/${folder}`)) {
      if (!name.endsWith('.log')) continue
      sizes.set(`${folder}/${name}`, (await fs.stat(`${DATA}/${folder}/${name}`))?.size ?? 0)
    }
  }
  return sizes
}

/** The offset below which a partition's watermark file says that everything is durable; `undefined` without one. */
export async function durableUpTo(fs: MemoryFileSystem, folder: string): Promise<number | undefined> {
  if ((await fs.stat(`${folder}/${WATERMARK_FILE}`)) === undefined) return undefined
  const watermark = await readWatermark(fs, folder)
  return watermark?.syncFailed === true ? undefined : watermark?.offset
}

export async function checkReport(
  fs: MemoryFileSystem,
  found: { name: string; report: RecoveryReport; sizes: ReadonlyMap<string, number>; isClean: boolean }
): Promise<void> {
  const { name, report, sizes, isClean } = found
  if (isClean && (!report.clean || report.truncatedBytes > 0))
    throw new Violation(`${name} was closed cleanly, and was recovered: ${JSON.stringify(report)}`)
  const now = await logSizes(fs)
  for (const [path, before] of sizes) {
    if (!path.startsWith(`${name}/`)) continue
    const file = path.slice(name.length + 1)
    const after = now.get(path)
    const isTold =
      report.truncatedBytes > 0 ||
      report.zeroBytesDropped > 0 ||
      report.notes.some(({ code }) => code === 'INTERRUPTED_COMPACTION') ||
      report.deletedFiles.some(each => each.startsWith(file.slice(0, 20)))
    if ((after === undefined || after < before) && !isTold)
      throw new Violation(`R9: ${path} went from ${before} bytes to ${after}, and the report tells nothing of it`)
  }
}
