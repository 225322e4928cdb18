import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { test } from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { LogHolds, overdueHolds } from '../../lib/log/holds.ts'
import { formatHolds, HOLDS_FILE, type Hold, MAX_HOLDS, parseHolds, readHolds } from '../../lib/log/holds-file.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { DIR, memoryFolder, putFiles } from '../helpers/partition-folder.ts'

const NOW = 1_700_000_000_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

const hold = (name: string, given: Partial<Hold> = {}): Hold => ({
  name,
  offset: 10,
  movedMs: NOW,
  limitMs: DAY,
  limitBytes: undefined,
  brokenMs: undefined,
  ...given
})

async function folder(files: Record<string, Buffer> = {}): Promise<MemoryFileSystem> {
  const fs = await memoryFolder({})
  await putFiles(fs, files)
  return fs
}

const onDisk = async (fs: MemoryFileSystem): Promise<[string, number][]> =>
  (await readHolds(fs, DIR)).map(({ name, offset }) => [name, offset])

test('any holds survive being written and read', async t => {
  const limit = fc.option(fc.maxSafeNat(), { nil: undefined })
  const any = fc.record(
    {
      name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
      offset: fc.maxSafeNat(),
      movedMs: fc.maxSafeNat(),
      limitMs: limit,
      limitBytes: limit,
      brokenMs: limit
    },
    { noNullPrototype: true }
  )
  fc.assert(
    fc.property(fc.uniqueArray(any, { maxLength: 5, selector: each => each.name }), holds => {
      deepStrictEqual(parseHolds(formatHolds(holds)), holds)
    }),
    { numRuns: 300 }
  )
  t.pass()
})

test('a file with any bit flipped, or cut anywhere, is refused', async t => {
  const bytes = formatHolds([hold('billing'), hold('audit', { limitBytes: 7, brokenMs: NOW })])
  for (let at = 0; at < bytes.length; at += 1) {
    t.throws(() => parseHolds(bytes.subarray(0, at)), { code: 'CORRUPT_FILE' }, `cut at ${at}`)
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(bytes)
      flipped[at]! ^= 1 << bit
      t.throws(() => parseHolds(flipped), { code: 'CORRUPT_FILE' }, `bit ${bit} of ${at}`)
    }
  }
})

test('what a sound checksum cannot excuse is refused, and a newer version by its number', async t => {
  const file = (text: string): Buffer => {
    const body = Buffer.from(text)
    const crc = crc32c(body, 0, body.length).toString(16).padStart(8, '0')
    return Buffer.concat([body, Buffer.from(`crc ${crc}\n`)])
  }
  const line = 'hold 1 2 3 4 5 "a"\n'
  for (const text of [
    '',
    'heartwood-holds\n',
    `heartwood-holds 1\n${line}${line}`,
    'heartwood-holds 1\nhold 1 2 3 4 5 "a',
    'heartwood-holds 1\nhold 1 2 3 4 "a"\n',
    'heartwood-holds 1\nhold -1 2 3 4 5 "a"\n',
    'heartwood-holds 1\nhold 9999999999999999 2 3 4 5 "a"\n',
    'heartwood-holds 1\nhold 1 2 3 4 5 "\\x"\n'
  ]) {
    t.throws(() => parseHolds(file(text)), { code: 'CORRUPT_FILE' }, JSON.stringify(text))
  }
  t.same(parseHolds(file(`heartwood-holds 1\n${line}`)).length, 1)
  t.throws(() => parseHolds(file('heartwood-holds 2\n')), { code: 'UNSUPPORTED_VERSION', details: { version: 2 } })
})

test('a new hold is durable when that is said, a moved one when it is persisted', async t => {
  const fs = await folder()
  const holds = await LogHolds.open(fs, DIR)
  t.equal(await holds.hold('billing', { offset: 5, now: NOW }), undefined)
  fs.powerCut()
  t.same(await onDisk(fs), [['billing', 5]])
  const again = await LogHolds.open(fs, DIR)
  t.match(await again.hold('billing', { offset: 9, now: NOW + 1 }), { offset: 5 })
  t.match(again.list(), [{ name: 'billing', offset: 9, movedMs: NOW + 1, limitMs: 7 * DAY, limitBytes: undefined }])
  t.same(await onDisk(fs), [['billing', 5]], 'behind: more is kept than must be')
  await again.persist()
  fs.powerCut()
  t.same(await onDisk(fs), [['billing', 9]])
  t.equal(await again.release('billing'), true)
  t.equal(await again.release('billing'), false)
  fs.powerCut()
  t.same(await onDisk(fs), [])
})

test('a hold moves forward only; its limits stay until others are given', async t => {
  const holds = await LogHolds.open(await folder(), DIR)
  await holds.hold('billing', { offset: 5, now: NOW }, { limitMs: HOUR, limitBytes: 1000 })
  await t.rejects(holds.hold('billing', { offset: 4, now: NOW }), {
    code: 'INVALID_REQUEST',
    details: { hold: 'billing', offset: 4, holdOffset: 5 }
  })
  await holds.hold('billing', { offset: 5, now: NOW + 9 })
  t.match(holds.list(), [{ offset: 5, movedMs: NOW + 9, limitMs: HOUR, limitBytes: 1000 }])
  await holds.hold('billing', { offset: 6, now: NOW }, { limitMs: 'none', limitBytes: 'none' })
  t.match(holds.list(), [{ limitMs: undefined, limitBytes: undefined }])
})

