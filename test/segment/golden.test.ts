import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import { parsePartitionDirectoryName, parseSegmentFileName, segmentFileName } from '../../lib/segment/file-names.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { content, factsOf, memoryEnv, put, segmentEnv } from '../helpers/segments.ts'

const VERSIONS = ['kafka-3.9.2', 'kafka-4.3.1']
const INTERVALS: Record<string, number> = { segments: 1024, 'dense-index': 0, 'out-of-order-time': 512 }

interface GoldenSegment {
  readonly name: string
  readonly dir: string
  readonly baseOffset: number
  readonly indexIntervalBytes: number
}

const segments = VERSIONS.flatMap(version => {
  const root = fixture('golden', version, 'clean')
  return readdirSync(root).flatMap(folder => {
    const partition = parsePartitionDirectoryName(folder)
    if (partition === undefined) return []
    const dir = join(root, folder)
    const indexIntervalBytes = INTERVALS[partition.topic] ?? 4096
    return logsOf(dir).map(baseOffset => ({
      name: `${version} ${folder} ${baseOffset}`,
      dir,
      baseOffset,
      indexIntervalBytes
    }))
  })
})

t.test('every segment of the golden directories is there', async t => {
  t.equal(segments.length, 129)
})

t.test('indexes rebuilt from a log that Kafka wrote are the ones that Kafka wrote', async t => {
  for (const segment of segments) {
    const { env, close } = memoryEnv({ indexIntervalBytes: segment.indexIntervalBytes })
    const dir = '/data'
    const log = segmentFileName(segment.baseOffset, '.log')
    await env.fs.makeDirectory(dir)
    await put(env.fs, join(dir, log), readFileSync(join(segment.dir, log)))
    const ours = await Segment.open(env, dir, segment.baseOffset, { readOnly: false, trustIndexes: false })
    const result = await ours.rebuildIndexes()
    t.equal(result.end, 'end', segment.name)
    t.equal(result.validBytes, ours.size)
    await ours.seal()
    await sameIndexes(t, segment, env.fs, dir)
    await close()
  }
})

t.test('writing the batches that Kafka wrote gives the files that Kafka has', async t => {
  for (const segment of segments) {
    const { env, close } = memoryEnv({ indexIntervalBytes: segment.indexIntervalBytes })
    const bytes = readFileSync(join(segment.dir, segmentFileName(segment.baseOffset, '.log')))
    const dir = '/data'
    await env.fs.makeDirectory(dir)
    const ours = await Segment.create(env, dir, segment.baseOffset)
    for (const [i, batch] of factsOf(bytes).entries()) {
      await ours.write(bytes.subarray(batch.position, batch.position + batch.size), [batch])
      // Entries may go to the file at any time: what is there in the end is the same.
      if (i % 7 === 0) await ours.flushIndexes()
    }
    await ours.close({ clean: true })
    const written = await content(env.fs, join(dir, segmentFileName(segment.baseOffset, '.log')))
    t.ok(written.equals(bytes), `${segment.name}: log`)
    await sameIndexes(t, segment, env.fs, dir)
    await close()
  }
})

t.test('one write of many batches gives the same files as many writes', async t => {
  const root = await tempDir(t)
  for (const segment of segments.filter(({ name }) => name.includes('segments-0') || name.includes('out-of-order'))) {
    const { env, close } = segmentEnv({ indexIntervalBytes: segment.indexIntervalBytes })
    const bytes = readFileSync(join(segment.dir, segmentFileName(segment.baseOffset, '.log')))
    const dir = join(root, segment.name)
    await env.fs.makeDirectory(dir)
    const ours = await Segment.create(env, dir, segment.baseOffset)
    await ours.write(bytes, factsOf(bytes))
    await ours.seal()
    await sameIndexes(t, segment, env.fs, dir)
    await close()
  }
})

t.test('every batch of a golden log is inside the range that the index gives for each of its offsets', async t => {
  const { env, close } = segmentEnv({})
  let outside = 0
  for (const segment of segments) {
    const bytes = readFileSync(join(segment.dir, segmentFileName(segment.baseOffset, '.log')))
    const ours = await Segment.open(env, segment.dir, segment.baseOffset, { readOnly: true, trustIndexes: true })
    for (const batch of factsOf(bytes)) {
      for (const offset of [batch.baseOffset, batch.lastOffset]) {
        const range = await ours.locate(offset)
        const inside = range.from <= batch.position && batch.position + batch.size <= range.to
        if (!inside) outside += 1
        // An index that was just used is in memory.
        if (ours.locateSync(offset)?.from !== range.from) outside += 1
      }
    }
    await ours.close({ clean: true })
  }
  t.equal(outside, 0)
  await close()
})

t.test('transaction indexes that Kafka wrote are read, and written again the same', async t => {
  let count = 0
  for (const version of VERSIONS) {
    for (const state of ['clean', 'compacted']) {
      const root = fixture('golden', version, state)
      for (const folder of readdirSync(root, { withFileTypes: true }).filter(entry => entry.isDirectory())) {
        const dir = join(root, folder.name)
        for (const name of readdirSync(dir).filter(name => name.endsWith('.txnindex'))) {
          const baseOffset = parseSegmentFileName(name)?.offset ?? 0
          const bytes = readFileSync(join(dir, name))
          const parsed = TransactionIndex.parse(Buffer.from(bytes), baseOffset)
          const copy = new TransactionIndex(baseOffset)
          for (let i = 0; i < parsed.entryCount; i += 1) copy.append(parsed.entryAt(i))
          t.ok(copy.bytes().equals(bytes), `${version} ${folder.name} ${name}`)
          count += parsed.entryCount
        }
      }
    }
  }
  t.ok(count > 20, `${count} aborted transactions`)
})

function logsOf(dir: string): number[] {
  return readdirSync(dir)
    .map(name => parseSegmentFileName(name))
    .filter(file => file?.suffix === '.log')
    .map(file => file?.offset ?? 0)
}

async function sameIndexes(
  t: { ok(condition: boolean, name: string): unknown },
  { name, dir, baseOffset }: GoldenSegment,
  fs: FileSystem,
  ours: string
): Promise<void> {
  for (const suffix of ['.index', '.timeindex']) {
    const file = segmentFileName(baseOffset, suffix)
    const written = await content(fs, join(ours, file))
    t.ok(written.equals(readFileSync(join(dir, file))), `${name}: ${suffix}`)
  }
}
