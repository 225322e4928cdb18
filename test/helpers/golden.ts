import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BatchView } from '../../lib/record/batch-view.ts'
import { fixture } from './paths.ts'

export const GOLDEN_VERSIONS = ['kafka-3.9.2', 'kafka-4.3.1'] as const

export interface GoldenPartition {
  readonly version: string
  /** Name of the partition's folder. */
  readonly name: string
  readonly dir: string
  /** Base offsets of its segments, ascending. */
  readonly bases: readonly number[]
  /** Offsets of its producer snapshots, ascending. */
  readonly snapshots: readonly number[]
}

/** Every partition folder below `clean/` (or `compacted/`) of every golden version. */
export function goldenPartitions(which: 'clean' | 'compacted' = 'clean'): GoldenPartition[] {
  return GOLDEN_VERSIONS.flatMap(version => {
    const root = fixture('golden', version, which)
    const names = readdirSync(root).filter(name => /-\d+$/.test(name))
    return names.map(name => ({ version, name, dir: join(root, name), ...offsetsIn(join(root, name)) }))
  })
}

function offsetsIn(dir: string): { bases: number[]; snapshots: number[] } {
  const files = readdirSync(dir).sort()
  const offsets = (suffix: string): number[] =>
    files.filter(file => /^\d{20}\./.test(file) && file.endsWith(suffix)).map(file => Number(file.slice(0, 20)))
  return { bases: offsets('.log'), snapshots: offsets('.snapshot') }
}

/** `undefined` when there is no such file. */
export function goldenFile(partition: GoldenPartition, offset: number, suffix: string): Buffer | undefined {
  const name = String(offset).padStart(20, '0') + suffix
  return readdirSync(partition.dir).includes(name) ? readFileSync(join(partition.dir, name)) : undefined
}

/** The batches of one segment, in order. */
export function* goldenBatches(partition: GoldenPartition, baseOffset: number): Generator<BatchView> {
  const bytes = goldenFile(partition, baseOffset, '.log') ?? Buffer.alloc(0)
  for (let at = 0; at < bytes.length; ) {
    const batch = new BatchView(bytes, at)
    yield batch
    at = batch.end
  }
}

export interface GoldenExpectation {
  readonly topic: string
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}

/** What the broker said of a topic; `undefined` for Kafka's own topics, of which nothing was asked. */
export function goldenExpectation(partition: GoldenPartition): GoldenExpectation | undefined {
  const folder = fixture('golden', partition.version, 'expect')
  const file = `${partition.name.replace(/-\d+$/, '')}.json`
  if (!readdirSync(folder).includes(file)) return undefined
  return JSON.parse(readFileSync(join(folder, file), 'utf8')) as GoldenExpectation
}
