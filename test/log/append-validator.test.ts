import fc from 'fast-check'
import { test } from 'tap'
import { validateClientBatch, validateReplicatedBatches } from '../../lib/log/append-validator.ts'
import { type LogConfig, logConfig } from '../../lib/log/log-config.ts'
import { setBaseOffset, updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeEndTransactionMarker } from '../../lib/record/control-record.ts'
import { type EncodeOptions, encodeBatch } from '../../lib/record/encode-batch.ts'
import type { RecordInput } from '../../lib/record/record.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { corruptVectors, soundVectors } from '../helpers/vectors.ts'

const NOW = 1_700_000_000_000
/** The vectors hold a megabyte, and timestamps far ahead of the clock. */
const WIDE = logConfig({ maxMessageBytes: 2 ** 24, messageTimestampAfterMaxMs: undefined })

function batch(records: readonly RecordInput[] = [{ value: 'v' }], options: Partial<EncodeOptions> = {}): Buffer {
  return encodeBatch(records, { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', now: NOW, ...options })
}

/** Changes bytes of a copy and computes its CRC again. */
function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes)
  change(copy)
  updateCrc(copy, 0)
  return copy
}

function values(view: BatchView): (string | null)[] {
  const found: (string | null)[] = []
  for (const cursor = view.records(); cursor.next(); ) found.push(cursor.value()?.toString() ?? null)
  return found
}

function verdict(bytes: Buffer, config: LogConfig): string {
  try {
    validateClientBatch(bytes, config, NOW).batch.verify()
    return 'accepted'
  } catch (error) {
    if (isLogError(error)) return error.code
    throw error
  }
}

function judge(bytes: Buffer, config: LogConfig = WIDE): string {
  const before = Buffer.from(bytes)
  const found = verdict(bytes, config)
  if (!before.equals(bytes)) throw new Error('the caller’s bytes were changed')
  return found
}

test('each damaged or forbidden batch is judged as Kafka would', async t => {
  const expected: Record<string, string> = {
    'c01-crc-mismatch': 'CORRUPT_MESSAGE',
    'c02-torn-tail': 'accepted',
    'c03-torn-header': 'accepted',
    'c04-zero-tail': 'CORRUPT_MESSAGE',
    'c05-length-too-small': 'CORRUPT_MESSAGE',
    'c06-length-too-large': 'INVALID_RECORD',
    'c07-unknown-magic': 'CORRUPT_MESSAGE',
    'c08-count-too-large': 'INVALID_RECORD',
    'c09-count-and-delta-too-large': 'INVALID_RECORD',
    'c10-count-too-small': 'INVALID_RECORD',
    'c11-client-control-batch': 'INVALID_RECORD',
    'c12-nonzero-base-offset': 'INVALID_RECORD',
    'c13-producer-without-sequence': 'INVALID_RECORD',
    'c14-client-log-append-time': 'accepted',
    'c15-two-batches': 'INVALID_RECORD',
    'c16-gzip-bit-on-plain-data': 'INVALID_RECORD',
    'c17-unknown-compression': 'UNSUPPORTED_COMPRESSION_TYPE',
    'c18-overlong-varint': 'INVALID_RECORD'
  }
  const found = Object.fromEntries(corruptVectors().map(({ id, bytes }) => [id, judge(bytes)]))
  t.equal(Object.keys(found).length, 19)
  // Its last bytes, taken for the size of the output, claim gigabytes.
  t.match(found['c19-truncated-gzip'], /^(INVALID_RECORD|DECOMPRESSION_LIMIT)$/)
  delete found['c19-truncated-gzip']
  t.strictSame(found, expected)
})

test('of a batch and the beginning of another the batch is taken', async t => {
  for (const id of ['c02-torn-tail', 'c03-torn-header']) {
    const { bytes } = corruptVectors().find(vector => vector.id === id) ?? { bytes: Buffer.alloc(0) }
    const valid = validateClientBatch(bytes, WIDE, NOW)
    t.equal(valid.bytes.length, 90, id)
    t.equal(valid.copied, false, 'nothing had to be set right')
    t.strictSame(valid.bytes, bytes.subarray(0, 90))
  }
})

test('LogAppendTime set by a client: refused where the log sets it, cleared where the producer’s time counts', async t => {
  const { bytes } = corruptVectors().find(vector => vector.id === 'c14-client-log-append-time') ?? {
    bytes: Buffer.alloc(0)
  }
  t.equal(judge(bytes, logConfig({ messageTimestampType: 'LogAppendTime' })), 'INVALID_TIMESTAMP')
  const valid = validateClientBatch(bytes, WIDE, NOW)
  t.equal(valid.batch.timestampType, 'CreateTime')
  t.equal(valid.copied, true)
  valid.batch.verify()
  // Its effective timestamp is its largest one.
  const late = batch([{ value: 'v', timestamp: NOW + 10_000_000 }], {
    timestampType: 'LogAppendTime',
    now: NOW + 10_000_000
  })
  t.equal(judge(late, logConfig()), 'INVALID_TIMESTAMP')
})

