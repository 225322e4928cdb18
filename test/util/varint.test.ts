import fc from 'fast-check'
import t from 'tap'
import {
  readVarint,
  readVarlong,
  shortZigzag,
  skipVarint,
  varintBytes,
  varlongBytes,
  writeShortZigzag,
  writeVarint,
  writeVarlong,
  zigzagBytes
} from '../../lib/util/varint.ts'

const int32 = fc.oneof(fc.integer(), fc.integer({ min: -70, max: 70 }), fc.integer({ min: -9000, max: 9000 }))
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.nat(63).chain(bits => fc.bigInt({ min: -(2n ** BigInt(bits)), max: 2n ** BigInt(bits) - 1n }))
)

/** From the definition: zigzag, then groups of seven bits, low ones first. */
function byDefinition(value: bigint): Buffer {
  let zigzag = value < 0n ? -2n * value - 1n : 2n * value
  const bytes: number[] = []
  while (zigzag >= 128n) {
    bytes.push(Number(zigzag % 128n) + 128)
    zigzag /= 128n
  }
  return Buffer.from([...bytes, Number(zigzag)])
}

t.test('a 32-bit integer is written as the definition says and read back', async t => {
  const property = fc.property(int32, value => {
    const expected = byDefinition(BigInt(value))
    const bytes = Buffer.alloc(8, 0xff)
    const end = writeVarint(bytes, value, 1)
    if (!bytes.subarray(1, end).equals(expected) || bytes[end] !== 0xff) return false
    if (varintBytes(value) !== expected.length) return false
    if (expected.length <= 2) {
      bytes.fill(0xff)
      if (writeShortZigzag(bytes, (value << 1) ^ (value >> 31), 1) !== end) return false
      if (!bytes.subarray(1, end).equals(expected) || bytes[end] !== 0xff) return false
    }
    return readVarint(bytes, 1, end) === value && skipVarint(bytes, 1, end) === end
  })
  const edges = [0, -1, 63, 64, -64, -65, 8191, 8192, 2 ** 20, 2 ** 27, 2 ** 31 - 1, -(2 ** 31)].map(
    v => [v] as [number]
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3000, examples: edges }))
})

t.test('a 64-bit integer is written as the definition says and read back, as a number too', async t => {
  const property = fc.property(int64, value => {
    const expected = byDefinition(value)
    for (const form of [value, Number(value)]) {
      if (BigInt(form) !== value) continue
      const bytes = Buffer.alloc(13, 0xff)
      const end = writeVarlong(bytes, form, 1)
      if (!bytes.subarray(1, end).equals(expected) || bytes[end] !== 0xff) return false
      if (varlongBytes(form) !== expected.length) return false
      if (readVarlong(bytes, 1, end) !== value || skipVarint(bytes, 1, end, 10) !== end) return false
    }
    return true
  })
  const powers = [27, 28, 31, 32, 51, 52, 53, 54, 62].map(bits => 2n ** BigInt(bits))
  const edges = powers.flatMap(p => [p, p - 1n, p + 1n, -p, -p - 1n, -p + 1n]).map(v => [v] as [bigint])
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3000, examples: [...edges, [2n ** 63n - 1n], [-(2n ** 63n)]] }))
})

t.test('the quick form agrees with the careful one, or leaves it to that', async t => {
  const property = fc.property(fc.uint8Array({ minLength: 0, maxLength: 6 }), array => {
    const bytes = Buffer.from(array)
    const zigzag = shortZigzag(bytes, 0)
    if (zigzag < 0) return true
    const end = zigzagBytes(zigzag)
    return skipVarint(bytes, 0, bytes.length) === end && readVarint(bytes, 0, end) === ((zigzag >>> 1) ^ -(zigzag & 1))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000 }))
  for (const value of [0, 1, -1, 64, -8193, 2 ** 20, 2 ** 27 - 1]) {
    const bytes = byDefinition(BigInt(value))
    t.equal(zigzagBytes(shortZigzag(bytes, 0)), bytes.length, `${value} goes the quick way`)
  }
  t.equal(shortZigzag(byDefinition(2n ** 27n), 0), -1)
})

t.test('what is cut, too long or too wide is refused', async t => {
  const refused = (hex: string, f: typeof readVarint | typeof readVarlong, message: RegExp) => {
    const bytes = Buffer.from(hex, 'hex')
    t.throws(() => f(bytes, 0, bytes.length), { code: 'INVALID_RECORD', message })
  }
  refused('', readVarint, /runs past the end/)
  refused('80', readVarint, /runs past the end/)
  refused('ffffffff', readVarint, /runs past the end/)
  refused('808080808000', readVarint, /more than 5 bytes/)
  refused('8080808080', readVarint, /more than 5 bytes/)
  refused('ffffffff10', readVarint, /more than 32 bits/)
  refused('80808080808080808080', readVarlong, /more than 10 bytes/)
  refused('808080808080808080', readVarlong, /runs past the end/)
  refused('ffffffffffffffffff02', readVarlong, /more than 64 bits/)
  t.equal(readVarint(Buffer.from('ffffffff0f', 'hex'), 0, 5), -(2 ** 31))
  t.throws(() => readVarint(Buffer.from('8001', 'hex'), 0, 1), /runs past the end/, 'the bound is kept, not the buffer')
})

t.test('padded forms are read, as Kafka reads them', async t => {
  t.equal(readVarint(Buffer.from('8000', 'hex'), 0, 2), 0)
  t.equal(readVarint(Buffer.from('8280808000', 'hex'), 0, 5), 1)
  t.equal(readVarlong(Buffer.from('81808080808080808000', 'hex'), 0, 10), -1n)
  t.equal(shortZigzag(Buffer.from('8200', 'hex'), 0), -1, 'by the careful way')
})
