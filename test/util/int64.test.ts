import fc from 'fast-check'
import t from 'tap'
import { nearestInt64, readInt64, tryReadInt64, writeInt64 } from '../../lib/util/int64.ts'

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n }),
  fc.maxSafeInteger().map(BigInt)
)

function bytesOf(value: bigint): Buffer {
  const bytes = Buffer.alloc(11, 0xcc)
  bytes.writeBigInt64BE(value, 2)
  return bytes
}

t.test('every value is read exactly, or refused', async t => {
  const property = fc.property(int64, value => {
    const bytes = bytesOf(value)
    const held = value >= -(2n ** 53n - 1n) && value <= 2n ** 53n - 1n
    if (nearestInt64(bytes, 2) !== Number(value)) return false
    if (tryReadInt64(bytes, 2) !== (held ? Number(value) : undefined)) return false
    return !held || readInt64(bytes, 2) === Number(value)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3000 }))
})

t.test('the first values that a number does not hold are refused, with the value', async t => {
  for (const value of [2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
    t.throws(() => readInt64(bytesOf(value), 2), { code: 'CORRUPT_MESSAGE', details: { value } })
    t.equal(tryReadInt64(bytesOf(value), 2), undefined)
  }
})

t.test('what is written is what Buffer writes, and nothing beside it', async t => {
  const property = fc.property(fc.maxSafeInteger(), value => {
    const bytes = Buffer.alloc(11, 0xcc)
    writeInt64(bytes, value, 2)
    return bytes.equals(bytesOf(BigInt(value)))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})

t.test('what cannot be written exactly is refused and leaves the bytes alone', async t => {
  const bytes = Buffer.alloc(8)
  for (const value of [2 ** 53, -(2 ** 53), 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => writeInt64(bytes, value, 0), RangeError)
  }
  t.same(bytes, Buffer.alloc(8))
})

t.test('bytes outside the buffer are never read or written', async t => {
  t.throws(() => readInt64(Buffer.alloc(8), 1), RangeError)
  t.throws(() => nearestInt64(Buffer.alloc(3), 0), RangeError)
  t.throws(() => writeInt64(Buffer.alloc(8), 1, 1), RangeError)
})
