/** The disk alone: writing a file from one end to the other. */
import fs from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { MiB } from '../util/sizes.ts'
import { PIECE_BYTES } from './bounds.ts'
import { type Pace, secondsSince } from './pace.ts'
import type { Row } from './report.ts'
import { cutShort, row } from './rows.ts'

/** What is written where nothing is known of the disk yet. */
const PROBE_BYTES = 16 * MiB

export interface WrittenFile {
  readonly path: string
  readonly bytes: number
  /** Of the disk, the final sync included. */
  readonly bytesPerSecond: number
  readonly rows: readonly Row[]
}

/**
 * Writes a file twice, in pieces of 1 MiB with one fdatasync at the end, and measures the second time: the first
 * finds out how much the time allows, and gives the page cache its memory, which on a virtual machine costs more than
 * the writing. Both end with their sync, so neither can leave the disk more work than its share of time.
 */
export async function sequentialWrite(
  folder: string,
  sizeBytes: number,
  bounds: { readonly warmUpWriteMs: number; readonly sequentialWriteMs: number },
  pace: Pace,
  content: Content
): Promise<WrittenFile> {
  const path = join(folder, 'sequential')
  const probe = await writeFile(path, { bytes: Math.min(sizeBytes, PROBE_BYTES), pace, content })
  const warmUpBytes = planned(sizeBytes, probe.bytesPerSecond, bounds.warmUpWriteMs)
  const warmUp = await writeFile(path, { bytes: warmUpBytes, pace, content })
  const bytes = planned(sizeBytes, warmUp.bytesPerSecond, bounds.sequentialWriteMs)
  const { cachedSeconds, seconds, bytesPerSecond } = await writeFile(path, { bytes, pace, content })
  const common = {
    operations: bytes / PIECE_BYTES,
    bytes,
    ...(bytes < sizeBytes ? cutShort(bytes, sizeBytes) : { cut: false })
  }
  const rows = [
    row('sequential-write-cached', { ...common, seconds: cachedSeconds }),
    row('sequential-write', { ...common, seconds })
  ]
  return { path, bytes, bytesPerSecond, rows }
}

/** Whole pieces that a disk of this rate writes in `ms`; at least one. */
export function planned(sizeBytes: number, bytesPerSecond: number, ms: number): number {
  const affordable = (bytesPerSecond * ms) / 1000
  return Math.max(Math.floor(Math.min(sizeBytes, affordable) / PIECE_BYTES), 1) * PIECE_BYTES
}

interface Writing {
  readonly bytes: number
  readonly pace: Pace
  readonly content: Content
}

/** The file afresh: what lay there before is unlinked, so that blocks and names are new each time. */
async function writeFile(
  path: string,
  { bytes, pace, content }: Writing
): Promise<{ cachedSeconds: number; seconds: number; bytesPerSecond: number }> {
  fs.rmSync(path, { force: true })
  const fd = fs.openSync(path, 'wx', 0o600)
  try {
    const begun = performance.now()
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      writeAll(fd, content.piece(PIECE_BYTES), at)
      if (pace.isDue) await pace.breathe()
    }
    const cachedSeconds = secondsSince(begun)
    fs.fdatasyncSync(fd)
    const seconds = secondsSince(begun)
    return { cachedSeconds, seconds, bytesPerSecond: bytes / seconds }
  } finally {
    fs.closeSync(fd)
  }
}

export function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0
  while (done < bytes.length) done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done)
}

/**
 * Bytes to write. Random, and never the same piece twice in a row: some disks and file systems compress, or store
 * equal blocks once, and a log's records do not look like zeros.
 */
export class Content {
  readonly #bytes: Buffer
  #turn = 0

  /** @param bytes - random, larger than the largest piece. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** A view, valid for ever. */
  piece(bytes: number): Buffer {
    // A large odd step, so that blocks of 4 KiB begin elsewhere each time round.
    this.#turn = (this.#turn + 1_234_567) % (this.#bytes.length - bytes)
    return this.#bytes.subarray(this.#turn, this.#turn + bytes)
  }
}
