import { join } from 'node:path'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { WATERMARK_FILE, type Watermark, WatermarkFile } from '../../lib/log/watermark-file.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeEndTransactionMarker } from '../../lib/record/control-record.ts'
import { type EncodeOptions, encodeBatch } from '../../lib/record/encode-batch.ts'
import { segmentFileName } from '../../lib/segment/file-names.ts'

/** Where the tests keep their partition. */
export const DIR = '/data/t-0'

/** One batch of `count` records from `baseOffset` on, about `valueBytes` long each. */
export function batch(
  baseOffset: number,
  { count = 1, valueBytes = 20, ...rest }: { count?: number; valueBytes?: number } & Partial<EncodeOptions> = {}
): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({
    key: `key-${baseOffset + i}`,
    value: `${baseOffset + i}:`.padEnd(valueBytes, 'x')
  }))
  return encodeBatch(records, { now: 1_700_000_000_000 + baseOffset, baseOffset, ...rest })
}

/** `count` batches of one record each. */
export function batches(from: number, count: number, options: Parameters<typeof batch>[1] = {}): Buffer[] {
  return Array.from({ length: count }, (_, i) => batch(from + i, options))
}

export function marker(type: 'commit' | 'abort', baseOffset: number, producerId: number): Buffer {
  return encodeEndTransactionMarker({
    type,
    producerId,
    producerEpoch: 0,
    coordinatorEpoch: 0,
    baseOffset,
    leaderEpoch: 0,
    timestamp: 1_700_000_000_000 + baseOffset
  })
}

/** Writes files by name, durably, into a folder that is made when it is missing. */
export async function putFiles(
  fs: FileSystem,
  files: Readonly<Record<string, Buffer | string>>,
  dir: string = DIR
): Promise<void> {
  const parts = dir.split('/').filter(part => part !== '')
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const folder = `/${parts.slice(0, depth).join('/')}`
    if ((await fs.stat(folder)) === undefined) await fs.makeDirectory(folder)
    await fs.syncDirectory(join(folder, '..'))
  }
  for (const [name, content] of Object.entries(files)) {
    const handle = await fs.open(join(dir, name), 'truncate')
    await writeFully(handle, Buffer.from(content as string), 0)
    await handle.sync()
    await handle.close()
  }
  await fs.syncDirectory(dir)
}

/** The name of a segment's `.log` file, or of another of its files. */
export function file(baseOffset: number, suffix = '.log'): string {
  return segmentFileName(baseOffset, suffix)
}

/** The mark behind the last of `written`, batches of the segment of `segmentBaseOffset`. */
export function markBehind(
  segmentBaseOffset: number,
  written: readonly Buffer[],
  more: Partial<Watermark> = {}
): Watermark {
  const last = written.at(-1)
  const view = last === undefined ? undefined : new BatchView(last)
  return {
    offset: view?.nextOffset ?? segmentBaseOffset,
    segmentBaseOffset,
    position: written.reduce((sum, bytes) => sum + bytes.length, 0),
    lastBatchCrc: view?.crc ?? 0,
    level: 'synced',
    syncFailed: false,
    ...more
  }
}

/** Says durably up to where the log was synced. */
export async function putWatermark(fs: FileSystem, watermark: Watermark, dir: string = DIR): Promise<void> {
  const file = (await WatermarkFile.open(fs, dir, { create: true })) as WatermarkFile
  await file.lowerTo(watermark)
  await file.close()
}

export async function readWatermark(fs: FileSystem, dir: string = DIR): Promise<Watermark | undefined> {
  const file = await WatermarkFile.open(fs, dir, { readOnly: true })
  const watermark = file?.read()
  await file?.close()
  return watermark
}

/** A new file system in memory with these files in a partition's folder, all of it durable. */
export async function memoryFolder(files: Readonly<Record<string, Buffer | string>>): Promise<MemoryFileSystem> {
  // Times do not count here, and a clock that stands still makes runs repeatable.
  const fs = new MemoryFileSystem({ now: () => 1_700_000_000_000 })
  await putFiles(fs, files)
  return fs
}

/** Every file below a folder, by path: what a recovery has made of it. The watermark file goes by what it says. */
export async function imageOf(fs: FileSystem, dir: string = DIR): Promise<Record<string, string>> {
  const image: Record<string, string> = {}
  const visit = async (folder: string, prefix: string): Promise<void> => {
    for (const { name, kind } of await fs.readDirectory(folder)) {
      if (kind === 'directory') await visit(join(folder, name), `${prefix}${name}/`)
      else if (name === WATERMARK_FILE) image[prefix + name] = JSON.stringify(await readWatermark(fs, folder))
      else image[prefix + name] = (await readFile(fs, join(folder, name))).toString('hex')
    }
  }
  await visit(dir, '')
  return Object.fromEntries(Object.entries(image).sort(([a], [b]) => (a < b ? -1 : 1)))
}

export async function readFile(fs: FileSystem, path: string): Promise<Buffer> {
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    const bytes = Buffer.alloc(size)
    await handle.read(bytes, 0)
    return bytes
  } finally {
    await handle.close()
  }
}
