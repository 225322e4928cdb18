/**
 * The disk alone: what one fdatasync costs, behind an append and behind the overwriting of what is there already.
 *
 * An append changes the file's length, which the sync must make durable too: most file systems write their journal for
 * it. Overwriting blocks that were written before changes nothing but content; that is what a recycled, zero-filled
 * segment would gain. The two take turns, so that a disturbance meets both.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { KiB, MiB } from '../util/sizes.ts'
import { PIECE_BYTES } from './bounds.ts'
import { type Content, planned, writeAll } from './disk-writes.ts'
import { Latencies, MOST_SAMPLES } from './latencies.ts'
import type { Pace } from './pace.ts'
import type { Row, RowId } from './report.ts'
import { row } from './rows.ts'

const SIZES: readonly { readonly bytes: number; readonly append: RowId; readonly overwrite: RowId }[] = [
  { bytes: 4 * KiB, append: 'sync-append-4k', overwrite: 'sync-overwrite-4k' },
  { bytes: 64 * KiB, append: 'sync-append-64k', overwrite: 'sync-overwrite-64k' },
  { bytes: MiB, append: 'sync-append-1m', overwrite: 'sync-overwrite-1m' }
]

const TURNS = 4
const LARGEST_RECYCLED_BYTES = 64 * MiB
/** Fewer syncs than this say little about the slowest ones. */
const FEW = 20

export interface SyncLatencyOptions {
  /** What each of two files may grow to. */
  readonly fileBytes: number
  readonly bytesPerSecond: number
  readonly syncMs: number
  readonly pace: Pace
  readonly content: Content
}

/** @param onSize - told before each size. */
export async function syncLatency(folder: string, options: SyncLatencyOptions, onSize: () => void): Promise<Row[]> {
  const { fileBytes, bytesPerSecond, syncMs, pace, content } = options
  const recycledBytes = planned(Math.min(fileBytes, LARGEST_RECYCLED_BYTES), bytesPerSecond, 2000)
  const recycled = new SyncedFile(join(folder, 'recycled'), recycledBytes, 'overwrite')
  const appended = new SyncedFile(join(folder, 'appended'), fileBytes, 'append')
  try {
    await recycled.fillWithZeros(pace)
    const rows: Row[] = []
    for (const { bytes, append, overwrite } of SIZES) {
      onSize()
      const series = [
        { id: append, file: appended, ...newSeries() },
        { id: overwrite, file: recycled, ...newSeries() }
      ]
      for (let turn = 0; turn < TURNS; turn += 1) {
        for (const one of series) await one.file.run(bytes, syncMs / TURNS, one, pace, content)
      }
      for (const { id, syncs, milliseconds } of series) {
        const operations = syncs.count
        const few = operations < FEW ? { note: `only ${operations} syncs in the time there was` } : {}
        const seconds = milliseconds.total / 1000
        const latency = syncs.summary()
        rows.push(row(id, { operations, bytes: operations * bytes, seconds, latency, cut: operations < FEW, ...few }))
      }
    }
    return rows
  } finally {
    recycled.remove()
    appended.remove()
  }
}

interface Series {
  /** Each fdatasync. */
  readonly syncs: Latencies
  /** Writes and syncs. */
  readonly milliseconds: { total: number }
}

function newSeries(): Series {
  return { syncs: new Latencies(), milliseconds: { total: 0 } }
}

class SyncedFile {
  readonly #path: string
  readonly #bytes: number
  readonly #kind: 'append' | 'overwrite'
  readonly #fd: number
  #position = 0

  constructor(path: string, bytes: number, kind: 'append' | 'overwrite') {
    this.#path = path
    this.#bytes = bytes
    this.#kind = kind
    this.#fd = fs.openSync(path, 'wx', 0o600)
  }

  async fillWithZeros(pace: Pace): Promise<void> {
    const zeros = Buffer.alloc(PIECE_BYTES)
    for (let at = 0; at < this.#bytes; at += PIECE_BYTES) {
      writeAll(this.#fd, zeros, at)
      if (pace.isDue) await pace.breathe()
    }
    fs.fsyncSync(this.#fd)
  }

  /** Writes and syncs for `ms`, at least once. */
  async run(bytes: number, ms: number, { syncs, milliseconds }: Series, pace: Pace, content: Content): Promise<void> {
    const end = performance.now() + ms
    do {
      this.#makeRoom(bytes)
      const begun = performance.now()
      writeAll(this.#fd, content.piece(bytes), this.#position)
      const written = performance.now()
      fs.fdatasyncSync(this.#fd)
      const synced = performance.now()
      this.#position += bytes
      syncs.add(synced - written)
      milliseconds.total += synced - begun
      if (pace.isDue) await pace.breathe()
    } while (performance.now() < end && syncs.count < MOST_SAMPLES)
  }

  #makeRoom(bytes: number): void {
    if (this.#position + bytes <= this.#bytes) return
    this.#position = 0
    if (this.#kind === 'overwrite') return
    fs.ftruncateSync(this.#fd, 0)
    fs.fsyncSync(this.#fd)
  }

  remove(): void {
    fs.closeSync(this.#fd)
    fs.rmSync(this.#path, { force: true })
  }
}