test('sound batches by other implementations are taken where a client may send them', async t => {
  // Made by a broker or by compaction.
  const notByClients: Record<string, string> = {
    '30-control-commit': 'INVALID_RECORD',
    '31-control-abort': 'INVALID_RECORD',
    '33-delete-horizon': 'INVALID_RECORD',
    '34-compacted-gaps': 'INVALID_RECORD',
    '35-retained-empty': 'INVALID_RECORD'
  }
  const vectors = soundVectors()
  t.equal(vectors.length, 32)
  for (const { id, bytes, recordCount } of vectors) {
    t.equal(validateReplicatedBatches(bytes, 0).length, 1, `${id} from a leader`)
    setBaseOffset(bytes, 0, 0)
    t.equal(judge(bytes), notByClients[id] ?? 'accepted', id)
    if (id in notByClients) continue
    const valid = validateClientBatch(bytes, WIDE, NOW)
    t.equal(valid.batch.recordCount, recordCount, id)
    // The first was dated by a broker; the other's largest timestamp is not that of its (wrongly encoded) records.
    const setRight = ['32-log-append-time', '14-large-timestamp-delta.platformatic'].includes(id)
    t.equal(valid.copied, setRight, id)
    if (!setRight) t.strictSame(valid.bytes, bytes, `${id}: not a byte changes`)
  }
})

test('the bytes of a batch that needs no change are the caller’s own', async t => {
  const bytes = batch([{ value: 'a' }, { value: 'b' }])
  const { bytes: same, copied, maxTimestamp } = validateClientBatch(bytes, logConfig(), NOW)
  t.equal(copied, false)
  t.equal(same.buffer, bytes.buffer)
  t.equal(same.byteOffset, bytes.byteOffset)
  t.equal(maxTimestamp, NOW)
  const array = new Uint8Array(bytes)
  t.strictSame(validateClientBatch(array, logConfig(), NOW).bytes, bytes, 'any Uint8Array will do')
})

test('a batch above max.message.bytes or segment.bytes is refused, before and after compressing it anew', async t => {
  const bytes = batch([{ value: 'x'.repeat(1000) }])
  t.throws(() => validateClientBatch(bytes, logConfig({ maxMessageBytes: bytes.length - 1 }), NOW), {
    code: 'RECORD_BATCH_TOO_LARGE',
    details: { size: bytes.length, maxMessageBytes: bytes.length - 1 }
  })
  t.doesNotThrow(() => validateClientBatch(bytes, logConfig({ maxMessageBytes: bytes.length }), NOW))
  t.throws(() => validateClientBatch(bytes, logConfig({ segmentBytes: 500 }), NOW), { code: 'RECORD_LIST_TOO_LARGE' })
  const small = batch([{ value: 'x'.repeat(1000) }], { compression: 'gzip' })
  t.ok(small.length < 200)
  const config = logConfig({ maxMessageBytes: 500, compressionType: 'uncompressed' })
  t.throws(() => validateClientBatch(small, config, NOW), { code: 'RECORD_BATCH_TOO_LARGE' })
})

test('what no client sends is refused', async t => {
  const attributesAt = 21
  const set = (bit: number) => (copy: Buffer) => copy.writeInt16BE(copy.readInt16BE(attributesAt) | bit, attributesAt)
  const idempotent = batch([{ value: 'v' }], { producerId: 5, producerEpoch: 0, baseSequence: 0 })
  t.equal(judge(idempotent), 'accepted')
  t.equal(judge(changed(idempotent, copy => copy.writeInt16BE(-1, 51))), 'INVALID_RECORD', 'no epoch')
  t.equal(judge(changed(idempotent, copy => copy.writeInt32BE(-1, 53))), 'INVALID_RECORD', 'no sequence')
  t.equal(judge(changed(idempotent, set(0x10))), 'accepted', 'transactional')
  t.equal(judge(changed(batch(), set(0x10))), 'INVALID_RECORD', 'transactional without a producer id')
  t.equal(judge(changed(batch(), set(0x40))), 'INVALID_RECORD', 'a delete horizon')
  const marker = {
    type: 'abort',
    producerId: 5,
    producerEpoch: 0,
    coordinatorEpoch: 0,
    baseOffset: 0,
    leaderEpoch: 0
  } as const
  t.equal(judge(encodeEndTransactionMarker({ ...marker, timestamp: NOW })), 'INVALID_RECORD')
  t.equal(judge(Buffer.alloc(0)), 'INVALID_RECORD', 'nothing at all')
  const older = changed(batch(), copy => copy.writeInt8(1, 16))
  t.equal(judge(older), 'UNSUPPORTED_FOR_MESSAGE_FORMAT')
  const gap = changed(batch([{ value: 'a' }, { value: 'b' }]), copy => {
    copy.writeInt32BE(1, 57)
    copy.writeInt32BE(0, 23)
  })
  t.equal(judge(gap), 'INVALID_RECORD', 'bytes left behind the last record')
})

