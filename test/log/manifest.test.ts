import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import {
  compareManifest,
  formatManifest,
  type Manifest,
  parseManifest,
  readManifest,
  type SealedSegment
} from '../../lib/log/manifest.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { closeLoaded, load } from '../helpers/loading.ts'
import { numbered, openLog } from '../helpers/logs.ts'
import { activeAt, manifestWith } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import {
  batch,
  batches,
  DIR,
  file,
  imageOf,
  markBehind,
  memoryFolder,
  putFiles,
  putWatermark
} from '../helpers/partition-folder.ts'

const DIGEST = { batches: 3, hash: '00c0ffee00c0ffee' }
const MANIFEST: Manifest = {
  logStartOffset: 2,
  sealed: [
    {
      baseOffset: 0,
      bytes: 400,
      nextOffset: 5,
      state: 'sealed',
      digest: DIGEST,
      verifiedMs: 1_700_000_000_000,
      transactions: { bytes: 34, crc: 0x0102abcd }
    },
    {
      baseOffset: 5,
      bytes: 400,
      nextOffset: 10,
      state: 'compacted',
      digest: undefined,
      verifiedMs: undefined,
      transactions: undefined
    }
  ],
  active: { baseOffset: 10, nextOffset: 12, transactions: { bytes: 0, crc: 0 } }
}
const NOTHING: Manifest = { logStartOffset: 0, sealed: [], active: undefined }

/** Whatever the body says, under a right checksum. */
function withCrc(body: string): Buffer {
  const bytes = Buffer.from(body)
  const crc = crc32c(bytes, 0, bytes.length).toString(16).padStart(8, '0')
  return Buffer.concat([bytes, Buffer.from(`crc ${crc}\n`)])
}

t.test('a manifest reads back as it was written', async t => {
  t.same(parseManifest(formatManifest(MANIFEST)), MANIFEST)
  t.same(parseManifest(formatManifest(NOTHING)), NOTHING)
  const [, start, first, second, active] = formatManifest(MANIFEST).toString().split('\n')
  t.equal(start, 'start 2')
  t.equal(first, 'segment 0 400 5 sealed 3 00c0ffee00c0ffee 1700000000000 34:0102abcd')
  t.equal(second, 'segment 5 400 10 compacted - - - -')
  t.equal(active, 'segment 10 - 12 active - - - 0:00000000')
})

t.test('a manifest of version 2 says nothing of transaction indexes', async t => {
  const lines = ['segment 0 400 5 sealed 3 00c0ffee00c0ffee 1700000000000', 'segment 5 - - active - - -']
  const { sealed, active } = parseManifest(withCrc(`heartwood-manifest 2\nstart 2\n${lines.join('\n')}\n`))
  t.same(sealed, [{ ...MANIFEST.sealed[0], transactions: undefined }])
  t.same(active, activeAt(5))
})

t.test('a manifest with any bit flipped, or cut anywhere, is refused', async t => {
  const bytes = formatManifest(MANIFEST)
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] as number) ^ (1 << bit)
      t.throws(() => parseManifest(flipped), { code: 'CORRUPT_FILE' })
    }
    t.throws(() => parseManifest(bytes.subarray(0, at)), { code: 'CORRUPT_FILE' })
  }
})

t.test('a manifest of a newer release is refused by name', async t => {
  t.throws(() => parseManifest(withCrc('heartwood-manifest 4\n')), { code: 'UNSUPPORTED_VERSION' })
})

