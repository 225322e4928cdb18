import fc from 'fast-check'
import t from 'tap'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { COMPRESSION_NAMES } from '../../lib/record/batch-format.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { readOlderEntry } from '../../lib/record/older-magic.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { soundVectors } from '../helpers/vectors.ts'

/** Reads everything there is to read of a batch. Gives the code of the error that ended it, if one of ours did. */
function devour(bytes: Buffer, checkCrc: boolean): string | undefined {
  try {
    const cursor = new BatchView(bytes).records({ checkCrc, maxDecompressedBytes: 4 * MiB })
    while (cursor.next()) {
      const lazy = cursor.lazy()
      const { key, value, headers, offset, timestamp, timestampExact } = lazy
      if (!Number.isSafeInteger(offset) || Number(timestampExact) !== timestamp)
        throw new Error(`${offset}, ${timestamp}`)
      const eager = cursor.toRecord()
      if (eager.headers.length !== cursor.headerCount || headers.length !== cursor.headerCount)
        throw new Error('headers')
      if ((key?.length ?? -1) !== (eager.key?.length ?? -1)) throw new Error('key')
      if ((value?.length ?? -1) !== (eager.value?.length ?? -1)) throw new Error('value')
    }
    return undefined
  } catch (error) {
    if (isLogError(error)) return error.code
    throw error
  }
}

/** A header that claims `count` records, followed by `records` as they are, with a right CRC. */
function forge(records: Buffer, count: number, attributes = 0, lastOffsetDelta = 2 ** 31 - 1): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(61), records])
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes[16] = 2
  bytes.writeInt16BE(attributes, 21)
  bytes.writeInt32BE(lastOffsetDelta, 23)
  bytes.writeInt32BE(count, 57)
  updateCrc(bytes, 0)
  return bytes
}

const SMALL = encodeBatch(
  [
    { key: 'key', value: 'value', timestamp: 1000 },
    {
      key: null,
      value: null,
      headers: [
        ['name', 'x'],
        ['', null]
      ],
      timestamp: 5
    },
    { key: Buffer.alloc(70, 1), value: 'v'.repeat(200), timestamp: 10n ** 18n }
  ],
  { now: 1, baseOffset: 1000, producerId: 7, producerEpoch: 0, baseSequence: 0 }
)

t.test('any single flipped bit under the CRC is found', async t => {
  for (const { id, bytes } of [
    ...soundVectors().filter(({ bytes }) => bytes.length < 1000),
    { id: 'own', bytes: SMALL }
  ]) {
    const missed: number[] = []
    for (let bit = 17 * 8; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      if (new BatchView(damaged).isSound()) missed.push(bit)
      else if (devour(damaged, true) !== 'CORRUPT_MESSAGE') missed.push(bit)
    }
    t.same(missed, [], id)
  }
})

t.test('a flipped bit in length or magic is found as well; base offset and leader epoch are under no CRC', async t => {
  for (let bit = 0; bit < 17 * 8; bit++) {
    const damaged = Buffer.from(SMALL)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    const at = bit >> 3
    const covered = (at >= 8 && at < 12) || at === 16
    const code = devour(damaged, true)
    // Of the base offset, only a value that no number holds is refused here: the chain of offsets is the log's.
    if (covered) t.match(code, /CORRUPT_MESSAGE|UNSUPPORTED_FOR_MESSAGE_FORMAT/, `bit ${bit}`)
    else t.equal(code, at < 2 && (at === 0 || bit % 8 >= 5) ? 'CORRUPT_MESSAGE' : undefined, `bit ${bit}`)
  }
})

t.test('random records under a right CRC: read, or refused with a type', async t => {
  const codes = new Set<string | undefined>()
  const property = fc.property(
    fc.uint8Array({ maxLength: 120 }),
    fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer()),
    fc.integer({ min: -128, max: 127 }),
    fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer()),
    (records, count, attributes, delta) => {
      codes.add(devour(forge(Buffer.from(records), count, attributes, delta), true))
    }
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000 }))
  t.ok(codes.has('INVALID_RECORD') && codes.has('CORRUPT_MESSAGE') && codes.has('UNSUPPORTED_COMPRESSION_TYPE'))
})

