/** Copies a data directory so that its `.log` files are not in the page cache: what reads the copy asks the device. */
import fs from 'node:fs'
import { join } from 'node:path'
import { PAGE_BYTES, PIECE_BYTES } from './bounds.ts'
import { alignedMemory, openDirect } from './disk-reads.ts'
import { writeAll } from './disk-writes.ts'
import type { Pace } from './pace.ts'

/** @param leaveOut - names of files that the copy shall not have. */
export async function coldCopy(from: string, to: string, leaveOut: ReadonlySet<string>, pace: Pace): Promise<void> {
  fs.mkdirSync(to, { mode: 0o700 })
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    if (leaveOut.has(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await coldCopy(source, target, leaveOut, pace)
    // Sockets and locks of the process that has the original open are not part of it.
    else if (entry.isFile()) await copyFile(source, target, pace)
  }
}

async function copyFile(source: string, target: string, pace: Pace): Promise<void> {
  if (!source.endsWith('.log')) {
    fs.copyFileSync(source, target)
    return
  }
  const input = fs.openSync(source, 'r')
  try {
    const { O_RDWR, O_CREAT, O_EXCL } = fs.constants
    const output = openDirect(target, O_RDWR | O_CREAT | O_EXCL) ?? fs.openSync(target, 'w+', 0o600)
    try {
      await copyPieces(input, output, pace)
    } finally {
      fs.closeSync(output)
    }
  } finally {
    fs.closeSync(input)
  }
}

async function copyPieces(input: number, output: number, pace: Pace): Promise<void> {
  const { size } = fs.fstatSync(input)
  const memory = alignedMemory()
  for (let at = 0; at < size; at += PIECE_BYTES) {
    const count = fs.readSync(input, memory, 0, PIECE_BYTES, at)
    // Direct writes are of whole pages; what is too much is cut off below.
    writeAll(output, memory.subarray(0, Math.ceil(count / PAGE_BYTES) * PAGE_BYTES), at)
    if (pace.isDue) await pace.breathe()
  }
  fs.ftruncateSync(output, size)
  fs.fsyncSync(output)
}
