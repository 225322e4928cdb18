/** How each row is called and what its operations are; rates are worked out here, and nowhere else. */
import { MiB } from '../util/sizes.ts'
import type { CacheState, Latency, Row, RowId } from './report.ts'

interface RowKind {
  readonly part: Row['part']
  readonly counts: Row['counts']
  readonly name: string
}

const disk = (counts: Row['counts'], name: string): RowKind => ({ part: 'disk', counts, name })
const engine = (counts: Row['counts'], name: string): RowKind => ({ part: 'engine', counts, name })

export const ROW_KINDS: Readonly<Record<RowId, RowKind>> = {
  'sequential-write-cached': disk('writes', 'sequential write, 1 MiB, into memory'),
  'sequential-write': disk('writes', 'sequential write, 1 MiB, synced at the end'),
  'sequential-read-cold': disk('reads', 'sequential read, 1 MiB'),
  'random-read-cold': disk('reads', 'random read, 4 KiB'),
  'sequential-read-warm': disk('reads', 'sequential read, 1 MiB, again'),
  'random-read-warm': disk('reads', 'random read, 4 KiB, again'),
  'sync-append-4k': disk('writes', 'append 4 KiB and sync'),
  'sync-overwrite-4k': disk('writes', 'overwrite 4 KiB and sync'),
  'sync-append-64k': disk('writes', 'append 64 KiB and sync'),
  'sync-overwrite-64k': disk('writes', 'overwrite 64 KiB and sync'),
  'sync-append-1m': disk('writes', 'append 1 MiB and sync'),
  'sync-overwrite-1m': disk('writes', 'overwrite 1 MiB and sync'),
  'append-100b': engine('records', 'append 1,000 x 100 B, none'),
  'append-100b-synced': engine('records', 'append 1,000 x 100 B, none, synced at the end'),
  'append-1k': engine('records', 'append 100 x 1 KiB, none'),
  'append-1k-synced': engine('records', 'append 100 x 1 KiB, none, synced at the end'),
  'durable-1': engine('acks', 'append 100 B, batch, 1 writer'),
  'durable-64': engine('acks', 'append 100 B, batch, 64 writers'),
  'scan-cold': engine('records', 'scan, 100 B records'),
  'scan-warm': engine('records', 'scan, 100 B records, again'),
  recovery: engine('records', 'recovery of a torn log, 100 B records')
}

export interface Measured {
  readonly operations: number
  readonly bytes: number
  readonly seconds: number
  readonly cut: boolean
  readonly latency?: Latency | undefined
  readonly cache?: CacheState
  readonly note?: string
}

export function row(id: RowId, measured: Measured): Row {
  const { part, counts, name } = ROW_KINDS[id]
  const { operations, bytes, seconds, cut, latency, cache, note } = measured
  return {
    id,
    part,
    name,
    counts,
    operations,
    bytes,
    seconds: round(seconds),
    bytesPerSecond: round(bytes / seconds),
    perSecond: round(operations / seconds),
    ...(latency === undefined ? {} : { latency }),
    ...(cache === undefined ? {} : { cache }),
    cut,
    ...(note === undefined ? {} : { note })
  }
}

/** Of a row that its time ended. */
export function cutShort(bytes: number, wantedBytes: number): { readonly cut: true; readonly note: string } {
  return { cut: true, note: `${toMiB(bytes)} of ${toMiB(wantedBytes)} MiB: what the time allowed` }
}

function toMiB(bytes: number): number {
  return Math.round(bytes / MiB)
}

/** Five digits, more than any of it is good for. */
function round(value: number): number {
  return Number(value.toPrecision(5))
}

const READS_AHEAD = 'above the disk alone, which is asked for one piece after the other: the kernel reads ahead'

/** The row with the limit it is held against; without one where that was not measured. */
export function withLimit(
  own: Row,
  of: Row | undefined,
  limit: { readonly name: string; readonly by: 'bytesPerSecond' | 'perSecond'; readonly times?: number }
): Row {
  if (of === undefined) return own
  const ratio = round(own[limit.by] / (of[limit.by] * (limit.times ?? 1)))
  const found = { ...own, limit: { row: of.id, name: limit.name, ratio } }
  return own.cache !== undefined && ratio > 1
    ? { ...found, note: [own.note, READS_AHEAD].filter(Boolean).join('; ') }
    : found
}
