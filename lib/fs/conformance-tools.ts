/** What the tests of `conformance.ts` do again and again. */
import { posix } from 'node:path'
import type { FileHandle, FileSystem } from './file-system.ts'
import { writeFully } from './write-fully.ts'

/** Bytes that tell their position, so that a shift or a swap shows. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + (at >>> 8) * 7) & 0xff
  return bytes
}

export async function using(
  fs: FileSystem,
  path: string,
  mode: Parameters<FileSystem['open']>[1],
  use: (handle: FileHandle) => Promise<void>
): Promise<void> {
  const handle = await fs.open(path, mode)
  try {
    await use(handle)
  } finally {
    await handle.close()
  }
}

/** A file with durable content and a durable name. */
export async function createWith(fs: FileSystem, path: string, bytes: Buffer): Promise<void> {
  await using(fs, path, 'create', async handle => {
    await writeFully(handle, bytes, 0)
    await handle.sync()
  })
  await fs.syncDirectory(posix.dirname(path))
}

export async function contentOf(handle: FileHandle, atLeast = 0): Promise<Buffer> {
  const target = Buffer.alloc(Math.max((await handle.stat()).size, atLeast))
  return target.subarray(0, await handle.read(target, 0))
}

export async function read(fs: FileSystem, path: string): Promise<Buffer> {
  let content = Buffer.alloc(0)
  await using(fs, path, 'read', async handle => {
    content = Buffer.from(await contentOf(handle))
  })
  return content
}
