import fc from 'fast-check'
import t from 'tap'
import { TimeIndex } from '../../lib/segment/time-index.ts'

const BASE = 100

function index(...entries: [timestamp: number | bigint, offset: number][]): TimeIndex {
  const made = new TimeIndex(BASE)
  for (const [timestamp, offset] of entries) made.maybeAppend(timestamp, offset)
  return made
}

const entriesArbitrary = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 50 })), { maxLength: 60 })
  .map(steps => {
    let timestamp = 999
    let offset = BASE - 1
    return steps.map(([time, o]): [number, number] => [(timestamp += time), (offset += o)])
  })

t.test('lookup answers the last entry at or below the time, as a search through a sorted list does', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.integer({ min: 900, max: 32_000 }), (entries, wanted) => {
      const [, offset] = entries.filter(([time]) => time <= wanted).at(-1) ?? [0, BASE]
      t.equal(index(...entries).lookup(wanted), offset)
    }),
    { numRuns: 300 }
  )
})

t.test('truncating drops just the entries at or above the offset', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.integer({ min: BASE - 5, max: BASE + 3000 }), (entries, at) => {
      const ours = index(...entries)
      ours.truncateTo(at)
      t.ok(ours.bytes().equals(index(...entries.filter(([, offset]) => offset < at)).bytes()))
    }),
    { numRuns: 300 }
  )
})

t.test('bytes are the file, and parse to the same index', async t => {
  fc.assert(
    fc.property(entriesArbitrary, entries => {
      const bytes = index(...entries).bytes()
      t.equal(bytes.length, entries.length * 12)
      t.ok(TimeIndex.parse(bytes, BASE).bytes().equals(bytes))
    }),
    { numRuns: 200 }
  )
})

t.test('an entry is eight bytes of time and four of distance', async t => {
  t.equal(index([1_700_000_000_000, 140]).bytes().toString('hex'), '0000018bcfe5680000000028')
})

t.test('a timestamp that is the last one already adds nothing; a smaller one is a defect', async t => {
  const ours = index([1000, 110])
  t.equal(ours.maybeAppend(1000, 120), false)
  t.equal(ours.entryCount, 1)
  t.throws(() => ours.maybeAppend(999, 130), { name: 'AssertionError' })
  t.throws(() => ours.maybeAppend(1001, 109), { name: 'AssertionError' })
  t.same(ours.last, { timestamp: 1000, offset: 110 })
})

t.test('nanoseconds are stored, told apart and found exactly', async t => {
  // Beyond 2^53 neighbouring times are one number; as numbers these two entries would be equal.
  const first = 1_700_000_000_000_000_001n
  const second = 1_700_000_000_000_000_002n
  const ours = index([first, 110], [second, 120])
  t.equal(ours.entryCount, 2)
  t.equal(ours.bytes().readBigInt64BE(0), first)
  t.equal(ours.timestampAt(1), second)
  t.equal(ours.lookup(first), 110)
  t.equal(ours.lookup(first - 1n), BASE)
  t.equal(ours.lookup(second), 120)
  t.ok(TimeIndex.parse(ours.bytes(), BASE).bytes().equals(ours.bytes()))
})

t.test('a file that is torn or out of order is refused', async t => {
  t.throws(() => TimeIndex.parse(Buffer.alloc(16), BASE), { code: 'CORRUPT_FILE' })
  const bytes = index([1000, 110], [2000, 120]).bytes()
  t.throws(() => TimeIndex.parse(Buffer.concat([bytes.subarray(12), bytes.subarray(0, 12)]), BASE), {
    code: 'CORRUPT_FILE'
  })
  const negative = Buffer.from(bytes)
  negative[0] = 0x80
  t.throws(() => TimeIndex.parse(negative, BASE), { code: 'CORRUPT_FILE' })
})

t.test('an entry of zeros is one at the start, and the end of the entries behind it', async t => {
  // A record of time 0 alone at the base offset gives just this entry.
  t.equal(TimeIndex.parse(Buffer.alloc(12), BASE).entryCount, 1)
  t.equal(TimeIndex.parse(Buffer.alloc(12), BASE, { preallocated: true }).entryCount, 1)
  const entries = index([0, BASE], [5, 120]).bytes()
  const file = Buffer.concat([entries, Buffer.alloc(12 * 100 + 5)])
  t.ok(TimeIndex.parse(file, BASE, { preallocated: true }).bytes().equals(entries))
  t.equal(TimeIndex.parse(Buffer.alloc(1200), BASE, { preallocated: true }).entryCount, 0)
})
