import fs from 'node:fs'
import { callThrough, NodeFileHandle } from './node-file-handle.ts'
import { type PoolGate, sharedPoolGate } from './pool-gate.ts'
import { isSystemError } from './system-errors.ts'

/** Direct I/O wants position, length and memory aligned to the device's block; 4096 suits every one in use. */
const ALIGNMENT = 4096
const CHUNK_BYTES = 1024 * 1024
const WASM_PAGE_BYTES = 64 * 1024

/** What is used of it here: the types of Node leave it to those of a browser. */
declare const WebAssembly: { readonly Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer } }

/**
 * Bytes of a file read from the device, past the page cache.
 *
 * After a failed fsync the kernel marks the pages it could not write as clean: the cache then shows content that
 * the device never got, and every ordinary read believes it. A read with O_DIRECT asks the device. It writes back
 * what is dirty first, so it tells the truth only about what the kernel has given up on.
 *
 * O_DIRECT refuses memory that is not page-aligned (EINVAL), which an ordinary Buffer is not. WebAssembly memory
 * always is.
 *
 * @param position - first byte, any.
 * @param length - bytes wanted; the result is shorter only at the end of the file.
 * @returns undefined where the platform or the file system has no direct I/O.
 * @throws the system's error, EIO for instance.
 */
export async function readPastCache(
  path: string,
  position: number,
  length: number,
  gate: PoolGate = sharedPoolGate
): Promise<Uint8Array | undefined> {
  const direct: number | undefined = fs.constants.O_DIRECT
  if (direct === undefined) return undefined
  let fd: number
  try {
    const flags = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK | direct
    fd = await callThrough<number>(gate, done => fs.open(path, flags, done))
  } catch (error) {
    if (isSystemError(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP')) return undefined
    throw error
  }
  const handle = new NodeFileHandle(path, fd, gate)
  try {
    return await readAligned(handle, position, length)
  } catch (error) {
    // Some file systems accept the flag and refuse the read.
    if (isSystemError(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP')) return undefined
    throw error
  } finally {
    await handle.close()
  }
}

async function readAligned(handle: NodeFileHandle, position: number, length: number): Promise<Uint8Array> {
  const { size } = await handle.stat()
  const end = Math.min(position + length, size)
  if (end <= position) return Buffer.alloc(0)
  const result = Buffer.allocUnsafeSlow(end - position)
  const start = position - (position % ALIGNMENT)
  const chunkBytes = Math.min(CHUNK_BYTES, roundUp(end - start, WASM_PAGE_BYTES))
  const memory = Buffer.from(new WebAssembly.Memory({ initial: chunkBytes / WASM_PAGE_BYTES }).buffer)
  let filled = 0
  for (let at = start; at < end; at += chunkBytes) {
    const count = await handle.readOnce(memory, at)
    const from = Math.max(position - at, 0)
    const to = Math.min(count, end - at)
    if (to > from) filled += memory.copy(result, filled, from, to)
    // Shorter than the chunk is the end of the file, or not to be trusted: a next read would not be aligned.
    if (count < chunkBytes) break
  }
  return result.subarray(0, filled)
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
