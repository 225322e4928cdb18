/**
 * Which transactions were aborted is told by files without a checksum, of which most segments have none: one that was
 * damaged or lost showed aborted records as committed, without a word. The manifest has a digest of each.
 */
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import { formatManifest, readManifest } from '../../lib/log/manifest.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { numbered, valuesOf } from '../helpers/logs.ts'
import { manifestWith } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'

t.setTimeout(200_000)

const DIR = '/data/t-0'
const MANIFEST = join(DIR, 'heartwood-manifest')
const FAST = { scrubBytesPerSecond: Number.POSITIVE_INFINITY, scrubEveryMs: 60_000 }
/** Segments 0 and 6 are sealed, 12 is active; each has an aborted transaction. */
const BASES = [0, 6, 12]

class Made {
  readonly clock = new ManualClock()
  fs = new MemoryFileSystem({ now: () => this.clock.now() })

  open(options: { readOnly?: boolean; background?: boolean } = {}): Promise<Store> {
    const { readOnly = false, background = false } = options
    return Store.open('/data', { fs: this.fs, clock: this.clock, readOnly, upkeep: { background, ...FAST } })
  }

  async fill(store: Store, configs: Record<string, string> = {}): Promise<PartitionLog> {
    await store.createTopic('t', { configs })
    const log = await store.openLog('t', 0)
    let baseSequence = 0
    for (const base of BASES) {
      if (base > 0) await log.roll()
      for (const type of ['abort', 'commit'] as const) {
        const producer = { producerId: 7, producerEpoch: 0, transactional: true }
        await log.append(numbered(2, base), { ...producer, baseSequence })
        await log.appendEndTransaction({ type, producerId: 7, producerEpoch: 0 })
        baseSequence += 2
      }
    }
    await log.sync()
    await manifestWith(this.fs, DIR, this.clock, BASES.length - 1)
    return log
  }

  async change(path: string, change: (bytes: Buffer) => Buffer | undefined): Promise<void> {
    const bytes = change(Buffer.from(await readFile(this.fs, path)))
    if (bytes === undefined) return this.fs.unlink(path)
    const handle = await this.fs.open(path, 'write')
    await handle.truncate(0)
    await writeFully(handle, bytes, 0)
    await handle.sync()
    await handle.close()
  }
}

const indexOf = (base: number): string => join(DIR, `${String(base).padStart(20, '0')}.txnindex`)

const committed = (log: PartitionLog): Promise<string[]> => valuesOf(log.records({ isolation: 'read_committed' }))

const DAMAGE: readonly (readonly [string, (bytes: Buffer) => Buffer | undefined])[] = [
  ['another producer', bytes => flipped(bytes, 9)],
  ['another first offset', bytes => flipped(bytes, 17)],
  ['another last stable offset', bytes => flipped(bytes, 33)],
  ['emptied', () => Buffer.alloc(0)],
  ['lost', () => undefined]
]

function flipped(bytes: Buffer, at: number): Buffer {
  bytes[at] = (bytes[at] as number) ^ 1
  return bytes
}

for (const [what, change] of DAMAGE) {
  for (const closed of [true, false]) {
    t.test(`${what}, in a log that was ${closed ? 'closed' : 'killed'}: built again at the next opening`, async t => {
      const made = new Made()
      const store = await made.open()
      const sound = await committed(await made.fill(store))
      t.equal(sound.length, 6)
      // Then there is a checkpoint: sealed segments below it are not scanned.
      await made.clock.advanceAsync(61_000)
      const killed = made.fs.clone()
      await store.close()
      if (!closed) made.fs = killed
      const files = await Promise.all(BASES.map(base => readFile(made.fs, indexOf(base)).catch(() => undefined)))
      // That of a log that was killed is not written yet.
      const bases = closed ? BASES : BASES.slice(0, -1)
      for (const base of bases) await made.change(indexOf(base), change)
      for (const readOnly of [true, false]) {
        const again = await made.open({ readOnly })
        const log = await again.openLog('t', 0)
        t.same(await committed(log), sound, `${what}, ${readOnly ? 'read-only' : 'writable'}`)
        t.same(
          log.recovery.notes.map(({ details }) => details?.['file']),
          bases.map(base => indexOf(base).slice(-29))
        )
        await again.close()
      }
      for (const [i, base] of bases.entries()) t.same(await readFile(made.fs, indexOf(base)), files[i])
      const third = await made.open()
      t.same((await third.openLog('t', 0)).recovery.notes, [], 'and it is told once')
      await third.close()
    })
  }
}