test('a compacted topic refuses records without a key, and names the first of them', async t => {
  const config = logConfig({ cleanupPolicy: ['compact'] })
  const records = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? { key: 'k', value: 'v' } : { value: 'v' }))
  try {
    validateClientBatch(batch(records), config, NOW)
    t.fail('accepted')
  } catch (error) {
    if (!isLogError(error)) throw error
    t.match(error, { code: 'INVALID_RECORD', details: { index: 1, failed: 15 } })
    t.match(error.message, /record 1: .* no key \(and 14 more\)/)
    const { recordErrors } = error.details as { recordErrors: string }
    const errors: { index: number; message: string }[] = JSON.parse(recordErrors)
    t.strictSame(
      errors.map(e => e.index),
      [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    )
    t.match(errors[0]?.message, /no key/)
  }
  t.doesNotThrow(() => validateClientBatch(batch([{ key: 'k', value: null }]), config, NOW), 'a tombstone')
  t.throws(() => validateClientBatch(batch([{ value: 'v' }]), config, NOW), { message: /no key$/ })
})

test('timestamps too far behind or ahead of the clock are refused, a record without one is not', async t => {
  const config = logConfig({ messageTimestampBeforeMaxMs: 1_000, messageTimestampAfterMaxMs: 500 })
  const at = (...timestamps: number[]): Buffer => batch(timestamps.map(timestamp => ({ value: 'v', timestamp })))
  t.equal(judge(at(NOW - 1_000, NOW + 500, NOW), config), 'accepted')
  t.throws(() => validateClientBatch(at(NOW, NOW - 1_001), config, NOW), {
    code: 'INVALID_TIMESTAMP',
    details: { index: 1, failed: 1 }
  })
  t.equal(judge(at(NOW, NOW + 501), config), 'INVALID_TIMESTAMP')
  t.equal(judge(at(-1), config), 'accepted')
  const both = logConfig({ cleanupPolicy: ['compact'] })
  t.equal(judge(at(NOW + 2 ** 40), both), 'INVALID_TIMESTAMP', 'the time counts more than the key, as in Kafka')
  const append = logConfig({ messageTimestampType: 'LogAppendTime', messageTimestampBeforeMaxMs: 0 })
  t.equal(judge(at(5), append), 'accepted', 'where the log sets the time, the client’s does not matter')
})

test('under LogAppendTime the batch gets the clock’s time, on a copy', async t => {
  const config = logConfig({ messageTimestampType: 'LogAppendTime' })
  const bytes = batch([
    { value: 'a', timestamp: 5 },
    { value: 'b', timestamp: 6 }
  ])
  const before = Buffer.from(bytes)
  const valid = validateClientBatch(bytes, config, NOW)
  t.strictSame(bytes, before)
  t.equal(valid.copied, true)
  t.equal(valid.maxTimestamp, NOW)
  valid.batch.verify()
  t.equal(valid.batch.timestampType, 'LogAppendTime')
  for (const cursor = valid.batch.records(); cursor.next(); ) t.equal(cursor.timestamp, NOW)
})

test('a wrong largest timestamp is set right, on a copy with a new CRC', async t => {
  const bytes = batch([
    { value: 'a', timestamp: NOW - 5 },
    { value: 'b', timestamp: NOW - 7 }
  ])
  const wrong = changed(bytes, copy => copy.writeBigInt64BE(BigInt(NOW + 99), 35))
  const valid = validateClientBatch(wrong, logConfig(), NOW)
  t.equal(valid.copied, true)
  t.strictSame(valid.bytes, bytes)
  t.equal(validateClientBatch(batch([{ value: 'v', timestamp: -1 }]), logConfig(), NOW).maxTimestamp, undefined)
})

test('timestamps beyond 2^53 keep their last bits', async t => {
  const late = 1_700_000_000_000_000_001n
  const config = logConfig({ messageTimestampAfterMaxMs: undefined })
  const bytes = batch([
    { value: 'a', timestamp: late - 1n },
    { value: 'b', timestamp: late }
  ])
  t.equal(new BatchView(bytes).maxTimestampExact, late)
  t.equal(validateClientBatch(bytes, config, NOW).copied, false, 'as numbers the two look alike')
  const wrong = changed(bytes, copy => copy.writeBigInt64BE(late - 1n, 35))
  t.strictSame(validateClientBatch(wrong, config, NOW).bytes, bytes)
  t.equal(judge(bytes, logConfig()), 'INVALID_TIMESTAMP')
})

