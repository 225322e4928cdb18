import t from 'tap'
import { BatchBuilder } from '../../lib/record/batch-builder.ts'
import { setBaseOffset } from '../../lib/record/batch-edit.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { compressBatch } from '../../lib/record/encode-batch.ts'
import type { RecordInput } from '../../lib/record/record.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { asListed, corruptVectors, soundVectors, type Vector, type VectorRecord } from '../helpers/vectors.ts'

const vectors = soundVectors()

t.equal(vectors.length, 32)

for (const vector of vectors) {
  const { id, bytes, header } = vector

  t.test(`${id}: the header says what the list says (${vector.about})`, async t => {
    const batch = new BatchView(bytes)
    t.equal(batch.size, vector.sizeInBytes)
    t.equal(batch.end, vector.sizeInBytes)
    t.equal(String(batch.baseOffset), header.baseOffset)
    t.equal(batch.partitionLeaderEpoch, header.partitionLeaderEpoch)
    t.equal(batch.magic, header.magic)
    t.equal(`0x${batch.crc.toString(16).padStart(8, '0')}`, header.crc)
    t.equal(`0x${batch.attributes.toString(16).padStart(4, '0')}`, header.attributes)
    t.equal(batch.lastOffsetDelta, header.lastOffsetDelta)
    t.equal(String(batch.baseTimestampExact), header.baseTimestamp)
    t.equal(String(batch.maxTimestampExact), header.maxTimestamp)
    t.equal(String(batch.producerIdExact), header.producerId)
    t.equal(batch.producerEpoch, header.producerEpoch)
    t.equal(batch.baseSequence, header.baseSequence)
    t.equal(batch.recordCount, header.count)
    t.equal(batch.compression, vector.codec)
    t.equal(batch.isSound(), true)
    t.same(scanBatch(bytes, 0, bytes.length), { kind: 'batch', size: bytes.length })
  })

  t.test(`${id}: the records are those of the list`, async t => {
    const cursor = new BatchView(bytes).records()
    let count = 0
    for (; cursor.next(); count++) {
      const listed = vector.records[Math.min(count, vector.records.length - 1)]!
      if ('more' in listed) continue
      const shown: VectorRecord = {
        offset: String(cursor.offset),
        timestamp: String(cursor.timestampExact),
        key: asListed(cursor.key(), listed.key),
        value: asListed(cursor.value(), listed.value),
        headers: cursor.headers().map(([name, value], i) => [name, asListed(value, listed.headers[i]![1])])
      }
      t.same(shown, listed)
      t.equal(cursor.timestamp, Number(listed.timestamp))
      t.equal(cursor.headerCount, listed.headers.length)
      const lazy = cursor.lazy()
      const eager = cursor.toRecord()
      t.same(eager, pick(lazy), 'lazy and eager show the same')
    }
    t.equal(count, vector.recordCount)
    t.equal(cursor.next(), false, 'the end stays the end')
  })

  t.test(`${id}: encoding its records again gives the same bytes`, async t => {
    const batch = new BatchView(bytes)
    const plain = compressBatch(batch, 'none')
    if (vector.codec === 'none') t.same(plain, bytes)
    t.equal(plain.length, 61 + vector.uncompressedRecordBytes)
    t.same(encodeAgain(vector, new BatchView(plain), 'records'), plain)
    t.same(encodeAgain(vector, new BatchView(plain), 'copy'), plain)
  })
}

function pick(record: { offset: number; timestamp: number; key: unknown; value: unknown; headers: unknown }): object {
  const { offset, timestamp, key, value, headers } = record
  return { offset, timestamp, key, value, headers }
}

function encodeAgain(vector: Vector, batch: BatchView, how: 'records' | 'copy'): Buffer {
  const { header } = vector
  const bytes = Buffer.alloc(batch.size + 64, 0xee)
  const builder = new BatchBuilder()
  builder.begin(bytes, 3, {
    baseOffset: Number(header.baseOffset),
    leaderEpoch: header.partitionLeaderEpoch,
    timestampType: batch.timestampType,
    now: Number(header.maxTimestamp),
    producerId: BigInt(header.producerId),
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    transactional: batch.isTransactional,
    control: batch.isControl,
    baseTimestamp: BigInt(header.baseTimestamp),
    ...(batch.deleteHorizonMs === undefined ? {} : { deleteHorizonMs: batch.deleteHorizonMs })
  })
  const cursor = batch.records()
  // Under log append time what a record's own delta was is not shown any more, but still in its bytes.
  const own = batch.timestampType === 'CreateTime' ? undefined : createTimes(batch)
  for (let i = 0; cursor.next(); i++) {
    const { key, value, headers, timestamp } = cursor.toRecord()
    const record: RecordInput = { key, value, headers, timestamp: own?.[i] ?? timestamp }
    if (how === 'copy' && own === undefined) builder.copy(cursor)
    else builder.add(record, cursor.offset)
  }
  const lastOffset = batch.lastOffset
  const size = builder.finish({ lastOffset, maxTimestamp: BigInt(header.maxTimestamp) })
  return bytes.subarray(3, 3 + size)
}

