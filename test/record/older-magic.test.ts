import { crc32 } from 'node:zlib'
import t from 'tap'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { readOlderEntry } from '../../lib/record/older-magic.ts'

/** An entry as Kafka before 0.11 wrote it, put together from the description of the format. */
function entry(magic: 0 | 1, attributes: number, key: string | null, value: string | null): Buffer {
  const part = (content: string | null) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(content === null ? -1 : content.length, 0)
    return Buffer.concat([length, Buffer.from(content ?? '')])
  }
  const time = Buffer.alloc(magic === 1 ? 8 : 0)
  if (magic === 1) time.writeBigInt64BE(1_500_000_000_000n, 0)
  const checked = Buffer.concat([Buffer.from([magic, attributes]), time, part(key), part(value)])
  const head = Buffer.alloc(16)
  head.writeBigInt64BE(99n, 0)
  head.writeInt32BE(4 + checked.length, 8)
  head.writeUInt32BE(crc32(checked), 12)
  return Buffer.concat([head, checked])
}

t.test('the header of a message of magic 0', async t => {
  const bytes = Buffer.concat([Buffer.alloc(3), entry(0, 1, 'key', null)])
  t.same(scanBatch(bytes, 3, bytes.length), { kind: 'batch', size: bytes.length - 3 })
  t.match(readOlderEntry(bytes, 3, bytes.length), {
    magic: 0,
    offset: 99,
    size: bytes.length - 3,
    isSound: true,
    compression: 'gzip',
    timestamp: undefined,
    timestampType: undefined,
    keyBytes: 3,
    valueBytes: undefined
  })
})

t.test('the header of a message of magic 1', async t => {
  const bytes = entry(1, 8, null, 'some value')
  t.match(readOlderEntry(bytes, 0, bytes.length), {
    magic: 1,
    isSound: true,
    compression: 'none',
    timestamp: 1_500_000_000_000n,
    timestampType: 'LogAppendTime',
    keyBytes: undefined,
    valueBytes: 10
  })
  t.equal(readOlderEntry(entry(1, 7, null, null), 0, 34).compression, '7', 'a codec without a name has its number')
})

t.test('damage shows, and what is no such message is refused', async t => {
  const bytes = entry(1, 0, 'k', 'v')
  for (let bit = 16 * 8 + 8; bit < bytes.length * 8; bit++) {
    const damaged = Buffer.from(bytes)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    if (readOlderEntry(damaged, 0, damaged.length).isSound) t.fail(`bit ${bit}`)
  }
  const refused = { code: 'CORRUPT_MESSAGE' }
  for (let end = 0; end < bytes.length; end++) t.throws(() => readOlderEntry(bytes, 0, end), refused)
  const magic2 = Buffer.from(bytes)
  magic2[16] = 2
  t.throws(() => readOlderEntry(magic2, 0, magic2.length), refused)
})
