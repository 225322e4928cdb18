import snappy from 'snappy'
import t, { type Test } from 'tap'
import { compress } from '../../../lib/record/compression/index.ts'
import { encodeSnappyBlock, snappyBlockBound } from '../../../lib/record/compression/snappy-block.ts'
import { LIMITS, lines, noise, SIZES, WAYS } from './samples.ts'

const HEADER = Buffer.from('82534e41505059000000000100000001', 'hex')

function chunk(...bytes: number[]): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(bytes.length)
  return Buffer.concat([size, Buffer.from(bytes)])
}

function framed(...chunks: Buffer[]): Buffer {
  return Buffer.concat([HEADER, ...chunks])
}

/** A block of one literal. */
function literal(text: string): number[] {
  return [text.length, (text.length - 1) << 2, ...Buffer.from(text)]
}

function reads(t: Test, payload: Buffer, text: string): void {
  for (const [way, run] of WAYS) t.equal(run('snappy', payload, LIMITS).toString(), text, way)
}

function refused(t: Test, payload: Buffer, reason: RegExp): void {
  for (const [way, run] of WAYS) {
    t.throws(() => run('snappy', payload, LIMITS), { code: 'INVALID_RECORD', message: reason }, way)
  }
}

t.test('a payload is framed as Kafka frames it: blocks of 32 KiB behind their lengths', async t => {
  t.ok(compress('snappy', Buffer.alloc(0)).equals(HEADER))
  const payload = compress('snappy', noise(70000))
  t.ok(payload.subarray(0, 16).equals(HEADER))
  const sizes: number[] = []
  for (let at = 16; at < payload.length; at += 4 + payload.readUInt32BE(at)) {
    const block = payload.subarray(at + 4, at + 4 + payload.readUInt32BE(at))
    sizes.push((snappy.uncompressSync(block) as Buffer).length)
  }
  t.same(sizes, [32768, 32768, 70000 - 65536])
})

t.test('bare blocks, of which other clients send one of any size, are read', async t => {
  reads(t, Buffer.from(literal('hello')), 'hello')
  reads(t, Buffer.from([0]), '')
  for (const size of SIZES) {
    for (const bytes of [lines(size), noise(size), Buffer.alloc(size)]) {
      const payload = snappy.compressSync(bytes)
      for (const [way, run] of WAYS) if (!run('snappy', payload, LIMITS).equals(bytes)) t.fail(`${size} bytes, ${way}`)
    }
  }
})

t.test('our blocks are read by the native library', async t => {
  for (const size of SIZES.filter(size => size <= 65536)) {
    for (const bytes of [
      lines(size),
      noise(size),
      Buffer.alloc(size),
      Buffer.alloc(size, 'abc'),
      Buffer.alloc(size, lines(70))
    ]) {
      const block = Buffer.alloc(snappyBlockBound(size))
      const end = encodeSnappyBlock(bytes, 0, size, block, 0)
      if (!(snappy.uncompressSync(block.subarray(0, end)) as Buffer).equals(bytes)) t.fail(`${size} bytes`)
    }
  }
})

t.test('a block of four bytes finds nothing to copy in the table that an earlier block filled', async t => {
  // Once the table was cleared only for blocks of five bytes and more, and a block of four began with a copy.
  for (const text of ['abcdabcdabcd', 'abcd', 'abcd']) {
    t.equal(WAYS[0]![1]('snappy', compress('snappy', Buffer.from(text)), LIMITS).toString(), text)
  }
})

t.test('framed payloads may follow each other, as snappy-java reads them', async t => {
  const hello = framed(chunk(...literal('hello')))
  reads(t, Buffer.concat([hello, hello]), 'hellohello')
  reads(t, Buffer.concat([HEADER, HEADER]), '')
  reads(t, framed(chunk(0), chunk(...literal('x')), chunk(0)), 'x')
})

t.test('every kind of element is understood', async t => {
  reads(t, Buffer.from([9, 0, 0x61, 0x01 | (4 << 2), 1]), 'aaaaaaaaa')
  reads(t, Buffer.from([4, 0, 0x61, 0x02 | (2 << 2), 1, 0]), 'aaaa')
  reads(t, Buffer.from([4, 0, 0x61, 0x03 | (2 << 2), 1, 0, 0, 0]), 'aaaa')
  for (const extra of [1, 2, 3, 4]) {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(4)
    const bytes = [5, (59 + extra) << 2, ...length.subarray(0, extra), ...Buffer.from('hello')]
    reads(t, Buffer.from(bytes), 'hello')
  }
})

t.test('broken blocks are refused', async t => {
  refused(t, Buffer.from([5, 0, 0x61]), /less output than its length/)
  refused(t, Buffer.from([1, 4, 0x61, 0x62]), /more output than its length/)
  refused(t, Buffer.from([9, 0, 0x61, 0x01 | (4 << 2), 0]), /before the block/)
  refused(t, Buffer.from([9, 0, 0x61, 0x01 | (4 << 2), 2]), /before the block/)
  refused(t, Buffer.from([5, 0, 0x61, 0x03 | (3 << 2), 1, 0, 0, 0x80]), /before the block/)
  refused(t, Buffer.from([5, 0, 0x61, 0x02]), /cut off inside a copy/)
  refused(t, Buffer.from([5, 61 << 2, 1]), /cut off/)
  refused(t, Buffer.from([5, 16 << 2, 1]), /cut off inside a literal/)
  refused(t, Buffer.from([100, 0, 0x61]), /claims more output than its bytes can give/)
  refused(t, Buffer.from([0x80]), /cut off inside the length/)
  refused(t, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x1f, 0]), /32 bits/)
})

t.test('broken frames are refused', async t => {
  refused(t, HEADER.subarray(0, 12), /cut off inside the header/)
  refused(t, framed(Buffer.from([0, 0])), /cut off inside the length/)
  refused(t, framed(Buffer.from([0, 0, 0, 9, 1])), /a block is cut off/)
  refused(t, framed(Buffer.from([0xff, 0xff, 0xff, 0xff])), /a block is cut off/)
  // snappy-java refuses a block of no bytes, too: not even its length is there.
  refused(t, framed(chunk()), /cut off inside the length/)
  const unversioned = Buffer.from(HEADER)
  unversioned[11] = 0
  refused(t, unversioned, /version 0/)
})