t.test('a manifest whose lines cannot be is refused, whatever its checksum', async t => {
  const head = 'heartwood-manifest 3\nstart 0\n'
  for (const body of [
    'heartwood-manifest 1\n',
    'heartwood-manifest 3\n',
    'heartwood-manifest 2\nstart 0\nsegment 0 1 5 sealed - - - -\n',
    `${head}segment 0 1 5 sealed - - -\n`,
    `${head}segment 0 1 5 sealed - - - -`,
    `${head}segment 0 1 5 whole - - - -\n`,
    `${head}segment 0 1 5 sealed 1 - - -\n`,
    `${head}segment 0 1 5 sealed - - - 34\n`,
    `${head}segment 5 1 6 sealed - - - -\nsegment 0 1 5 sealed - - - -\n`,
    `${head}segment 0 1 5 sealed - - - -\nsegment 4 1 6 sealed - - - -\n`,
    `${head}segment 6 1 5 sealed - - - -\n`,
    `${head}segment 0 1 5 sealed - - - -\nsegment 4 - - active - - - -\n`,
    `${head}segment 0 1 5 sealed - - - -\nsegment 5 - 4 active - - - -\n`,
    `${head}segment 0 - - active - - - -\nsegment 4 1 6 sealed - - - -\n`,
    `${head}segment 0 9999999999999999 5 sealed - - - -\n`
  ])
    t.throws(() => parseManifest(withCrc(body)), { code: 'CORRUPT_FILE' }, body)
})

t.test('files are compared where something was promised of them', async t => {
  const everything = { upTo: 100, logStartOffset: 0 }
  const manifest = { ...MANIFEST, logStartOffset: 0 }
  const first = { baseOffset: 0, bytes: 400 }
  const files = [first, { baseOffset: 5, bytes: 400 }, { baseOffset: 10, bytes: 77 }]
  t.equal(compareManifest(manifest, files, everything), undefined)
  t.equal(compareManifest(manifest, [...files, { baseOffset: 20, bytes: 1 }], everything), undefined)
  t.match(compareManifest(manifest, files.slice(1), everything), { kind: 'missing', baseOffset: 0, toOffset: 5 })
  t.equal(compareManifest(manifest, files.slice(1), { upTo: 100, logStartOffset: 5 }), undefined)
  t.equal(compareManifest({ ...manifest, logStartOffset: 5 }, files.slice(1), everything), undefined)
  t.equal(compareManifest(manifest, files.slice(1), { upTo: 4, logStartOffset: 0 }), undefined)
  for (const [bytes, kind, position] of [
    [399, 'shorter', 399],
    [401, 'longer', 400]
  ] as const)
    t.match(compareManifest(manifest, [{ ...first, bytes }, ...files.slice(1)], everything), { kind, position })
  t.match(compareManifest(manifest, [first], everything), { kind: 'missing', baseOffset: 5 }, 'a compacted one too')
})

t.test('each segment file that is missing, shorter or longer is noticed when the log is opened', async t => {
  const written = batches(0, 9)
  const part = (from: number, to: number): Buffer => Buffer.concat(written.slice(from, to))
  const files = { [file(0)]: part(0, 3), [file(3)]: part(3, 6), [file(6)]: part(6, 9) }
  const closed = (baseOffset: number): SealedSegment => ({
    baseOffset,
    bytes: part(baseOffset, baseOffset + 3).length,
    nextOffset: baseOffset + 3,
    state: 'sealed',
    digest: undefined,
    verifiedMs: undefined,
    transactions: undefined
  })
  const manifest = formatManifest({ logStartOffset: 0, sealed: [closed(0), closed(3)], active: activeAt(6) })
  const build = async (): Promise<MemoryFileSystem> => {
    const fs = await memoryFolder({ ...files, 'heartwood-manifest': manifest })
    await putWatermark(fs, markBehind(6, written.slice(6)))
    return fs
  }
  for (const clean of [true, false]) {
    const sound = await build()
    await closeLoaded(await load({ fs: sound, dir: DIR, clean, recoveryPoint: 6 }))
    for (const base of [0, 3, 6]) {
      const missing = await build()
      await missing.unlink(`${DIR}/${file(base)}`)
      const before = await imageOf(missing)
      await t.rejects(
        load({ fs: missing, dir: DIR, clean, recoveryPoint: 6 }),
        { code: 'CORRUPT_LOG' },
        `${base} missing`
      )
      const untouched = await imageOf(missing)
      t.same(
        Object.keys(untouched).filter(name => name.endsWith('.log')),
        Object.keys(before).filter(name => name.endsWith('.log'))
      )
      const shorter = await build()
      await putFiles(shorter, { [file(base)]: part(base, base + 2) })
      await t.rejects(
        load({ fs: shorter, dir: DIR, clean, recoveryPoint: 6 }),
        { code: 'CORRUPT_LOG' },
        `${base} shorter`
      )
    }
  }
  const prefix = await build()
  await prefix.unlink(`${DIR}/${file(3)}`)
  const log = await load({ fs: prefix, dir: DIR, onCorruption: 'read-prefix' })
  t.same([log.readableUpTo, log.corrupt?.code], [3, 'CORRUPT_LOG'])
  await closeLoaded(log)
})