test('names and limits that are none are refused, and so is one hold too many', async t => {
  const holds = await LogHolds.open(await folder(), DIR)
  const at = { offset: 0, now: NOW }
  for (const name of ['', 'x'.repeat(256), '\ud800']) {
    await t.rejects(holds.hold(name, at), { code: 'INVALID_REQUEST' }, JSON.stringify(name))
  }
  for (const limit of [-1, 1.5, Number.NaN]) {
    await t.rejects(holds.hold('a', at, { limitMs: limit }), { code: 'INVALID_REQUEST' })
    await t.rejects(holds.hold('a', at, { limitBytes: limit }), { code: 'INVALID_REQUEST' })
  }
  t.same(holds.list(), [])
  const many = Array.from({ length: MAX_HOLDS }, (_, i) => hold(`\u0001${'\u0002'.repeat(250)}${i}`))
  const full = await LogHolds.open(await folder({ [HOLDS_FILE]: formatHolds(many) }), DIR)
  t.equal(full.list().length, MAX_HOLDS, 'the largest file there can be is read')
  await t.rejects(full.hold('one more', at), { code: 'INVALID_REQUEST', details: { limit: MAX_HOLDS } })
  await full.hold(many[0]!.name, { offset: 11, now: NOW })
})

test('a hold is overdue one millisecond, or one byte, beyond its limit', async t => {
  const segments = [
    { baseOffset: 0, bytes: 100 },
    { baseOffset: 10, bytes: 100 },
    { baseOffset: 20, bytes: 100 }
  ]
  const facts = { segments, logEndOffset: 25 }
  const names = (holds: Hold[], now: number, clockJumpMs?: number): string[] =>
    overdueHolds(holds, { ...facts, clockJumpMs }, now).map(({ name, limit }) => `${name} ${limit}`)
  t.same(names([hold('a')], NOW + DAY), [])
  t.same(names([hold('a')], NOW + DAY + 1), ['a limitMs'])
  t.same(names([hold('a')], NOW + DAY + 1, DAY), [], 'not by a clock that jumped')
  t.same(names([hold('a', { limitMs: undefined })], NOW + 1e12), [])
  t.same(names([hold('a', { limitBytes: 200 })], NOW), [], 'from offset 10 on there are 200 bytes')
  t.same(names([hold('a', { limitBytes: 199 })], NOW), ['a limitBytes'])
  t.same(names([hold('a', { offset: 25, limitBytes: 0 })], NOW), [], 'at the end it holds nothing')
  t.same(names([hold('a', { brokenMs: NOW })], NOW + 1e12), [], 'once is enough')
  t.match(overdueHolds([hold('a', { limitBytes: 5 })], facts, NOW), [{ offset: 10, allowed: 5, found: 200 }])
})

test('a broken hold is broken on the disk, and holds again when its reader comes back', async t => {
  const fs = await folder()
  const holds = await LogHolds.open(fs, DIR)
  await holds.hold('billing', { offset: 5, now: NOW }, { limitMs: HOUR })
  const now = NOW + HOUR + 1
  await holds.break(overdueHolds(holds.list(), { segments: [], logEndOffset: 10 }, now), now)
  fs.powerCut()
  const again = await LogHolds.open(fs, DIR)
  t.match(again.list(), [{ name: 'billing', offset: 5, brokenMs: now }])
  t.match(await again.hold('billing', { offset: 3, now }), { brokenMs: now }, 'its reader is told')
  t.match(again.list(), [{ offset: 3, brokenMs: undefined, limitMs: HOUR }])
  fs.powerCut()
  t.match(await readHolds(fs, DIR), [{ offset: 3, brokenMs: undefined }], 'a revived hold is as durable as a new one')
})

test('what cannot be written is not said: no new hold, none that is broken', async t => {
  const fs = await folder()
  const holds = await LogHolds.open(fs, DIR)
  await holds.hold('billing', { offset: 5, now: NOW }, { limitMs: HOUR })
  fs.onCall = call => {
    if (call.operation === 'rename') throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
  }
  await t.rejects(holds.hold('audit', { offset: 1, now: NOW }), { code: 'STORAGE_FAILED' })
  const now = NOW + HOUR + 1
  const overdue = overdueHolds(holds.list(), { segments: [], logEndOffset: 10 }, now)
  await t.rejects(holds.break(overdue, now), { code: 'STORAGE_FAILED' })
  t.match(holds.list(), [{ name: 'billing', brokenMs: undefined }])
  fs.onCall = undefined
  await holds.break(overdue, now)
  t.match(await readHolds(fs, DIR), [{ name: 'billing', brokenMs: now }])
})

test('a hold above the end of a log that was cut comes down with it', async t => {
  const fs = await folder({ [HOLDS_FILE]: formatHolds([hold('a', { offset: 5 }), hold('b', { offset: 50 })]) })
  const holds = await LogHolds.open(fs, DIR)
  holds.cutTo(20)
  await holds.persist()
  t.same(await onDisk(fs), [
    ['a', 5],
    ['b', 20]
  ])
})

test('a file that cannot be read says so, and takes no hold', async t => {
  const holds = await LogHolds.open(await folder({ [HOLDS_FILE]: Buffer.from('heartwood-holds 1\n') }), DIR)
  t.match(holds.unreadable, { code: 'CORRUPT_FILE', message: /Remove the file/ })
  await t.rejects(holds.hold('a', { offset: 0, now: NOW }), { code: 'CORRUPT_FILE' })
  await t.rejects(holds.release('a'), { code: 'CORRUPT_FILE' })
  const newer = Buffer.from('heartwood-holds 2\n')
  const crc = crc32c(newer, 0, newer.length).toString(16).padStart(8, '0')
  const fs = await folder({ [HOLDS_FILE]: Buffer.concat([newer, Buffer.from(`crc ${crc}\n`)]) })
  await t.rejects(LogHolds.open(fs, DIR), { code: 'UNSUPPORTED_VERSION' })
})
