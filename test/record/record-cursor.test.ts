import t from 'tap'
import { BatchBuilder } from '../../lib/record/batch-builder.ts'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'
import { isLogError } from '../../lib/util/errors.ts'

const three = () =>
  encodeBatch(
    [
      { key: 'a', value: null, timestamp: 10 },
      { value: 'b', headers: [...new Map([['h', '1']]), ['h', null]], timestamp: 20 },
      { key: '', value: '', timestamp: 30 }
    ],
    { now: 0, baseOffset: 500, leaderEpoch: 9, producerId: 8, producerEpoch: 1, baseSequence: 0 }
  )

t.test('null and empty are not the same, and positions say where things lie', async t => {
  const cursor = new BatchView(three()).records()
  t.ok(cursor.next())
  t.same([cursor.hasKey, cursor.hasValue, cursor.headerCount], [true, false, 0])
  t.same(cursor.key(), Buffer.from('a'))
  t.equal(cursor.value(), null)
  t.same([cursor.valueStart, cursor.keyEnd - cursor.keyStart], [-1, 1])
  t.ok(cursor.next())
  t.same([cursor.hasKey, cursor.hasValue, cursor.headerCount], [false, true, 2])
  t.same([cursor.keyStart, cursor.valueEnd - cursor.valueStart], [-1, 1])
  t.same(cursor.headers(), [
    ['h', Buffer.from('1')],
    ['h', null]
  ])
  t.ok(cursor.next())
  t.same([cursor.key()?.length, cursor.value()?.length, cursor.headers().length], [0, 0, 0])
  t.equal(cursor.offset, 502)
  t.equal(cursor.offsetDelta, 2)
  t.equal(cursor.next(), false)
  t.equal(cursor.next(), false)
})

t.test('lazy records stay what they are when the cursor goes on', async t => {
  const cursor = new BatchView(three()).records()
  const records = []
  while (cursor.next()) records.push(cursor.lazy())
  t.same(
    records.map(record => [record.offset, record.timestamp, String(record.key), String(record.value)]),
    [
      [500, 10, 'a', 'null'],
      [501, 20, 'null', 'b'],
      [502, 30, '', '']
    ]
  )
  t.match(records[1], { timestampType: 'CreateTime', leaderEpoch: 9, producerId: 8, producerEpoch: 1 })
  t.same(records[1]!.headers, [
    ['h', Buffer.from('1')],
    ['h', null]
  ])
  const anonymous = new BatchView(encodeBatch([{ value: 'x' }], { now: 0 })).records()
  t.ok(anonymous.next())
  t.equal(anonymous.lazy().producerId, undefined)
  t.equal(anonymous.lazy().producerEpoch, undefined)
})

t.test('keys and values are views: nothing is copied', async t => {
  const bytes = three()
  const cursor = new BatchView(bytes).records()
  t.ok(cursor.next())
  t.equal(cursor.bytes, bytes)
  t.equal(cursor.key()?.buffer, bytes.buffer)
  t.equal(cursor.lazy().key?.buffer, bytes.buffer)
})

t.test('an error names batch and record, and the records before it were good', async t => {
  const bytes = three()
  const probe = new BatchView(bytes).records()
  probe.next()
  const second = probe.recordEnd
  bytes[second + 3] = 0 // the offset delta of the second record: that of the first again
  updateCrc(bytes, 0)
  const cursor = new BatchView(bytes).records()
  t.equal(cursor.next(), true)
  try {
    cursor.next()
    t.fail('went on')
  } catch (error) {
    t.ok(isLogError(error, 'INVALID_RECORD'))
    t.match(error, { message: /batch 500, record 1: an offset delta of 0, outside 1 ... 2/ })
    t.match((error as { details: object }).details, { baseOffset: 500, index: 1 })
  }
  t.equal(String(cursor.key()), 'a', 'the cursor still stands where it stood')
  t.throws(() => cursor.next(), { code: 'INVALID_RECORD' }, 'and does not get past the damage')
})

t.test('padded lengths, which no sane writer sends, are read as Kafka reads them', async t => {
  const plain = encodeBatch([{ value: 'v' }], { now: 0 })
  // length 7: 00 attributes, 00, 00 deltas, 01 null key, 02 76 value, 00 headers
  t.equal(plain.subarray(61).toString('hex'), '0e00000001027600')
  // the same, each length and delta with a byte or two more than it needs
  const padded = Buffer.concat([plain.subarray(0, 61), Buffer.from('9a0000800080008100828000768000', 'hex')])
  padded.writeInt32BE(padded.length - 12, 8)
  updateCrc(padded, 0)
  const cursor = new BatchView(padded).records()
  t.equal(cursor.next(), true)
  t.equal(cursor.key(), null)
  t.equal(String(cursor.value()), 'v')
  t.equal(cursor.headerCount, 0)
  t.equal(cursor.next(), false)
})