t.test('sound batches with a few bytes changed and the CRC put right: read, or refused with a type', async t => {
  const seeds = [SMALL, ...soundVectors().map(({ bytes }) => bytes)].filter(bytes => bytes.length < 1000)
  const outcomes = new Map<string | undefined, number>()
  const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff), fc.boolean())
  const property = fc.property(
    fc.constantFrom(...seeds),
    fc.array(change, { minLength: 1, maxLength: 4 }),
    (seed, edits) => {
      const bytes = Buffer.from(seed)
      for (const [at, byte, relative] of edits) {
        const where = 21 + (at % (bytes.length - 21))
        bytes[where] = relative ? bytes[where]! + byte : byte
      }
      updateCrc(bytes, 0)
      const code = devour(bytes, true)
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
    }
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 8000 }))
  t.ok((outcomes.get(undefined) ?? 0) > 100 && (outcomes.get('INVALID_RECORD') ?? 0) > 100, 'both ways are taken')
})

t.test('random bytes: the scan, the view and the older format answer or refuse with a type', async t => {
  const property = fc.property(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(undefined, 0, 1, 2),
    (array, magic) => {
      const bytes = Buffer.from(array)
      if (magic !== undefined && bytes.length > 16) {
        bytes.fill(0, 0, 11)
        bytes[16] = magic
      }
      const scanned = scanBatch(bytes, 0, bytes.length)
      const code = devour(bytes, false)
      // A scan calls nothing a batch that the view then refuses for its header, and the other way round.
      if (scanned.kind === 'batch' && bytes[16] === 2 && code === 'CORRUPT_MESSAGE') return false
      if (scanned.kind !== 'batch' && code === undefined) return false
      try {
        readOlderEntry(bytes, 0, bytes.length)
      } catch (error) {
        return isLogError(error, 'CORRUPT_MESSAGE')
      }
      return true
    }
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000 }))
})

/** Bytes of heap and buffers that `f` holds or leaves behind, before anything is collected. */
function memoryOf(f: () => void): number {
  const used = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
  const before = used()
  f()
  return used() - before
}

t.test('counts and lengths that promise the world cost nothing', async t => {
  const varint = (value: number) => {
    const bytes = []
    for (let zigzag = value * 2; ; zigzag = Math.floor(zigzag / 128)) {
      if (zigzag < 128) return Buffer.from([...bytes, zigzag])
      bytes.push((zigzag % 128) | 128)
    }
  }
  const record = (...parts: (number | Buffer)[]) => {
    const body = Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.from([part]) : part)))
    return Buffer.concat([varint(body.length), body])
  }
  const most = 2 ** 31 - 1
  const bombs: [string, Buffer][] = [
    ['records', forge(record(0, 0, 0, 1, 1, 0), most)],
    ['records in an empty batch', forge(Buffer.alloc(0), most)],
    ['record of 2 GiB', forge(Buffer.concat([varint(most), Buffer.alloc(40)]), 1)],
    ['key of 2 GiB', forge(record(0, 0, 0, varint(most), 1, 0), 1)],
    ['value of 2 GiB', forge(record(0, 0, 0, 1, varint(most), 0), 1)],
    ['headers', forge(record(0, 0, 0, 1, 1, varint(most), Buffer.alloc(30)), 1)],
    ['headers, 2^26', forge(record(0, 0, 0, 1, 1, varint(2 ** 26), Buffer.alloc(30)), 1)],
    ['header name of 2 GiB', forge(record(0, 0, 0, 1, 1, varint(1), varint(most), 0), 1)],
    ['header value of 2 GiB', forge(record(0, 0, 0, 1, 1, varint(1), 0, varint(most)), 1)]
  ]
  for (const [name, bytes] of bombs) {
    t.equal(devour(bytes, true), 'INVALID_RECORD', name)
    t.ok(memoryOf(() => devour(bytes, true)) < MiB, name)
  }
})

t.test('batches that grow beyond the limit are refused before the memory is taken', async t => {
  const zeros = [{ value: Buffer.alloc(8 * MiB) }]
  for (const compression of COMPRESSION_NAMES) {
    const bytes = encodeBatch(zeros, { now: 1, compression })
    if (compression === 'none') continue
    t.equal(devour(bytes, true), 'DECOMPRESSION_LIMIT', compression)
    const cursor = new BatchView(bytes).records({ maxDecompressedBytes: 9 * MiB })
    t.equal(cursor.next(), true)
    t.equal(cursor.value()?.length, 8 * MiB)
  }
})

t.test('decompressed bytes stay what they are while other batches are read', async t => {
  for (const compression of COMPRESSION_NAMES.slice(1)) {
    const first = new BatchView(encodeBatch([{ key: 'k', value: 'first' }], { now: 1, compression })).records()
    t.equal(first.next(), true)
    const kept = first.lazy()
    for (let i = 0; i < 2000; i++) devour(encodeBatch([{ key: 'x', value: 'other' }], { now: 1, compression }), true)
    t.equal(`${kept.key}=${kept.value}`, 'k=first', compression)
  }
})
