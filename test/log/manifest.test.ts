import t from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { compareManifest, formatManifest, type Manifest, manifestOf, parseManifest } from '../../lib/log/manifest.ts'
import { closeLoaded, load } from '../helpers/loading.ts'
import {
  batches,
  DIR,
  file,
  imageOf,
  markBehind,
  memoryFolder,
  putFiles,
  putWatermark
} from '../helpers/partition-folder.ts'

const MANIFEST: Manifest = {
  segments: [
    { baseOffset: 0, closed: { bytes: 400, nextOffset: 5 }, rewritable: false },
    { baseOffset: 5, closed: { bytes: 400, nextOffset: 10 }, rewritable: true },
    { baseOffset: 10, closed: undefined, rewritable: false }
  ]
}

t.test('a manifest reads back as it was written', async t => {
  t.same(parseManifest(formatManifest(MANIFEST)), MANIFEST)
  t.same(parseManifest(formatManifest({ segments: [] })), { segments: [] })
  t.equal(formatManifest(MANIFEST).toString().split('\n')[1], 'segment 0 400 5 whole')
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
  const body = Buffer.from('heartwood-manifest 2\n')
  const { crc32c } = await import('../../lib/util/crc32c.ts')
  const crc = crc32c(body, 0, body.length).toString(16).padStart(8, '0')
  t.throws(() => parseManifest(Buffer.concat([body, Buffer.from(`crc ${crc}\n`)])), { code: 'UNSUPPORTED_VERSION' })
})

t.test('files are compared where something was promised of them', async t => {
  const everything = { upTo: 100, logStartOffset: 0 }
  const files = [
    { baseOffset: 0, bytes: 400 },
    { baseOffset: 5, bytes: 1 },
    { baseOffset: 10, bytes: 77 }
  ]
  t.equal(compareManifest(MANIFEST, files, everything), undefined)
  t.match(compareManifest(MANIFEST, files.slice(1), everything), { kind: 'missing', baseOffset: 0, toOffset: 5 })
  t.equal(compareManifest(MANIFEST, files.slice(1), { upTo: 100, logStartOffset: 5 }), undefined)
  t.equal(compareManifest(MANIFEST, files.slice(1), { upTo: 4, logStartOffset: 0 }), undefined)
  const [first] = files
  t.match(compareManifest(MANIFEST, [{ ...first, baseOffset: 0, bytes: 399 }], everything), {
    kind: 'shorter',
    position: 399
  })
  t.match(compareManifest(MANIFEST, [{ ...first, baseOffset: 0, bytes: 401 }], everything), {
    kind: 'longer',
    position: 400
  })
})

t.test('of segments that the manifest does not know, nothing is promised, save for a new empty one', async t => {
  const segments = [
    { baseOffset: 0, size: 10, nextOffset: 5 },
    { baseOffset: 5, size: 0, nextOffset: 5 }
  ]
  const first = manifestOf(segments, undefined)
  t.same(
    first.segments.map(segment => segment.rewritable),
    [true, false]
  )
  const grown = [segments[0], { baseOffset: 5, size: 20, nextOffset: 9 }, { baseOffset: 9, size: 0, nextOffset: 9 }]
  t.same(manifestOf(grown as typeof segments, first).segments[1], {
    baseOffset: 5,
    closed: { bytes: 20, nextOffset: 9 },
    rewritable: false
  })
})

t.test('each segment file that is missing, shorter or longer is noticed when the log is opened', async t => {
  const written = batches(0, 9)
  const part = (from: number, to: number): Buffer => Buffer.concat(written.slice(from, to))
  const files = { [file(0)]: part(0, 3), [file(3)]: part(3, 6), [file(6)]: part(6, 9) }
  const closed = (baseOffset: number) => ({
    baseOffset,
    closed: { bytes: part(baseOffset, baseOffset + 3).length, nextOffset: baseOffset + 3 },
    rewritable: false
  })
  const manifest = formatManifest({
    segments: [closed(0), closed(3), { baseOffset: 6, closed: undefined, rewritable: false }]
  })
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

t.test('a log keeps a manifest when asked to, and makes it anew after another engine wrote', async t => {
  const fs = await memoryFolder({ [file(0)]: Buffer.concat(batches(0, 3)) })
  const config = logConfig()
  const log = await load({ fs, dir: DIR, keepManifest: true, config })
  t.same(log.manifest, { segments: [{ baseOffset: 0, closed: undefined, rewritable: true }] })
  await closeLoaded(log)
  await putFiles(fs, { 'heartwood-manifest': formatManifest(MANIFEST) })
  const again = await load({ fs, dir: DIR, keepManifest: true, foreign: true, config })
  t.same(again.manifest, log.manifest)
  t.match(again.report.notes, [{ code: 'ANOTHER_ENGINE_WROTE' }])
  await closeLoaded(again)
})