/** Timestamps as the producer set them. */
function createTimes(batch: BatchView): number[] {
  const bytes = Buffer.from(batch.payload())
  bytes.writeInt16BE(batch.attributes & ~8, 21)
  const times = []
  for (const cursor = new BatchView(bytes).records({ checkCrc: false }); cursor.next(); ) times.push(cursor.timestamp)
  return times
}

/** What each damaged or forbidden batch comes to at the level of batches and records. */
const VERDICTS: Record<string, { code: string; says: RegExp } | 'sound'> = {
  'c01-crc-mismatch': { code: 'CORRUPT_MESSAGE', says: /fails its CRC: 0x[0-9a-f]{8} computed, 0x[0-9a-f]{8} stored/ },
  'c02-torn-tail': 'sound',
  'c03-torn-header': 'sound',
  'c04-zero-tail': 'sound',
  'c05-length-too-small': { code: 'CORRUPT_MESSAGE', says: /length 40 cannot hold its own header/ },
  'c06-length-too-large': { code: 'CORRUPT_MESSAGE', says: /runs past the end: 90 are there/ },
  'c07-unknown-magic': { code: 'CORRUPT_MESSAGE', says: /no record batch has magic 3/ },
  'c08-count-too-large': { code: 'INVALID_RECORD', says: /record 3: the records end after 3/ },
  'c09-count-and-delta-too-large': { code: 'INVALID_RECORD', says: /record 3: the records end after 3/ },
  'c10-count-too-small': { code: 'INVALID_RECORD', says: /10 bytes behind the last of 2 records/ },
  'c11-client-control-batch': 'sound',
  'c12-nonzero-base-offset': 'sound',
  'c13-producer-without-sequence': 'sound',
  'c14-client-log-append-time': 'sound',
  'c15-two-batches': 'sound',
  'c16-gzip-bit-on-plain-data': { code: 'INVALID_RECORD', says: /gzip/ },
  'c17-unknown-compression': { code: 'UNSUPPORTED_COMPRESSION_TYPE', says: /compression type 5/ },
  'c18-overlong-varint': { code: 'INVALID_RECORD', says: /takes more than 5 bytes/ },
  // The cut leaves four bytes of the stream where its size would be: the bound may be the first to refuse it.
  'c19-truncated-gzip': { code: 'INVALID_RECORD DECOMPRESSION_LIMIT', says: /gzip/ }
}

const corrupt = corruptVectors()

t.same(corrupt.map(({ id }) => id).sort(), Object.keys(VERDICTS).sort(), 'every corrupt vector has a verdict')

for (const { id, about, bytes } of corrupt) {
  const verdict = VERDICTS[id]!
  // What is forbidden only in a produce request, or lies behind a sound first batch, is the log's to judge.
  t.test(`${id}: ${about}: ${verdict === 'sound' ? 'a sound batch' : verdict.code}`, async t => {
    if (verdict === 'sound') {
      t.doesNotThrow(() => readAll(bytes))
      return
    }
    try {
      readAll(bytes)
      t.fail('was read')
    } catch (error) {
      t.ok(isLogError(error) && verdict.code.split(' ').includes(error.code), String(error))
      t.match((error as Error).message, verdict.says)
    }
  })
}

function readAll(bytes: Buffer): number {
  let count = 0
  for (const cursor = new BatchView(bytes).records(); cursor.next(); ) count += 1
  return count
}

t.test('a scan of the corrupt files tells what lies behind the first batch', async t => {
  const behind = (id: string) => {
    const { bytes } = corrupt.find(vector => vector.id === id)!
    const first = scanBatch(bytes, 0, bytes.length)
    return first.kind === 'batch' ? scanBatch(bytes, first.size, bytes.length) : first
  }
  t.same(behind('c02-torn-tail'), { kind: 'incomplete', need: 90 })
  t.same(behind('c03-torn-header'), { kind: 'incomplete', need: 17 })
  t.same(behind('c04-zero-tail'), { kind: 'corrupt', reason: 'zeros' })
  t.match(behind('c05-length-too-small'), { kind: 'corrupt', reason: /length 40 is below 49/ })
  t.match(behind('c06-length-too-large'), { kind: 'incomplete' })
  t.match(behind('c07-unknown-magic'), { kind: 'corrupt', reason: /magic 3/ })
  t.same(behind('c15-two-batches'), { kind: 'batch', size: 90 })
  t.same(behind('c01-crc-mismatch'), { kind: 'end' })
})

t.test('a batch is found and read wherever it lies in a larger buffer', async t => {
  for (const { bytes, recordCount } of vectors) {
    const larger = Buffer.concat([Buffer.alloc(11, 0xff), bytes, Buffer.alloc(7, 0xff)])
    setBaseOffset(larger, 11, 123456789012)
    const batch = new BatchView(larger, 11)
    t.equal(batch.end, 11 + bytes.length)
    t.equal(batch.payload().length, bytes.length)
    let last = 123456789011
    let count = 0
    for (const cursor = batch.records(); cursor.next(); count++) {
      t.ok(cursor.offset > last)
      last = cursor.offset
    }
    t.equal(count, recordCount)
  }
})
