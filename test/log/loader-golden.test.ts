import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import type { LoadedLog } from '../../lib/log/loader-types.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { parsePartitionDirectoryName } from '../../lib/segment/file-names.ts'
import { GOLDEN_VERSIONS } from '../helpers/golden.ts'
import { closeLoaded, eachBatch, load } from '../helpers/loading.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

/** The broker's settings where they differ from the defaults (README.md of the fixtures). */
const INDEX_INTERVAL: Record<string, number> = { segments: 1024, 'dense-index': 0, 'out-of-order-time': 512 }

interface ExpectedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

interface Expected {
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly readUncommitted: readonly ExpectedRecord[]
  readonly readCommitted: 'same' | readonly ExpectedRecord[]
}

function expected(version: string, folder: string, topic: string): Expected {
  return JSON.parse(readFileSync(fixture('golden', version, folder, `${topic}.json`), 'utf8')) as Expected
}

function configOf(topic: string) {
  const cleanupPolicy = topic.startsWith('compacted') ? (['compact'] as const) : (['delete'] as const)
  return logConfig({ indexIntervalBytes: INDEX_INTERVAL[topic] ?? 4096, cleanupPolicy })
}

function shown(bytes: Buffer | null): unknown {
  if (bytes === null || bytes.length <= 64) return bytes?.toString('hex') ?? null
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** The records as the expectation files have them. */
async function recordsOf(log: LoadedLog): Promise<unknown[]> {
  const records: unknown[] = []
  await eachBatch(log, batch => {
    if (batch.isControl) return
    const cursor = batch.records()
    while (cursor.next()) {
      if (cursor.offset < log.logStartOffset) continue
      records.push({
        offset: cursor.offset,
        timestamp: cursor.timestamp,
        timestampType: batch.timestampType,
        leaderEpoch: batch.partitionLeaderEpoch,
        key: shown(cursor.key()),
        value: shown(cursor.value()),
        headers: cursor.headers().map(([name, value]) => [name, shown(value)])
      })
    }
  })
  return records
}

/** Offsets that a consumer of committed records is shown, by the transaction indexes and the last stable offset. */
async function committedOffsets(log: LoadedLog): Promise<number[]> {
  const aborted: { producerId: number; firstOffset: number; lastOffset: number }[] = []
  for (const segment of log.segments) {
    const { entries } = await segment.collectAborted(log.logStartOffset, log.logEndOffset)
    aborted.push(...entries)
  }
  const end = log.producers.lastStableOffset(log.logEndOffset)
  const offsets: number[] = []
  await eachBatch(log, batch => {
    const { producerId, baseOffset: at } = batch
    const gone = aborted.some(a => a.producerId === producerId && a.firstOffset <= at && at < a.lastOffset)
    if (batch.isControl || (batch.isTransactional && gone)) return
    const cursor = batch.records()
    while (cursor.next()) if (cursor.offset >= log.logStartOffset && cursor.offset < end) offsets.push(cursor.offset)
  })
  return offsets
}

async function sameContent(t: Test, log: LoadedLog, topic: string, want: Expected): Promise<void> {
  t.equal(log.logStartOffset, want.logStartOffset, `${topic}: log start offset`)
  t.equal(log.logEndOffset, want.highWatermark, `${topic}: log end offset`)
  log.producers.onHighWatermark(log.logEndOffset)
  t.equal(log.producers.lastStableOffset(log.logEndOffset), want.lastStableOffset, `${topic}: last stable offset`)
  t.same(await recordsOf(log), want.readUncommitted, `${topic}: records`)
  const committed = want.readCommitted === 'same' ? want.readUncommitted : want.readCommitted
  t.same(
    await committedOffsets(log),
    committed.map(record => record.offset),
    `${topic}: committed records`
  )
}

async function contentOf(dir: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const name of (await readdir(dir)).sort()) files.set(name, (await readFile(join(dir, name))).toString('latin1'))
  return files
}

