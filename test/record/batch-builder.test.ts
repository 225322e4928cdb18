import fc from 'fast-check'
import t from 'tap'
import { BatchBuilder, type BatchFields } from '../../lib/record/batch-builder.ts'
import { COMPRESSION_NAMES } from '../../lib/record/batch-format.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { compressBatch, encodeBatch } from '../../lib/record/encode-batch.ts'
import type { LogRecord, RecordInput } from '../../lib/record/record.ts'
import { expectedContent, expectedHeaders, recordInputs } from '../helpers/record-arbitraries.ts'

const NOW = 1_700_000_000_123
const FIELDS: BatchFields = { baseOffset: 7_000_000_000, leaderEpoch: 3, timestampType: 'CreateTime', now: NOW }

/** Encodes into a buffer that is exactly as large as `sizeBound` asks for, framed by bytes that must stay. */
function build(records: RecordInput[], fields: BatchFields = FIELDS): Buffer {
  const bound = BatchBuilder.sizeBound(records)
  const buffer = Buffer.alloc(bound + 20, 0xab)
  const builder = new BatchBuilder()
  builder.begin(buffer.subarray(0, bound + 10), 10, fields)
  for (const record of records) builder.add(record)
  const size = builder.finish()
  if (size > bound) throw new Error(`${size} bytes, bound ${bound}`)
  for (let i = 0; i < 10; i++)
    if (buffer[i] !== 0xab || buffer[bound + 10 + i] !== 0xab) throw new Error('wrote outside')
  return buffer.subarray(10, 10 + size)
}

function timestampOf(record: RecordInput): bigint {
  return BigInt(record.timestamp ?? NOW)
}

function checkRecords(batch: BatchView, records: RecordInput[]): void {
  const cursor = batch.records()
  for (const [i, record] of records.entries()) {
    if (!cursor.next()) throw new Error(`only ${i} records`)
    const exact = batch.timestampType === 'LogAppendTime' ? BigInt(NOW) : timestampOf(record)
    const expected = {
      offset: FIELDS.baseOffset + i,
      timestamp: Number(exact),
      timestampExact: exact,
      key: expectedContent(record.key),
      value: expectedContent(record.value),
      headers: expectedHeaders(record.headers)
    }
    for (const shown of [cursor.lazy(), { ...cursor.toRecord(), timestampExact: cursor.timestampExact }]) {
      if (text(shown) !== text(expected)) throw new Error(`record ${i}: ${text(shown)} instead of ${text(expected)}`)
    }
  }
  if (cursor.next()) throw new Error('a record too many')
}

/** One line that two equal records share; hex, because the JSON of a Buffer is ten times as slow to make. */
function text(record: Shown): string {
  const { offset, timestamp, timestampExact, key, value, headers } = record
  const hex = (bytes: Buffer | null) => (bytes === null ? null : bytes.toString('hex'))
  const pairs = headers.map(([name, content]) => [name, hex(content)])
  return JSON.stringify([offset, timestamp, String(timestampExact), hex(key), hex(value), pairs])
}

type Shown = Pick<LogRecord, 'offset' | 'timestamp' | 'timestampExact' | 'key' | 'value' | 'headers'>

