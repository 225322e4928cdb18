import fc from 'fast-check'
import t from 'tap'
import { OffsetIndex } from '../../lib/segment/offset-index.ts'

const BASE = 100

function index(...entries: [offset: number, position: number][]): OffsetIndex {
  const made = new OffsetIndex(BASE)
  for (const [offset, position] of entries) made.append(offset, position)
  return made
}

/** Strictly ascending offsets and positions. */
const entriesArbitrary = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 9999 })), { maxLength: 60 })
  .map(steps => {
    let offset = BASE - 1
    let position = 0
    return steps.map(([o, p]): [number, number] => [(offset += o), (position += p)])
  })

t.test('lookup below the first entry answers the start of the segment', async t => {
  // A sparse index says nothing about the bytes before its first entry, so the only safe answer is position 0.
  // Answering the first entry would skip records.
  t.same(index([140, 4096]).lookup(120), { offset: 100, position: 0 })
  t.same(index().lookup(120), { offset: 100, position: 0 })
})

t.test('lookup answers the last entry at or below the offset, as a search through a sorted list does', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.integer({ min: BASE - 5, max: BASE + 3000 }), (entries, wanted) => {
      const [offset, position] = entries.filter(([o]) => o <= wanted).at(-1) ?? [BASE, 0]
      t.same(index(...entries).lookup(wanted), { offset, position })
    }),
    { numRuns: 300 }
  )
})

t.test('truncating drops just the entries at or above the offset, and what is left goes on', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.integer({ min: BASE - 5, max: BASE + 3000 }), (entries, at) => {
      const ours = index(...entries)
      ours.truncateTo(at)
      const left = entries.filter(([offset]) => offset < at)
      t.ok(ours.bytes().equals(index(...left).bytes()))
      ours.append(BASE + 100_000, 1_000_000)
      t.equal(ours.entryCount, left.length + 1)
    }),
    { numRuns: 300 }
  )
})

t.test('truncating to a position drops just the entries at or behind it', async t => {
  const ours = index([110, 50], [120, 90], [130, 140])
  ours.truncateToPosition(90)
  t.equal(ours.entryCount, 1)
})

t.test('bytes are the file, and parse to the same index', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.nat({ max: 60 }), (entries, from) => {
      const ours = index(...entries)
      const bytes = ours.bytes()
      t.equal(bytes.length, entries.length * 8)
      t.ok(OffsetIndex.parse(bytes, BASE).bytes().equals(bytes))
      const first = Math.min(from, entries.length)
      t.ok(ours.bytes(first).equals(bytes.subarray(first * 8)))
    }),
    { numRuns: 200 }
  )
})

t.test('an entry is four bytes of distance and four of position', async t => {
  t.equal(index([140, 4096]).bytes().toString('hex'), '0000002800001000')
})

t.test('an index that ends in the middle of an entry is refused, not trimmed', async t => {
  t.throws(() => OffsetIndex.parse(Buffer.alloc(12), BASE), { code: 'CORRUPT_FILE' })
})

t.test('an index that is out of order, or points to the start, is refused', async t => {
  const bytes = index([110, 50], [120, 90]).bytes()
  const swapped = Buffer.concat([bytes.subarray(8), bytes.subarray(0, 8)])
  t.throws(() => OffsetIndex.parse(swapped, BASE), { code: 'CORRUPT_FILE' })
  t.throws(() => OffsetIndex.parse(Buffer.alloc(8), BASE), { code: 'CORRUPT_FILE' })
  const negative = Buffer.from(bytes)
  negative[0] = 0x80
  t.throws(() => OffsetIndex.parse(negative, BASE), { code: 'CORRUPT_FILE' })
})

t.test('zeros behind the entries are no entries when the file may be preallocated', async t => {
  const entries = index([110, 50], [120, 90]).bytes()
  const file = Buffer.concat([entries, Buffer.alloc(8 * 1000 + 3)])
  t.ok(OffsetIndex.parse(file, BASE, { preallocated: true }).bytes().equals(entries))
  t.equal(OffsetIndex.parse(Buffer.alloc(80), BASE, { preallocated: true }).entryCount, 0)
  t.throws(() => OffsetIndex.parse(file.subarray(0, 80), BASE), { code: 'CORRUPT_FILE' })
})

t.test('an entry that breaks the order is a defect of the writer', async t => {
  t.throws(() => index([110, 50], [110, 90]), { name: 'AssertionError' })
  t.throws(() => index([110, 50], [120, 50]), { name: 'AssertionError' })
  t.throws(() => index([110, 0]), { name: 'AssertionError' })
  t.throws(() => index([99, 10]), { name: 'AssertionError' })
  t.throws(() => index([BASE + 2 ** 31, 10]), { name: 'AssertionError' })
})

t.test('memory grows with the entries, and an empty index has none', async t => {
  const ours = index()
  t.equal(ours.memory, 0)
  for (let i = 1; i <= 1000; i += 1) ours.append(BASE + i, i * 10)
  t.equal(ours.byteLength, 8000)
  t.ok(ours.memory >= 8000 && ours.memory <= 16_384)
})