/** Indexes follow from the log's bytes; where those are the same, they are the same. */
async function sameIndexes(t: Test, dir: string, clean: string): Promise<void> {
  for (const name of await readdir(clean)) {
    const at = name.lastIndexOf('.')
    if (!['.index', '.timeindex', '.txnindex'].includes(name.slice(at))) continue
    const log = `${name.slice(0, at)}.log`
    const [ours, theirs] = [await readFile(join(dir, log)), await readFile(join(clean, log))]
    if (!ours.equals(theirs)) continue
    const found = await readFile(join(dir, name)).catch(() => undefined)
    t.ok(found?.equals(await readFile(join(clean, name))), `${dir.slice(dir.lastIndexOf('/') + 1)}/${name}`)
  }
}

function partitionsIn(root: string): { dir: string; name: string; topic: string }[] {
  return readdirSync(root).flatMap(name => {
    const parsed = parsePartitionDirectoryName(name)
    return parsed === undefined ? [] : [{ dir: join(root, name), name, topic: parsed.topic }]
  })
}

for (const version of GOLDEN_VERSIONS) {
  t.test(`a directory that a killed ${version} broker left is recovered to what consumers saw`, async t => {
    const root = await tempDir(t)
    execFileSync('tar', ['xzf', fixture('golden', version, 'crashed.tar.gz'), '-C', root])
    for (const { dir, name, topic } of partitionsIn(root)) {
      const given = { fs: nodeFileSystem, dir, config: configOf(topic) }
      const before = await contentOf(dir)
      const looking = await load({ ...given, readOnly: true })
      await sameContent(t, looking, `${topic}, read-only`, expected(version, 'expect', topic))
      await closeLoaded(looking)
      t.same(await contentOf(dir), before, `${topic}: opening it read-only changes no byte`)

      const log = await load(given)
      await sameContent(t, log, topic, expected(version, 'expect', topic))
      t.equal(log.report.truncatedBytes, 0, `${topic}: nothing is cut off`)
      t.same(log.report.notes, [], `${topic}: nothing to note`)
      await closeLoaded(log)
      await sameIndexes(t, dir, fixture('golden', version, 'clean', name))
    }
  })

  t.test(`directories that a ${version} broker closed are opened without a scan`, async t => {
    const root = await tempDir(t)
    await cp(fixture('golden', version, 'clean'), root, { recursive: true })
    for (const { dir, name, topic } of partitionsIn(root)) {
      if (topic.startsWith('__')) continue
      const want = expected(version, 'expect', topic)
      const logStartOffset = topic === 'trimmed' ? want.logStartOffset : undefined
      const given = { fs: nodeFileSystem, dir, config: configOf(topic), clean: true, logStartOffset }
      const before = await contentOf(dir)
      await closeLoaded(await load({ ...given, readOnly: true }))
      t.same(await contentOf(dir), before, `${topic}: opening it read-only changes no byte`)
      const log = await load(given)
      await sameContent(t, log, topic, want)
      t.same(log.report.rebuilt, [], `${topic}: nothing is rebuilt`)
      t.same(log.report.notes, [], `${topic}: nothing to note`)
      await closeLoaded(log)
      await sameIndexes(t, dir, fixture('golden', version, 'clean', name))
    }
  })

  t.test(`what ${version}'s cleaner left to be removed is removed, and a scan accepts its gaps`, async t => {
    const root = await tempDir(t)
    await cp(fixture('golden', version, 'compacted'), root, { recursive: true })
    for (const { dir, topic } of partitionsIn(root)) {
      const want = expected(version, 'expect-compacted', topic)
      for (const clean of [true, false]) {
        const log = await load({ fs: nodeFileSystem, dir, clean, config: configOf(topic) })
        t.equal(log.logEndOffset, want.highWatermark, `${topic}: log end offset`)
        t.same(await recordsOf(log), want.readUncommitted, `${topic}: records`)
        t.notOk(
          (await readdir(dir)).some(name => name.endsWith('.deleted')),
          `${topic}: nothing is left over`
        )
        t.equal(log.report.truncatedBytes, 0, `${topic}: nothing is cut off`)
        await closeLoaded(log)
      }
    }
  })
}
