/**
 * The disk alone: reading, from the device and from memory, from one end to the other and here and there.
 *
 * A cold read goes past the page cache with O_DIRECT, into WebAssembly memory, which is aligned to pages as such a
 * read demands. Whether it was cold is not taken for granted: the kernel counts what a process had fetched from
 * devices, and the row says what the count says.
 */
import fs from 'node:fs'
import { performance } from 'node:perf_hooks'
import { isSystemError } from '../fs/system-errors.ts'
import { PAGE_BYTES, PIECE_BYTES } from './bounds.ts'
import type { DeviceReads } from './device-reads.ts'
import { Latencies, MOST_SAMPLES } from './latencies.ts'
import { type Pace, secondsSince } from './pace.ts'
import type { Row, RowId } from './report.ts'
import { row } from './rows.ts'

const WASM_PAGE_BYTES = 64 * 1024

/** What is used of it here: the types of Node leave it to those of a browser. */
declare const WebAssembly: { readonly Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer } }

export interface ReadFileOptions {
  readonly path: string
  readonly bytes: number
  readonly pace: Pace
  readonly reads: DeviceReads
}

/** Memory that a direct read accepts, of 1 MiB. */
export function alignedMemory(): Buffer {
  return Buffer.from(new WebAssembly.Memory({ initial: PIECE_BYTES / WASM_PAGE_BYTES }).buffer)
}

export async function coldReads(
  file: ReadFileOptions,
  bounds: { readonly coldReadMs: number; readonly randomReadMs: number }
): Promise<Row[]> {
  const fd = openDirect(file.path, fs.constants.O_RDONLY) ?? fs.openSync(file.path, 'r')
  try {
    const sequential = await sequentialRead('sequential-read-cold', fd, file, bounds.coldReadMs)
    return [sequential, await randomReads('random-read-cold', fd, file, bounds.randomReadMs)]
  } finally {
    fs.closeSync(fd)
  }
}

/** Reads what was read just before, so that it comes from memory if there is enough of it. */
export async function warmReads(file: ReadFileOptions, bounds: { readonly warmReadMs: number }): Promise<Row[]> {
  const fd = fs.openSync(file.path, 'r')
  try {
    const { bytes } = await sequentialRead('sequential-read-warm', fd, file, bounds.warmReadMs)
    const again = { ...file, bytes }
    const sequential = await sequentialRead('sequential-read-warm', fd, again, bounds.warmReadMs)
    return [sequential, await randomReads('random-read-warm', fd, again, bounds.warmReadMs)]
  } finally {
    fs.closeSync(fd)
  }
}

/** A descriptor that goes past the page cache; `undefined` where platform or file system have no such thing. */
export function openDirect(path: string, flags: number): number | undefined {
  const direct: number | undefined = fs.constants.O_DIRECT
  if (direct === undefined) return undefined
  let fd: number
  try {
    fd = fs.openSync(path, flags | direct, 0o600)
  } catch (error) {
    if (isSystemError(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP')) return undefined
    throw error
  }
  try {
    // Some file systems accept the flag and refuse the call.
    fs.readSync(fd, alignedMemory(), 0, PAGE_BYTES, 0)
    return fd
  } catch (error) {
    fs.closeSync(fd)
    if (isSystemError(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP')) return undefined
    throw error
  }
}

async function sequentialRead(id: RowId, fd: number, file: ReadFileOptions, ms: number): Promise<Row> {
  const memory = alignedMemory()
  const count = file.reads.begin(id.endsWith('-cold') ? 'cold' : 'warm')
  const begun = performance.now()
  let at = 0
  while (at < file.bytes && performance.now() - begun < ms) {
    readAll(fd, memory, PIECE_BYTES, at)
    at += PIECE_BYTES
    if (file.pace.isDue) await file.pace.breathe()
  }
  const seconds = secondsSince(begun)
  const operations = at / PIECE_BYTES
  return row(id, { operations, bytes: at, seconds, cut: at < file.bytes, ...count.end(at) })
}

async function randomReads(id: RowId, fd: number, file: ReadFileOptions, ms: number): Promise<Row> {
  const memory = alignedMemory()
  const latencies = new Latencies()
  const pages = file.bytes / PAGE_BYTES
  const count = file.reads.begin(id.endsWith('-cold') ? 'cold' : 'warm')
  const begun = performance.now()
  do {
    const at = Math.floor(Math.random() * pages) * PAGE_BYTES
    const before = performance.now()
    readAll(fd, memory, PAGE_BYTES, at)
    latencies.add(performance.now() - before)
    if (file.pace.isDue) await file.pace.breathe()
  } while (performance.now() - begun < ms && latencies.count < MOST_SAMPLES)
  const seconds = secondsSince(begun)
  const operations = latencies.count
  const bytes = operations * PAGE_BYTES
  return row(id, { operations, bytes, seconds, latency: latencies.summary(), cut: false, ...count.end(bytes) })
}

function readAll(fd: number, memory: Buffer, bytes: number, position: number): void {
  const count = fs.readSync(fd, memory, 0, bytes, position)
  // The file is ours, whole and aligned: less is a defect of the file system, and a figure of it would be wrong.
  if (count !== bytes) throw new Error(`a read of ${bytes} bytes at ${position} gave ${count}`)
}