t.test('a segment is called sealed only if no offset is missing in it', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  const clock = new ManualClock()
  const log = await openLog('/data', { shared: sharedParts({ fs, clock }) })
  await log.appendAsFollower(Buffer.concat(batches(0, 3)))
  await log.roll()
  await log.appendAsFollower(Buffer.concat([batch(3), batch(7), batch(8)]))
  await log.roll()
  const { sealed, active } = await manifestWith(fs, DIR, clock, 2)
  t.match(sealed, [
    { baseOffset: 0, nextOffset: 3, state: 'sealed', digest: { batches: 3 } },
    { baseOffset: 3, nextOffset: 9, state: 'compacted', digest: { batches: 3 } }
  ])
  t.equal(active?.baseOffset, 9)
  t.equal(sealed[0]?.verifiedMs, clock.now() - 1000, 'reading it for its digest was to look at all of it')
  await log.close()
})

t.test('after another engine wrote, the manifest says nothing and is removed', async t => {
  const fs = await memoryFolder({
    [file(0)]: Buffer.concat(batches(0, 3)),
    'heartwood-manifest': formatManifest(MANIFEST)
  })
  await t.rejects(load({ fs, dir: DIR, clean: true }), { code: 'CORRUPT_LOG' })
  const log = await load({ fs, dir: DIR, clean: true, foreign: true })
  t.match(log.report.notes, [{ code: 'ANOTHER_ENGINE_WROTE' }])
  t.equal(await fs.stat(`${DIR}/heartwood-manifest`), undefined)
  await closeLoaded(log)
})

t.test('a sealed segment that is to be written to, because the one behind it is gone, leaves the manifest', async t => {
  const state = { state: 'sealed', digest: undefined, verifiedMs: undefined, transactions: undefined } as const
  const bytes = Buffer.concat(batches(0, 3))
  const sealed = [{ baseOffset: 0, bytes: bytes.length, nextOffset: 3, ...state }]
  const manifest = formatManifest({ logStartOffset: 0, sealed, active: activeAt(3) })
  const fs = await memoryFolder({ [file(0)]: bytes, 'heartwood-manifest': manifest })
  const log = await load({ fs, dir: DIR, clean: true })
  t.same((await readManifest(fs, DIR))?.sealed, [])
  await closeLoaded(log)
})

t.test('many sealed segments take one writing of the manifest, and a roll takes none', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  const clock = new ManualClock()
  const log = await openLog('/data', { shared: sharedParts({ fs, clock }) })
  let writings = 0
  fs.onCall = ({ operation, path }) => {
    if (operation === 'open' && path.endsWith('heartwood-manifest.tmp')) writings += 1
  }
  for (let i = 0; i < 20; i += 1) {
    await log.append(numbered(3, 3 * i))
    await log.roll()
  }
  t.equal(writings, 0)
  t.equal((await manifestWith(fs, DIR, clock, 20)).sealed.length, 20)
  t.equal(writings, 1)
  await log.append(numbered(1))
  await log.truncateTo(60)
  await log.close()
  t.equal(writings, 1, 'nothing that it names has changed')
  const again = await openLog('/data', { clean: true, shared: sharedParts({ fs, clock }) })
  await again.close()
  t.equal(writings, 1)
})
