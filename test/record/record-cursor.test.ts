import t from 'tap'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
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