t.test('the index of the active segment is looked for where a crash has come since the last clean close', async t => {
  const made = new Made()
  const store = await made.open()
  const sound = await committed(await made.fill(store))
  await store.close()
  const second = await made.open()
  await (await second.openLog('t', 0)).append(numbered(1, 90))
  await (await second.openLog('t', 0)).sync()
  await made.clock.advanceAsync(2000)
  made.fs = made.fs.clone()
  await made.fs.unlink(indexOf(12))
  const third = await made.open()
  t.same(await committed(await third.openLog('t', 0)), [...sound, 'value-90'])
  await third.close()
  await second.close()
})

t.test('damage that comes while a log is open is refused when the index is read, and told by the scrubber', async t => {
  const made = new Made()
  const first = await made.open()
  await made.fill(first)
  await first.close()
  const store = await made.open({ background: true })
  const log = await store.openLog('t', 0)
  await made.change(indexOf(0), bytes => flipped(bytes, 9))
  await t.rejects(committed(log), { code: 'CORRUPT_FILE', details: { path: indexOf(0) } })
  t.equal((await valuesOf(log.records())).length, 12, 'who reads everything needs no such index')
  for (let i = 0; i < 6; i += 1) {
    await made.clock.advanceAsync(15_000)
    for (let turn = 0; turn < 300; turn += 1) await new Promise(resolve => setImmediate(resolve))
  }
  t.match(store.status().upkeep.scrub.damage, [{ segment: 0, file: indexOf(0), error: { code: 'CORRUPT_FILE' } }])
  await store.close()
  const again = await made.open()
  t.equal((await committed(await again.openLog('t', 0))).length, 6)
  await again.close()
})

t.test('who only reads loads the log anew then: a writer may have put another segment there', async t => {
  const made = new Made()
  const writer = await made.open()
  const sound = await committed(await made.fill(writer))
  await writer.close()
  const store = await made.open({ readOnly: true })
  const log = await store.openLog('t', 0)
  await made.change(indexOf(0), bytes => flipped(bytes, 9))
  t.same(await committed(log), sound)
  await store.close()
})

t.test('compaction takes nothing for committed by a damaged index, and its own is noted', async t => {
  const made = new Made()
  const store = await made.open()
  await made.fill(store, { 'cleanup.policy': 'compact' })
  await store.close()
  const second = await made.open()
  await second.openLog('t', 0)
  await made.change(indexOf(0), () => Buffer.alloc(0))
  const report = await second.compact({ topics: ['t'], force: true })
  t.match(report.partitions[0], { error: { code: 'CORRUPT_FILE' } }, JSON.stringify(report))
  await second.close()
  const third = await made.open()
  const healed = await third.openLog('t', 0)
  const sound = await committed(healed)
  await third.compact({ topics: ['t'], force: true })
  await made.clock.advanceAsync(120_000)
  t.same(await committed(healed), sound.slice(1), 'the first is superseded')
  await third.close()
  for (const { transactions } of (await readManifest(made.fs, DIR))?.sealed ?? []) t.ok(transactions !== undefined)
  const fourth = await made.open()
  t.same((await fourth.openLog('t', 0)).recovery.notes, [])
  await fourth.close()
})

/** As the release before wrote it: without what it says of transaction indexes. */
function asVersion2(manifest: Buffer): Buffer {
  const lines = manifest.toString().trimEnd().split('\n').slice(1, -1)
  const older = lines.map(line =>
    line.startsWith('segment') ? line.replace(/ [^ ]+$/, '').replace(/- \d+ active/, '- - active') : line
  )
  const body = Buffer.from(`heartwood-manifest 2\n${older.join('\n')}\n`)
  return Buffer.concat([body, Buffer.from(`crc ${crc32c(body, 0, body.length).toString(16).padStart(8, '0')}\n`)])
}

t.test('a manifest that an older release wrote is good for what it says', async t => {
  const made = new Made()
  const store = await made.open()
  const sound = await committed(await made.fill(store))
  await store.close()
  const manifest = await readManifest(made.fs, DIR)
  if (manifest === undefined) throw new Error('there is a manifest')
  await made.change(MANIFEST, () => asVersion2(formatManifest(manifest)))
  const second = await made.open({ background: true })
  const log = await second.openLog('t', 0)
  t.same(log.recovery.notes, [])
  t.same(await committed(log), sound)
  for (let i = 0; i < 6; i += 1) {
    await made.clock.advanceAsync(15_000)
    for (let turn = 0; turn < 300; turn += 1) await new Promise(resolve => setImmediate(resolve))
  }
  await second.close()
  t.same(
    (await readManifest(made.fs, DIR))?.sealed.map(({ transactions }) => transactions?.bytes),
    [34, 34]
  )
})
