import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseSegmentFileName, segmentFileName } from '../../lib/segment/file-names.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { batchOf, content, factsOf, memoryEnv, put, segmentEnv } from '../helpers/segments.ts'

/* An index is derived: whatever becomes of it may cost a scan, and must not cost a batch. */

const DIR = '/t-0'
const path = (suffix: string): string => join(DIR, segmentFileName(0, suffix))
const log = Buffer.concat(
  Array.from({ length: 30 }, (_, i) => batchOf({ baseOffset: i * 2, count: 2, timestamp: 1000 + ((i * 7) % 30) * 10 }))
)
const facts = factsOf(log)

async function closedSegment(suffix: string) {
  const made = memoryEnv({ indexIntervalBytes: 300 })
  await made.fs.makeDirectory(DIR)
  const segment = await Segment.create(made.env, DIR, 0)
  await segment.write(log, facts)
  await segment.close({ clean: true })
  return { ...made, sound: await content(made.fs, path(suffix)) }
}

function open(env: Parameters<typeof Segment.open>[0]): Promise<Segment> {
  return Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: true })
}

/** Offsets that cannot be found. */
async function lost(segment: Segment): Promise<number[]> {
  const missing: number[] = []
  for (const { position, baseOffset, lastOffset } of facts) {
    for (const offset of [baseOffset, lastOffset]) {
      if ((await segment.findBatch(offset))?.position !== position) missing.push(offset)
    }
  }
  return missing
}

t.test('with any byte of the offset index changed every batch is found', async t => {
  const { env, fs, sound, rebuilt } = await closedSegment('.index')
  for (let at = 0; at < sound.length; at += 1) {
    for (const mask of [0x01, 0x80, 0xff]) {
      const damaged = Buffer.from(sound)
      damaged[at] = damaged[at]! ^ mask
      await put(fs, path('.index'), damaged)
      const segment = await open(env)
      const missing = await lost(segment)
      if (missing.length > 0) t.fail(`byte ${at} ^ ${mask}: ${missing} lost`)
      await segment.close({ clean: false })
    }
  }
  t.ok(rebuilt.length > sound.length, `${rebuilt.length} were found out and rebuilt`)
})

t.test('with the offset index cut at any byte, or gone, every batch is found', async t => {
  const { env, fs, sound } = await closedSegment('.index')
  for (let length = 0; length < sound.length; length += 1) {
    await put(fs, path('.index'), sound.subarray(0, length))
    const segment = await open(env)
    t.same(await lost(segment), [], `${length} bytes left`)
    await segment.close({ clean: false })
  }
  await fs.unlink(path('.index'))
  const segment = await open(env)
  t.same(await lost(segment), [])
  t.ok((await content(fs, path('.index'))).equals(sound), 'the file is there again')
})

t.test('a time index that is gone, torn or out of order is built anew', async t => {
  const { env, fs, sound, rebuilt } = await closedSegment('.timeindex')
  const largest = Math.max(...facts.map(fact => fact.maxTimestamp))
  const damaged = [
    undefined,
    Buffer.alloc(0),
    sound.subarray(0, sound.length - 1),
    Buffer.concat([sound, sound]),
    Buffer.alloc(sound.length)
  ]
  for (const bytes of damaged) {
    if (bytes === undefined) await fs.unlink(path('.timeindex'))
    else await put(fs, path('.timeindex'), bytes)
    const before = rebuilt.length
    const segment = await open(env)
    t.equal(await segment.largestTimestamp(), largest)
    t.equal(rebuilt.length, before + 1)
    await segment.close({ clean: true })
    t.ok((await content(fs, path('.timeindex'))).equals(sound))
  }
})

t.test('an index that cannot be written again serves from memory', async t => {
  const { env, fs } = await closedSegment('.index')
  await fs.unlink(path('.index'))
  fs.onCall = call => {
    if (call.operation === 'write') throw Object.assign(new Error('full'), { code: 'ENOSPC' })
  }
  const segment = await open(env)
  t.same(await lost(segment), [])
  fs.onCall = undefined
  await segment.flushIndexes()
  t.ok((await content(fs, path('.index'))).length > 0)
})

t.test('a rebuild beside writes misses none of them', async t => {
  const { env, fs } = memoryEnv({ indexIntervalBytes: 300 })
  await fs.makeDirectory(DIR)
  const segment = await Segment.create(env, DIR, 0)
  const rebuilds: Promise<void>[] = []
  for (const [i, fact] of facts.entries()) {
    if (i % 3 === 0) rebuilds.push(segment.distrustIndexes('no reason'))
    await segment.write(log.subarray(fact.position, fact.position + fact.size), [fact])
  }
  await Promise.all(rebuilds)
  t.same(await lost(segment), [])
  await segment.close({ clean: true })
  const { sound } = await closedSegment('.index')
  t.ok((await content(fs, path('.index'))).equals(sound))
})

t.test('what a killed broker left is opened for reading, its preallocated indexes and all', async t => {
  for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
    const dir = await tempDir(t)
    execFileSync('tar', ['-xzf', fixture('golden', version, 'crashed.tar.gz'), '-C', dir])
    const { env, close } = segmentEnv({})
    let preallocated = 0
    for (const folder of foldersWithLogs(dir)) {
      const bases = basesIn(folder)
      for (const baseOffset of bases) {
        const options = { readOnly: true, trustIndexes: false }
        const segment = await Segment.open(env, folder, baseOffset, options)
        const isActive = baseOffset === bases.at(-1)
        t.equal(await segment.indexesAreLongerThanEntries(), isActive, `${folder} ${baseOffset}`)
        if (isActive) preallocated += 1
        const bytes = Buffer.alloc(segment.size)
        await segment.read(bytes, 0)
        for (const { position, size, lastOffset } of factsOf(bytes)) {
          const range = await segment.locate(lastOffset)
          if (range.from > position || range.to < position + size) t.fail(`${lastOffset} not in its range`)
          if ((await segment.findBatch(lastOffset))?.position !== position) t.fail(`${lastOffset} not found`)
        }
        await segment.close({ clean: true })
      }
    }
    t.equal(preallocated, 6)
    await close()
  }
})

function foldersWithLogs(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true, recursive: true })
  return [...new Set(entries.filter(entry => entry.name.endsWith('.log')).map(entry => entry.parentPath))]
}

function basesIn(dir: string): number[] {
  const files = readdirSync(dir).map(name => parseSegmentFileName(name))
  return files.flatMap(file => (file?.suffix === '.log' ? [file.offset] : [])).sort((a, b) => a - b)
}