t.test('going through a batch allocates nothing per record', async t => {
  const count = 20_000
  const records = Array.from({ length: count }, (_, i) => ({
    key: `key-${i}`,
    value: 'v'.repeat(40),
    timestamp: i * 7
  }))
  const bytes = encodeBatch(records, { now: 0, baseOffset: 2 ** 40 })
  const walk = (): number => {
    let sum = 0
    const cursor = new BatchView(bytes).records()
    while (cursor.next()) sum = (sum + cursor.offsetDelta + cursor.valueEnd - cursor.keyStart) | 0
    return sum
  }
  for (let i = 0; i < 50; i++) walk() // until it is compiled
  const grown: number[] = []
  for (let i = 0; i < 10; i++) {
    const before = process.memoryUsage().heapUsed
    walk()
    grown.push(process.memoryUsage().heapUsed - before)
  }
  grown.sort((a, b) => a - b)
  // The smallest object has 16 bytes, which would be 320 KB. A collection in between makes some of these negative.
  t.ok(grown[5]! < 100_000, `${grown}`)
})

t.test('seek finds every record, from wherever the cursor stands, and tells where there is none', async t => {
  // As compaction leaves it: records of the first batch are missing in the second.
  const whole = encodeBatch(
    Array.from({ length: 300 }, (_, i) => ({
      key: `k${i}`,
      value: 'v'.repeat((i * 37) % 200),
      headers: { i: `${i}` }
    })),
    { now: 0, baseOffset: 1000 }
  )
  const gaps = Buffer.alloc(65_536)
  const builder = new BatchBuilder()
  builder.begin(gaps, 0, { baseOffset: 1000, now: 0, leaderEpoch: 0, timestampType: 'CreateTime' })
  for (let i = 0; i < 300; i += 3) builder.add({ key: `k${i}`, value: `${i}` }, 1000 + i)
  const size = builder.finish({ lastOffset: 1299 })
  for (const [bytes, step] of [
    [whole, 1],
    [gaps.subarray(0, size), 3]
  ] as const) {
    const cursor = new BatchView(bytes).records()
    for (let i = 0; i < 600; i += 1) {
      const delta = (i * 131) % 300
      const isThere = delta % step === 0
      if (cursor.seek(1000 + delta) !== isThere) t.fail(`record ${delta}, step ${step}`)
      else if (isThere && String(cursor.key()) !== `k${delta}`) t.fail(`record ${delta} is ${cursor.key()}`)
    }
    t.equal(cursor.seek(999), false)
    t.equal(cursor.offset, 1000, 'it stands at the next one')
    t.equal(cursor.seek(1300), false)
    t.equal(cursor.next(), false, 'behind the last')
    t.equal(cursor.seek(1000), true)
    t.equal(cursor.next(), true)
    t.equal(cursor.offset, 1000 + step)
  }
})

t.test('seek says what is wrong with a record, and is not led astray by a length that lies', async t => {
  const bytes = three()
  const cursor = new BatchView(bytes).records()
  cursor.next()
  cursor.next()
  const third = cursor.recordEnd
  bytes[third] = 0x7f
  updateCrc(bytes, 0)
  t.throws(() => new BatchView(bytes).records().seek(502), { code: 'INVALID_RECORD' })
  bytes[third] = 0
  updateCrc(bytes, 0)
  t.throws(() => new BatchView(bytes).records().seek(502), { code: 'INVALID_RECORD' })
  const other = new BatchView(bytes).records()
  t.equal(other.seek(501), true)
  t.throws(() => other.seek(502), { code: 'INVALID_RECORD' })
  t.equal(other.seek(500), true)
})

t.test('a copied record stays what it is when its batch is overwritten', async t => {
  const bytes = three()
  const cursor = new BatchView(bytes).records()
  const lazy = []
  const copies = []
  while (cursor.next()) {
    lazy.push({ ...shown(cursor.lazy()) })
    copies.push(cursor.copy())
  }
  bytes.fill(0xff)
  t.same(copies.map(shown), lazy)
})

function shown(record: LazyRecord) {
  const { offset, timestamp, timestampExact, timestampType, leaderEpoch, key, value, headers } = record
  const { producerId, producerEpoch } = record
  const text = { key: key && String(key), value: value && String(value), headers: headers.map(String) }
  return { offset, timestamp, timestampExact, timestampType, leaderEpoch, producerId, producerEpoch, ...text }
}
