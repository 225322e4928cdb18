import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'tap'
import { ProducerEntry, type ProducerFields } from '../../lib/log/producer-entry.ts'
import { formatProducerSnapshot, parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { fixture } from '../helpers/paths.ts'

const fieldsOf = (entry: ProducerEntry): ProducerFields => ({
  producerId: entry.producerId,
  epoch: entry.epoch,
  lastBatch: entry.lastBatch,
  lastTimestamp: entry.lastTimestamp,
  coordinatorEpoch: entry.coordinatorEpoch,
  currentTxnFirstOffset: entry.currentTxnFirstOffset
})

/** Recomputes the CRC, so that only what a test has changed is wrong. */
function sealed(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes, 6, bytes.length), 2)
  return bytes
}

test('every snapshot that Kafka wrote is read, and written back with the same bytes', async t => {
  let count = 0
  for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
    const clean = fixture('golden', version, 'clean')
    for (const name of readdirSync(clean, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.snapshot')) continue
      const bytes = readFileSync(join(clean, name))
      // Parsing keeps the file's order, so that even the order of the entries is the same.
      t.strictSame(formatProducerSnapshot(parseProducerSnapshot(bytes)), bytes, `${version} ${name}`)
      count += 1
    }
  }
  t.ok(count > 100, `${count} snapshots`)
})

test('an entry without a batch or a transaction has -1 where Kafka writes it', async t => {
  const entry = new ProducerEntry({
    producerId: 7,
    epoch: 2,
    lastBatch: undefined,
    lastTimestamp: undefined,
    coordinatorEpoch: undefined,
    currentTxnFirstOffset: undefined
  })
  const bytes = formatProducerSnapshot([entry])
  t.equal(
    bytes.subarray(6).toString('hex'),
    '00000001' +
      '0000000000000007' +
      '0002' +
      'ffffffff' +
      'ffffffffffffffff' +
      '00000000' +
      'ffffffffffffffff' +
      'ffffffff' +
      'ffffffffffffffff'
  )
  t.strictSame(parseProducerSnapshot(bytes).map(fieldsOf), [fieldsOf(entry)])
})

test('what is no sound snapshot is refused with the reason', async t => {
  const entry = new ProducerEntry({
    producerId: 7,
    epoch: 0,
    lastBatch: { lastSequence: 4, lastOffset: 14, offsetDelta: 4, timestamp: 5 },
    lastTimestamp: 5,
    coordinatorEpoch: 1,
    currentTxnFirstOffset: 10
  })
  const good = formatProducerSnapshot([entry])
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(good)
    change(bytes)
    return bytes
  }
  t.throws(() => parseProducerSnapshot(Buffer.alloc(0)), { code: 'CORRUPT_FILE', message: /shorter than its header/ })
  t.throws(() => parseProducerSnapshot(changed(b => b.writeInt16BE(2, 0))), { code: 'UNSUPPORTED_VERSION' })
  for (let at = 2; at < good.length; at += 1) {
    const flipped = changed(bytes => bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at))
    t.throws(() => parseProducerSnapshot(flipped), { code: 'CORRUPT_FILE', message: /CRC/ }, `byte ${at}`)
  }
  const long = sealed(Buffer.concat([good, Buffer.alloc(46)]))
  t.throws(() => parseProducerSnapshot(long), { code: 'CORRUPT_FILE', message: /number of entries/ })
  const negative = sealed(changed(bytes => bytes.writeInt32BE(-1, 6)))
  t.throws(() => parseProducerSnapshot(negative), { code: 'CORRUPT_FILE', message: /number of entries/ })
  const huge = sealed(changed(bytes => bytes.writeBigInt64BE(1n << 60n, 24)))
  t.throws(() => parseProducerSnapshot(huge), { code: 'CORRUPT_FILE', message: /beyond/ })
  const noId = sealed(changed(bytes => bytes.writeBigInt64BE(-1n, 10)))
  t.throws(() => parseProducerSnapshot(noId), { code: 'CORRUPT_FILE', message: /impossible/ })
  const longer = sealed(changed(bytes => bytes.writeInt32BE(15, 32)))
  t.throws(() => parseProducerSnapshot(longer), { code: 'CORRUPT_FILE', message: /impossible/ }, 'begins below 0')
  const twice = formatProducerSnapshot([entry, entry])
  t.throws(() => parseProducerSnapshot(twice), { code: 'CORRUPT_FILE', message: /twice/ })
})

test('any state survives being written and read', async t => {
  const optional = (most: number): fc.Arbitrary<number | undefined> =>
    fc.option(fc.integer({ min: 0, max: most }), { nil: undefined })
  const entry = fc
    .record({
      producerId: fc.maxSafeNat(),
      epoch: fc.integer({ min: 0, max: 32767 }),
      batch: fc.option(
        fc.record({
          lastSequence: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
          firstOffset: fc.integer({ min: 0, max: 2 ** 52 }),
          offsetDelta: fc.integer({ min: 0, max: 2 ** 31 - 1 })
        }),
        { nil: undefined }
      ),
      // Nanoseconds since 1970 are beyond 2^53: the nearest number comes back.
      lastTimestamp: fc.option(fc.oneof(fc.maxSafeNat(), fc.constant(1.7e18)), { nil: undefined }),
      coordinatorEpoch: optional(2 ** 31 - 1),
      currentTxnFirstOffset: optional(2 ** 40)
    })
    .map(
      ({ batch, ...fields }) =>
        new ProducerEntry({
          ...fields,
          lastBatch: batch && {
            ...batch,
            lastOffset: batch.firstOffset + batch.offsetDelta,
            timestamp: fields.lastTimestamp
          }
        })
    )
  fc.assert(
    fc.property(fc.uniqueArray(entry, { selector: e => e.producerId, maxLength: 20 }), entries => {
      t.strictSame(parseProducerSnapshot(formatProducerSnapshot(entries)).map(fieldsOf), entries.map(fieldsOf))
    }),
    { numRuns: 200 }
  )
})
