import fc from 'fast-check'
import t from 'tap'
import { type AbortedTransaction, TransactionIndex } from '../../lib/segment/transaction-index.ts'

const BASE = 100

function index(entries: readonly AbortedTransaction[]): TransactionIndex {
  const made = new TransactionIndex(BASE)
  for (const entry of entries) made.append(entry)
  return made
}

/** Aborts as a log makes them: markers ascend, and so does what is stable after each. */
const entriesArbitrary = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.nat({ max: 60 }), fc.nat({ max: 30 })), { maxLength: 40 })
  .map(steps => {
    let lastOffset = BASE
    let lastStableOffset = 0
    return steps.map(([step, length, open], i): AbortedTransaction => {
      lastOffset += step
      lastStableOffset = Math.max(lastStableOffset, lastOffset + 1 - open)
      return { producerId: i % 5, firstOffset: Math.max(0, lastOffset - length), lastOffset, lastStableOffset }
    })
  })

t.test('collecting finds the transactions with records in the range, as going through all of them does', async t => {
  const offset = fc.integer({ min: BASE - 10, max: BASE + 800 })
  fc.assert(
    fc.property(entriesArbitrary, offset, offset, (entries, a, b) => {
      const [from, upper] = a < b ? [a, b] : [b, a]
      const expected: AbortedTransaction[] = []
      let complete = false
      for (const entry of entries) {
        if (entry.lastOffset < from) continue
        if (entry.firstOffset < upper) expected.push(entry)
        if (entry.lastStableOffset >= upper) {
          complete = true
          break
        }
      }
      t.same(index(entries).collect(from, upper), { entries: expected, complete })
    }),
    { numRuns: 300 }
  )
})

t.test('a transaction that began before the range and ended behind it is collected', async t => {
  const entry = { producerId: 1, firstOffset: 50, lastOffset: 200, lastStableOffset: 201 }
  t.same(index([entry]).collect(120, 130), { entries: [entry], complete: true })
})

t.test('truncating drops just the entries whose marker is at or above the offset', async t => {
  fc.assert(
    fc.property(entriesArbitrary, fc.integer({ min: BASE - 10, max: BASE + 800 }), (entries, at) => {
      const ours = index(entries)
      ours.truncateTo(at)
      t.ok(ours.bytes().equals(index(entries.filter(entry => entry.lastOffset < at)).bytes()))
    }),
    { numRuns: 200 }
  )
})

t.test('an entry is 34 bytes: version 0, producer, first and last offset, last stable offset', async t => {
  const entry = { producerId: 7, firstOffset: 100, lastOffset: 200, lastStableOffset: 150 }
  const bytes = index([entry]).bytes()
  t.equal(bytes.toString('hex'), '00000000000000000007000000000000006400000000000000c80000000000000096')
  t.same(TransactionIndex.parse(bytes, BASE).entryAt(0), entry)
})

t.test('a damaged file is refused', async t => {
  const good = index([{ producerId: 7, firstOffset: 100, lastOffset: 200, lastStableOffset: 150 }]).bytes()
  const with1 = (at: number): Buffer => {
    const bytes = Buffer.from(good)
    bytes[at] = 0xff
    return bytes
  }
  t.throws(() => TransactionIndex.parse(good.subarray(0, 33), BASE), { code: 'CORRUPT_FILE' })
  t.throws(() => TransactionIndex.parse(with1(0), BASE), { code: 'CORRUPT_FILE' }, 'version')
  t.throws(() => TransactionIndex.parse(with1(10), BASE), { code: 'CORRUPT_FILE' }, 'first offset')
  t.throws(() => TransactionIndex.parse(with1(18), BASE), { code: 'CORRUPT_FILE' }, 'last offset')
  t.throws(() => TransactionIndex.parse(with1(26), BASE), { code: 'CORRUPT_FILE' }, 'last stable offset')
  t.throws(() => TransactionIndex.parse(Buffer.concat([good, good]), BASE), { code: 'CORRUPT_FILE' }, 'order')
  t.throws(() => TransactionIndex.parse(good, 201), { code: 'CORRUPT_FILE' }, 'marker below the base offset')
  t.equal(TransactionIndex.parse(Buffer.alloc(0), BASE).entryCount, 0)
})
