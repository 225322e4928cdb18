import t from 'tap'
import { setMaxTimestampAndType, updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { isLogError } from '../../lib/util/errors.ts'

const sound = () =>
  encodeBatch([{ value: 'a' }, { value: 'b' }, { value: 'c' }], { now: 1000, baseOffset: 40, leaderEpoch: 6 })

/** A batch with one change, under a CRC that is right. */
function edited(edit: (bytes: Buffer) => void): Buffer {
  const bytes = sound()
  edit(bytes)
  updateCrc(bytes, 0)
  return bytes
}

t.test('bytes that cannot be a batch are refused, saying why', async t => {
  const bytes = sound()
  t.throws(() => new BatchView(Buffer.alloc(0)), { code: 'CORRUPT_MESSAGE', message: /0 bytes are no record batch/ })
  t.throws(() => new BatchView(bytes.subarray(0, 60)), { code: 'CORRUPT_MESSAGE', details: { available: 60 } })
  t.throws(() => new BatchView(bytes.subarray(0, -1)), { code: 'CORRUPT_MESSAGE', message: /runs past the end/ })
  t.throws(() => new BatchView(bytes, bytes.length), { code: 'CORRUPT_MESSAGE' })
  for (const length of [48, 0, -1, -(2 ** 31)]) {
    t.throws(() => new BatchView(edited(b => b.writeInt32BE(length, 8))), {
      code: 'CORRUPT_MESSAGE',
      details: { length }
    })
  }
  t.throws(() => new BatchView(edited(b => b.writeInt32BE(2 ** 31 - 1, 8))), { code: 'CORRUPT_MESSAGE' })
})

t.test('the older formats are refused by name, with what to do', async t => {
  for (const magic of [0, 1]) {
    const bytes = Buffer.alloc(40)
    bytes[16] = magic
    const error = { code: 'UNSUPPORTED_FOR_MESSAGE_FORMAT', message: new RegExp(`v${magic} .*To convert`) }
    t.throws(() => new BatchView(bytes), error, 'also where they are shorter than a header of today')
  }
  for (const magic of [3, 127, 255]) {
    t.throws(() => new BatchView(edited(b => (b[16] = magic))), { code: 'CORRUPT_MESSAGE', message: /magic/ })
  }
})

t.test('offsets that a number cannot hold exactly are refused', async t => {
  const at = (offset: bigint) => () => new BatchView(edited(b => b.writeBigInt64BE(offset, 0)))
  t.doesNotThrow(at(0n))
  t.doesNotThrow(at(2n ** 53n - 3n))
  for (const offset of [2n ** 53n, 2n ** 63n - 1n, -1n]) t.throws(at(offset), { code: 'CORRUPT_MESSAGE' })
  const last = at(2n ** 53n - 2n)() // its last record would be at 2^53
  t.equal(last.isSound(), false)
  t.throws(() => last.verify(), { code: 'CORRUPT_MESSAGE', message: /last offset beyond/ })
})

t.test('a right CRC over nonsense is not sound', async t => {
  for (const [at, what] of [
    [23, 'last offset delta'],
    [57, 'record count']
  ] as const) {
    const batch = new BatchView(edited(b => b.writeInt32BE(-1, at)))
    t.equal(batch.isSound(), false)
    t.throws(() => batch.verify(), { code: 'CORRUPT_MESSAGE', message: new RegExp(what) })
  }
  const negative = new BatchView(edited(b => b.writeInt32BE(-1, 57)))
  t.throws(() => negative.records({ checkCrc: false }), { code: 'INVALID_RECORD', message: /record count -1/ })
})

t.test('a failed CRC names position, offset and both sums', async t => {
  const bytes = Buffer.concat([Buffer.alloc(5), sound()])
  bytes[bytes.length - 2]! ^= 1
  const batch = new BatchView(bytes, 5)
  t.equal(batch.isSound(), false)
  try {
    batch.verify(4096)
    t.fail('passed')
  } catch (error) {
    t.ok(isLogError(error, 'CORRUPT_MESSAGE'))
    if (!isLogError(error)) return
    t.match(error.details, { position: 4096, baseOffset: 40, expected: batch.crc })
    const { computed } = error.details as { computed?: number }
    t.type(computed, 'number')
    t.not(computed, batch.crc)
  }
  t.throws(() => batch.verify(), { code: 'CORRUPT_MESSAGE', details: { position: 5 } })
  t.throws(() => batch.records(), { code: 'CORRUPT_MESSAGE' })
  t.doesNotThrow(() => batch.records({ checkCrc: false }))
})

t.test('offsets, sequences and flags', async t => {
  const batch = new BatchView(sound())
  t.equal(batch.lastOffset, 42)
  t.equal(batch.nextOffset, 43)
  t.equal(batch.partitionLeaderEpoch, 6)
  t.equal(batch.hasProducerId, false)
  t.equal(batch.lastSequence, -1)
  t.equal(batch.isControl || batch.isTransactional, false)
  t.equal(batch.deleteHorizonMs, undefined)
  const sequenced = (base: number) => new BatchView(edited(b => b.writeInt32BE(base, 53))).lastSequence
  t.equal(sequenced(0), 2)
  t.equal(sequenced(2 ** 31 - 3), 2 ** 31 - 1)
  t.equal(sequenced(2 ** 31 - 2), 0, 'after 2147483647 comes 0')
  t.equal(sequenced(2 ** 31 - 1), 1)
  const flagged = new BatchView(edited(b => b.writeInt16BE(0x78, 21)))
  t.equal(flagged.isControl && flagged.isTransactional, true)
  t.equal(flagged.timestampType, 'LogAppendTime')
  t.equal(flagged.deleteHorizonMs, 1000)
  for (const id of [5, 6, 7]) {
    const unknown = new BatchView(edited(b => b.writeInt16BE(id, 21)))
    t.equal(unknown.isSound(), true, 'a scan of headers and CRCs need not know the codec')
    t.throws(() => unknown.compression, { code: 'UNSUPPORTED_COMPRESSION_TYPE', details: { compressionType: id } })
    t.throws(() => unknown.records(), { code: 'UNSUPPORTED_COMPRESSION_TYPE' })
  }
})

t.test('a producer id beyond 2^53 is shown exactly or not at all', async t => {
  const batch = new BatchView(edited(b => b.writeBigInt64BE(2n ** 53n + 1n, 43)))
  t.equal(batch.hasProducerId, true)
  t.equal(batch.producerIdExact, 2n ** 53n + 1n)
  t.throws(() => batch.producerId, { code: 'CORRUPT_MESSAGE' })
  t.equal(batch.records().next(), true, 'its records are readable all the same')
})

t.test('timestamps beyond 2^53 are the nearest number and exact', async t => {
  const nanoseconds = 1_700_000_000_123_456_789n
  const bytes = encodeBatch([{ timestamp: nanoseconds }, { timestamp: nanoseconds + 1n }], { now: 0 })
  const batch = new BatchView(bytes)
  t.equal(batch.maxTimestamp, Number(nanoseconds + 1n))
  t.equal(batch.maxTimestampExact, nanoseconds + 1n)
  const cursor = batch.records()
  for (const exact of [nanoseconds, nanoseconds + 1n]) {
    t.ok(cursor.next())
    t.equal(cursor.timestamp, Number(exact))
    t.equal(cursor.timestampExact, exact)
    t.equal(cursor.lazy().timestampExact, exact)
    t.equal(cursor.toRecord().timestampExact, exact)
  }
  setMaxTimestampAndType(bytes, 0, 2n ** 62n + 1n, 'LogAppendTime')
  const appended = batch.records()
  t.ok(appended.next())
  t.equal(appended.timestampExact, 2n ** 62n + 1n)
  t.equal(appended.timestamp, 2 ** 62)
})
