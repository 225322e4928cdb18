import t from 'tap'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'

const sound = encodeBatch([{ value: 'hello' }], { now: 1 })

function header(length: number, magic: number, baseOffset = 0n): Buffer {
  const bytes = Buffer.alloc(100)
  bytes.writeBigInt64BE(baseOffset, 0)
  bytes.writeInt32BE(length, 8)
  bytes[16] = magic
  return bytes
}

t.test('every length of a cut batch is incomplete, and says what is needed', async t => {
  const size = sound.length
  t.same(scanBatch(sound, 0, 0), { kind: 'end' })
  for (let end = 1; end < 17; end++) t.same(scanBatch(sound, 0, end), { kind: 'incomplete', need: 17 })
  for (let end = 17; end < size; end++) t.same(scanBatch(sound, 0, end), { kind: 'incomplete', need: size })
  t.same(scanBatch(sound, 0, size), { kind: 'batch', size })
  t.same(scanBatch(Buffer.concat([Buffer.alloc(9), sound]), 9, 9 + size), { kind: 'batch', size })
  t.same(scanBatch(sound, size, size), { kind: 'end' })
})

t.test('the bytes behind the bound are not looked at', async t => {
  const bytes = Buffer.concat([sound, sound])
  t.same(scanBatch(bytes, sound.length, sound.length + 20), { kind: 'incomplete', need: sound.length })
})

t.test('zeros are told from other damage', async t => {
  t.same(scanBatch(Buffer.alloc(4096), 0, 4096), { kind: 'corrupt', reason: 'zeros' })
  const almost = Buffer.alloc(4096)
  almost[13] = 1
  t.match(scanBatch(almost, 0, 4096), { kind: 'corrupt', reason: /length 0 is below 14/ })
})

t.test('each magic has its own least length', async t => {
  const scan = (length: number, magic: number) => scanBatch(header(length, magic), 0, 100)
  t.match(scan(48, 2), { kind: 'corrupt', reason: /below 49/ })
  t.same(scan(49, 2), { kind: 'batch', size: 61 })
  for (const magic of [0, 1]) {
    t.match(scan(13, magic), { kind: 'corrupt', reason: /below 14/ })
    t.same(scan(14, magic), { kind: 'batch', size: 26 })
  }
  for (const magic of [3, 100, 255]) t.match(scan(49, magic), { kind: 'corrupt', reason: /magic/ })
  for (const length of [-1, -(2 ** 31)]) t.match(scan(length, 2), { kind: 'corrupt', reason: /below 49/ })
})

t.test('a length beyond any segment is damage, one beyond the bytes at hand is not', async t => {
  t.match(scanBatch(header(2 ** 31 - 1, 2), 0, 100), { kind: 'corrupt', reason: /more than a segment/ })
  t.same(scanBatch(header(2 ** 31 - 13, 2), 0, 100), { kind: 'incomplete', need: 2 ** 31 - 1 })
})

t.test('a base offset that is none is damage', async t => {
  const scan = (offset: bigint) => scanBatch(header(49, 2, offset), 0, 100).kind
  t.equal(scan(2n ** 53n - 1n), 'batch')
  for (const offset of [-1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) t.equal(scan(offset), 'corrupt')
})