t.test('whatever records are built come back from view, cursor, lazy and eager records', async t => {
  const property = fc.property(fc.array(recordInputs, { minLength: 1, maxLength: 12 }), records => {
    const batch = new BatchView(build(records))
    const stamps = records.map(timestampOf)
    batch.verify()
    if (batch.recordCount !== records.length || batch.lastOffset !== FIELDS.baseOffset + records.length - 1)
      return false
    if (batch.maxTimestampExact !== stamps.toSorted((a, b) => (a < b ? 1 : -1))[0]) return false
    if (batch.baseTimestampExact !== stamps[0]) return false
    checkRecords(batch, records)
    return true
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('under log append time every record has the time of the log, whatever it brought', async t => {
  const property = fc.property(fc.array(recordInputs, { minLength: 1, maxLength: 4 }), records => {
    const batch = new BatchView(build(records, { ...FIELDS, timestampType: 'LogAppendTime' }))
    checkRecords(batch, records)
    return batch.maxTimestamp === NOW
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('under every codec the records stay the same, and so do the fields of the header', async t => {
  const codec = fc.constantFrom(...COMPRESSION_NAMES)
  const property = fc.property(
    fc.array(recordInputs, { minLength: 1, maxLength: 6 }),
    codec,
    (records, compression) => {
      const options = { ...FIELDS, producerId: 42, producerEpoch: 2, baseSequence: 5, transactional: true }
      const plain = encodeBatch(records, options)
      const bytes = encodeBatch(records, { ...options, compression })
      const batch = new BatchView(bytes)
      checkRecords(batch, records)
      if (batch.compression !== compression || !batch.isTransactional || batch.producerId !== 42) return false
      if (batch.producerEpoch !== 2 || batch.baseSequence !== 5 || batch.partitionLeaderEpoch !== 3) return false
      return compressBatch(batch, 'none').equals(plain)
    }
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 150 }))
})

t.test('rolling back to a mark gives the bytes of a batch that never had the records', async t => {
  const lists = fc.array(recordInputs, { maxLength: 4 })
  const property = fc.property(lists, lists, lists, (before, dropped, after) => {
    if (before.length + after.length === 0) return true
    const buffer = Buffer.alloc(BatchBuilder.sizeBound([...before, ...dropped, ...after]))
    const builder = new BatchBuilder()
    builder.begin(buffer, 0, FIELDS)
    for (const record of before) builder.add(record)
    const mark = builder.mark()
    for (const record of dropped) builder.add(record)
    builder.rollbackTo(mark)
    for (const record of after) builder.add(record)
    return buffer.subarray(0, builder.finish()).equals(build([...before, ...after]))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

/** As `build`, but by lists. */
function buildAll(lists: RecordInput[][]): Buffer {
  const buffer = Buffer.alloc(BatchBuilder.sizeBound(lists.flat()))
  const builder = new BatchBuilder()
  builder.begin(buffer, 0, FIELDS)
  for (const list of lists) builder.addAll(list)
  return buffer.subarray(0, builder.finish())
}

t.test('lists of records give the bytes that the records one by one give', async t => {
  const lists = fc.array(fc.array(recordInputs, { maxLength: 4 }), { maxLength: 4 })
  const property = fc.property(lists, lists => {
    return lists.flat().length === 0 || buildAll(lists).equals(build(lists.flat()))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('lengths and distances around each size of their integers are written as the cursor reads them', async t => {
  const sizes = [null, 0, 1, 55, 56, 57, 58, 63, 64, 8180, 8185, 8191, 8192, 8193].map(size =>
    size === null ? null : Buffer.alloc(size, 'x')
  )
  const key = Buffer.from('k')
  const records: RecordInput[] = []
  for (const key of sizes) for (const value of sizes) records.push({ key, value })
  for (const distance of [0, 63, 64, 8191, 8192, 2 ** 20, 2 ** 31 - 1, 2 ** 31]) {
    for (const timestamp of [NOW + distance, NOW - distance]) records.push({ key, value: key, timestamp })
  }
  while (records.length < 8400) records.push({ key, value: key })
  const bytes = buildAll([records])
  checkRecords(new BatchView(bytes), records)
  t.same(bytes, build(records))
})

t.test('of a list that does not fit, or has an error, nothing is added', async t => {
  const good: RecordInput[] = [{ value: 'a', timestamp: 3 }, { value: Buffer.from('b') }]
  const builder = new BatchBuilder()
  for (const first of [true, false]) {
    const buffer = Buffer.alloc(1000)
    builder.begin(buffer, 0, FIELDS)
    if (!first) builder.addAll(good)
    const { position, recordCount } = builder
    const size = builder.addAll([...good, ...good], position)
    t.ok(size > position, 'the size that it would have had')
    t.throws(() => builder.addAll([...good, { value: 5 } as unknown as RecordInput]), TypeError)
    t.throws(() => builder.addAll([{ timestamp: 1.5 }]), { code: 'INVALID_TIMESTAMP' })
    t.throws(() => builder.addAll([undefined as unknown as RecordInput]), TypeError)
    t.same([builder.position, builder.recordCount], [position, recordCount])
    t.equal(builder.addAll(good, size), builder.position, 'exactly that large is not too large')
    t.same(buffer.subarray(0, builder.finish()), build(first ? good : [...good, ...good]))
  }
  builder.begin(Buffer.alloc(61 + 20), 0, FIELDS)
  t.throws(() => builder.addAll([{ value: Buffer.alloc(10) }]), { name: 'AssertionError' }, 'no room was asked for')
})

t.test('what a builder says of itself while it builds', async t => {
  const builder = new BatchBuilder()
  builder.begin(Buffer.alloc(500), 0, FIELDS)
  t.equal(builder.recordCount, 0)
  t.equal(builder.position, 61)
  t.equal(builder.maxTimestamp, undefined)
  t.equal(builder.firstTimestamp, undefined)
  builder.add({ value: 'a', timestamp: 5 })
  builder.add({ value: 'b', timestamp: 9n })
  builder.add({ value: 'c', timestamp: 7 })
  t.equal(builder.recordCount, 3)
  t.equal(builder.lastOffset, FIELDS.baseOffset + 2)
  t.equal(builder.firstTimestamp, 5)
  t.equal(builder.maxTimestamp, 9)
  const end = builder.position
  t.equal(builder.finish(), end)
  t.throws(() => builder.lastOffset, { name: 'AssertionError' }, 'it is done with that batch')
})

t.test('an error in a record leaves the batch as it was', async t => {
  const bad: [string, unknown, Partial<Error> | { message: RegExp }][] = [
    ['key', { key: 5 }, { message: 'a key is a string, a Uint8Array or null, not number' }],
    ['value', { value: new ArrayBuffer(2) }, { message: /not ArrayBuffer/ }],
    ['headers', { headers: 'abc' }, { message: /headers are pairs/ }],
    ['header name', { headers: [[1, 'x']] }, { message: "a header's name is a string, not number" }],
    ['header value', { headers: [['n', 3n]] }, { message: /a header value is .* not bigint/ }],
    ['pair', { headers: [7] }, {}],
    ['fraction', { timestamp: 1.5 }, { code: 'INVALID_TIMESTAMP' } as object],
    ['not a number', { timestamp: Number.NaN }, { code: 'INVALID_TIMESTAMP' } as object],
    ['65 bits', { timestamp: 2n ** 63n }, { code: 'INVALID_TIMESTAMP' } as object],
    ['2^63 as a number', { timestamp: 2 ** 63 }, { code: 'INVALID_TIMESTAMP' } as object],
    ['a date', { timestamp: new Date(0) }, { name: 'TypeError' }],
    ['one-shot headers', { headers: [['a', 'b']].values() }, { message: /iterated twice/ }]
  ]
  for (const first of [true, false]) {
    for (const [name, record, error] of bad) {
      const builder = new BatchBuilder()
      const buffer = Buffer.alloc(1000)
      builder.begin(buffer, 0, FIELDS)
      if (!first) builder.add({ value: 'before', timestamp: 3 })
      const at = builder.position
      t.throws(() => builder.add(record as RecordInput), error as Error, name)
      t.equal(builder.position, at)
      builder.add({ value: 'after', timestamp: 4 })
      const bytes = buffer.subarray(0, builder.finish())
      const wanted = [
        { value: 'before', timestamp: 3 },
        { value: 'after', timestamp: 4 }
      ].slice(first ? 1 : 0)
      t.same(bytes, build(wanted), name)
    }
  }
})

t.test('the size bound names what is wrong before anything is encoded', async t => {
  t.throws(() => BatchBuilder.sizeBound([{ key: 1 } as unknown as RecordInput]), TypeError)
  t.throws(() => BatchBuilder.sizeBound([undefined as unknown as RecordInput]), /record 0 is not an object/)
  t.throws(() => BatchBuilder.sizeBound([{ headers: [['a', 'b']].values() as never }]), /iterated twice/)
  // Two thirds of a gigabyte of string, at three bytes each, without ever having it.
  const huge = { value: { length: 2 ** 31 } }
  Object.setPrototypeOf(huge.value, Uint8Array.prototype)
  Object.defineProperty(huge.value, 'length', { value: 2 ** 31 })
  t.throws(() => BatchBuilder.sizeBound([huge as unknown as RecordInput]), { code: 'RECORD_BATCH_TOO_LARGE' })
})

t.test('a buffer without room is refused, not overrun', async t => {
  for (const record of [
    { value: Buffer.alloc(100) },
    { value: 'x'.repeat(100) },
    { headers: { n: 'y'.repeat(100) } }
  ]) {
    const builder = new BatchBuilder()
    builder.begin(Buffer.alloc(120), 0, FIELDS)
    t.throws(() => builder.add(record), { name: 'AssertionError' })
    t.equal(builder.recordCount, 0)
  }
})

t.test('byte arrays of another realm are byte arrays', async t => {
  const { runInNewContext } = await import('node:vm')
  const foreign = runInNewContext('new Uint8Array([1, 2, 3])') as Uint8Array
  t.notOk(foreign instanceof Uint8Array)
  const cursor = new BatchView(build([{ key: foreign, value: foreign }])).records()
  t.equal(cursor.next(), true)
  t.same(cursor.key(), Buffer.from([1, 2, 3]))
})

t.test('a batch that compaction keeps empty has a header and no more', async t => {
  const buffer = Buffer.alloc(61)
  const builder = new BatchBuilder()
  builder.begin(buffer, 0, FIELDS)
  t.throws(() => builder.finish(), { name: 'AssertionError' }, 'not by accident')
  t.equal(builder.finish({ lastOffset: FIELDS.baseOffset + 4, maxTimestamp: 99 }), 61)
  const batch = new BatchView(buffer)
  batch.verify()
  t.equal(batch.recordCount, 0)
  t.equal(batch.nextOffset, FIELDS.baseOffset + 5)
  t.equal(batch.baseTimestamp, -1)
  t.equal(batch.maxTimestamp, 99)
  t.equal(batch.records().next(), false)
  for (const codec of COMPRESSION_NAMES) t.equal(new BatchView(compressBatch(batch, codec)).records().next(), false)
})

t.test('offsets in a batch only increase', async t => {
  const builder = new BatchBuilder()
  builder.begin(Buffer.alloc(500), 0, FIELDS)
  builder.add({ value: 'a' }, FIELDS.baseOffset + 3)
  t.throws(() => builder.add({ value: 'b' }, FIELDS.baseOffset + 3), { name: 'AssertionError' })
  t.throws(() => builder.add({ value: 'b' }, FIELDS.baseOffset + 2 ** 31), { name: 'AssertionError' })
  builder.add({ value: 'b' }, FIELDS.baseOffset + 2 ** 31 - 1)
  t.equal(builder.lastOffset, FIELDS.baseOffset + 2 ** 31 - 1)
})

t.test('an offset that a number cannot hold exactly is never written', async t => {
  const builder = new BatchBuilder()
  const begin = (baseOffset: number) => builder.begin(Buffer.alloc(500), 0, { ...FIELDS, baseOffset })
  for (const baseOffset of [2 ** 53, -1, 0.5]) t.throws(() => begin(baseOffset), { name: 'AssertionError' })
  begin(2 ** 53 - 1)
  builder.add({ value: 'last' })
  builder.add({ value: 'beyond' })
  t.throws(() => builder.finish(), { name: 'AssertionError' })
})