test('the topic’s compression wins over the client’s', async t => {
  const records = Array.from({ length: 20 }, (_, i) => ({ key: 'k', value: `value ${i}` }))
  const producer = { producerId: 5, producerEpoch: 1, baseSequence: 7 }
  for (const from of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
    const bytes = batch(records, { compression: from, ...producer })
    for (const to of ['producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
      const valid = validateClientBatch(bytes, logConfig({ compressionType: to }), NOW)
      const expected = to === 'producer' ? from : to === 'uncompressed' ? 'none' : to
      t.equal(valid.batch.compression, expected, `${from} to ${to}`)
      t.equal(valid.copied, expected !== from)
      t.strictSame(
        values(valid.batch),
        records.map(record => record.value)
      )
      t.match(valid.batch, { ...producer, maxTimestamp: NOW, recordCount: 20 })
    }
  }
})

test('a bomb is refused before it is unpacked', async t => {
  const bytes = batch([{ value: Buffer.alloc(2 ** 20) }], { compression: 'gzip' })
  t.throws(() => validateClientBatch(bytes, WIDE, NOW, { maxDecompressedBytes: 2 ** 16 }), {
    code: 'DECOMPRESSION_LIMIT'
  })
})

test('no client can bring anything but a typed error about, nor change what it does not own', async t => {
  const seeds = [
    batch([{ key: 'k', value: 'v', headers: [['h', 'x']] }, { value: null }]),
    batch([{ value: 'v'.repeat(50) }], { compression: 'lz4' })
  ]
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (seed, edits, reseal) => {
        const bytes = Buffer.from(seed)
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte
        if (reseal && bytes.readInt32BE(8) === bytes.length - 12) updateCrc(bytes, 0)
        judge(bytes)
      }
    ),
    { numRuns: 1_000 }
  )
  t.pass()
})

function chain(...offsets: number[]): Buffer {
  const batches = offsets.map(offset => {
    const bytes = batch([{ value: 'a' }, { value: 'b' }])
    setBaseOffset(bytes, 0, offset)
    return bytes
  })
  return Buffer.concat(batches)
}

test('batches from a leader keep their offsets, gaps included', async t => {
  const bytes = chain(10, 12, 20)
  const views = validateReplicatedBatches(bytes, 10)
  t.strictSame(
    views.map(view => [view.baseOffset, view.lastOffset]),
    [
      [10, 11],
      [12, 13],
      [20, 21]
    ]
  )
  t.ok(
    views.every(view => view.bytes.buffer === bytes.buffer),
    'views, not copies'
  )
  t.equal(validateReplicatedBatches(chain(10), 7).length, 1, 'compaction leaves gaps')
  t.strictSame(validateReplicatedBatches(Buffer.alloc(0), 0), [])
})

test('an incomplete batch at the end of what a leader sent is cut off', async t => {
  const bytes = chain(0, 2)
  for (let length = 0; length < bytes.length; length += 1) {
    const expected = length < bytes.length / 2 ? 0 : 1
    t.equal(validateReplicatedBatches(bytes.subarray(0, length), 0).length, expected, `${length} bytes`)
  }
})

test('offsets that are taken already are refused, and so is damage', async t => {
  t.throws(() => validateReplicatedBatches(chain(10), 11), {
    code: 'UNEXPECTED_APPEND_OFFSET',
    details: { baseOffset: 10, expectedAtLeast: 11, logEndOffset: 11 }
  })
  t.throws(() => validateReplicatedBatches(chain(10, 11), 10), { code: 'UNEXPECTED_APPEND_OFFSET' })
  const damaged = chain(10, 12)
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1)
  t.throws(() => validateReplicatedBatches(damaged, 10), { code: 'CORRUPT_MESSAGE' })
  const zeros = Buffer.concat([chain(10), Buffer.alloc(100)])
  t.throws(() => validateReplicatedBatches(zeros, 10), { code: 'CORRUPT_MESSAGE', message: /zeros/ })
  const unknowable = changed(chain(10), copy => {
    copy.writeBigInt64BE(1n << 60n, 43)
    copy.writeInt16BE(0x10, 21)
  })
  t.throws(() => validateReplicatedBatches(unknowable, 10), { code: 'CORRUPT_MESSAGE' }, 'a transaction of such an id')
  const large = batch([{ value: 'x'.repeat(2_000_000) }])
  t.equal(validateReplicatedBatches(large, 0).length, 1, 'no size limit: the leader has taken it')
})
