import t, { type Test } from 'tap'
import { compress } from '../../../lib/record/compression/index.ts'
import { compressLz4, decompressLz4 } from '../../../lib/record/compression/lz4.ts'
import { decodeLz4Block, encodeLz4Block, lz4BlockBound } from '../../../lib/record/compression/lz4-block.ts'
import { lz4BlockCodec } from '../../../lib/record/compression/lz4-codec.ts'
import { XxHash32, xxHash32 } from '../../../lib/record/compression/xxhash32.ts'
import { LIMITS, lines, noise, SIZES, WAYS } from './samples.ts'

interface FrameParts {
  readonly flags?: number
  readonly sizes?: number
  readonly contentBytes?: bigint
  readonly blocks?: readonly Buffer[]
  readonly tail?: Buffer
}

/** A frame with a right header checksum, whatever else it says. */
function frame({ flags = 0x60, sizes = 0x40, contentBytes, blocks = [], tail = u32(0) }: FrameParts): Buffer {
  const size = contentBytes === undefined ? Buffer.alloc(0) : Buffer.alloc(8)
  if (contentBytes !== undefined) size.writeBigUInt64LE(contentBytes)
  const descriptor = Buffer.concat([Buffer.from([flags, sizes]), size])
  const checksum = (xxHash32(descriptor, 0, descriptor.length) >>> 8) & 0xff
  return Buffer.concat([u32(0x184d2204), descriptor, Buffer.from([checksum]), ...blocks, tail])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function stored(bytes: Buffer): Buffer {
  return Buffer.concat([u32(0x80000000 + bytes.length), bytes])
}

function block(...bytes: number[]): Buffer {
  return Buffer.concat([u32(bytes.length), Buffer.from(bytes)])
}

const hello = Buffer.from('hello')

function read(payload: Buffer, maxBytes = LIMITS.maxBytes): string {
  const outputs = WAYS.map(([, run]) => run('lz4', payload, { maxBytes }).toString())
  t.ok(outputs.every(output => output === outputs[0]))
  return outputs[0]!
}

function refused(t: Test, payload: Buffer, reason: RegExp): void {
  for (const [way, run] of WAYS)
    t.throws(() => run('lz4', payload, LIMITS), { code: 'INVALID_RECORD', message: reason }, way)
}

t.test('a frame is written as Kafka writes it', async t => {
  t.equal(compress('lz4', Buffer.alloc(0)).toString('hex'), '04224d1860408200000000')
  t.equal(compress('lz4', hello).toString('hex'), '04224d18604082' + '05000080' + '68656c6c6f' + '00000000')
  const payload = compress('lz4', noise(65537))
  t.equal(payload.readUInt32LE(7), 0x80000000 + 65536, 'what does not shrink is stored')
  t.equal(payload.readUInt32LE(7 + 4 + 65536), 0x80000001, 'blocks hold 64 KiB')
})

t.test('optional fields of a frame header are understood and held to what they say', async t => {
  t.equal(read(frame({ flags: 0x68, contentBytes: 5n, blocks: [stored(hello)] })), 'hello')
  refused(t, frame({ flags: 0x68, contentBytes: 6n, blocks: [stored(hello)] }), /says 6 bytes and gives 5/)
  const hash = u32(xxHash32(hello, 0, 5))
  const wrong = u32((xxHash32(hello, 0, 5) ^ 1) >>> 0)
  t.equal(read(frame({ flags: 0x70, blocks: [stored(hello), hash] })), 'hello')
  refused(t, frame({ flags: 0x70, blocks: [stored(hello), wrong] }), /block does not match its checksum/)
  t.equal(read(frame({ flags: 0x64, blocks: [stored(hello)], tail: Buffer.concat([u32(0), hash]) })), 'hello')
  refused(t, frame({ flags: 0x64, blocks: [stored(hello)], tail: Buffer.concat([u32(0), wrong]) }), /content/)
})

t.test('blocks may be as large as the frame says, and no larger', async t => {
  const table: readonly (readonly [number, number])[] = [
    [0x40, 16],
    [0x50, 18],
    [0x60, 20],
    [0x70, 22]
  ]
  for (const [sizes, bits] of table) {
    const most = noise(100).subarray(0, 1)
    const large = Buffer.alloc(2 ** bits, most)
    t.equal(read(frame({ sizes, blocks: [stored(large)] })).length, 2 ** bits)
    refused(t, frame({ sizes, blocks: [stored(Buffer.alloc(2 ** bits + 1))] }), /above the frame's/)
    const zeros = Buffer.alloc(2 ** bits + 1)
    const output = Buffer.alloc(lz4BlockBound(zeros.length))
    const encoded = output.subarray(0, encodeLz4Block(zeros, 0, zeros.length, output, 0))
    refused(t, frame({ sizes, blocks: [block(...encoded)] }), /gives more than the frame's/)
  }
})

t.test('what Kafka refuses is refused', async t => {
  refused(t, frame({ flags: 0x40, blocks: [stored(hello)] }), /linked/)
  refused(t, frame({ flags: 0x61 }), /reserved bits or a dictionary/)
  refused(t, frame({ flags: 0x62 }), /reserved bits/)
  refused(t, frame({ flags: 0xa0 }), /version 2/)
  refused(t, frame({ sizes: 0x30 }), /block size 3/)
  refused(t, frame({ sizes: 0xc0 }), /reserved bits in BD/)
  refused(t, frame({ sizes: 0x41 }), /reserved bits in BD/)
  refused(t, frame({ tail: Buffer.alloc(0) }), /end mark/)
  const header = compress('lz4', hello)
  header[6]! ^= 1
  refused(t, header, /header does not match/)
  refused(t, Buffer.concat([u32(0x184c2102), u32(0)]), /magic/)
})

t.test('a second frame is refused, where Kafka would drop it in silence', async t => {
  refused(t, Buffer.concat([compress('lz4', hello), compress('lz4', hello)]), /bytes follow/)
})

t.test('a stored block of no bytes ends the frame, as in Kafka', async t => {
  t.equal(read(frame({ blocks: [stored(hello)], tail: u32(0x80000000) })), 'hello')
})

t.test('broken blocks are refused by the native codec and by ours alike', async t => {
  const broken: readonly (readonly [string, Buffer])[] = [
    ['a match before the block', block(0x10, 0x61, 2, 0, 0x50, 1, 2, 3, 4, 5)],
    ['a match at distance 0', block(0x10, 0x61, 0, 0, 0x50, 1, 2, 3, 4, 5)],
    ['literals cut off', block(0x50, 1, 2)],
    ['a literal length cut off', block(0xf0, 255, 255)],
    ['a match length cut off', block(0x1f, 0x61, 1, 0, 255)],
    ['a distance cut off', block(0x10, 0x61, 1)],
    ['it ends with a match', block(0x10, 0x61, 1, 0)]
  ]
  for (const [name, bytes] of broken) {
    for (const kind of ['js', 'native'] as const) {
      const run = () => decompressLz4(frame({ blocks: [bytes] }), 1000, lz4BlockCodec(kind))
      t.throws(run, { code: 'INVALID_RECORD' }, `${name}, ${kind}`)
    }
  }
})

t.test('a match reaches into the block before only in linked frames, so it is refused', async t => {
  refused(t, frame({ blocks: [stored(hello), block(0x00, 5, 0, 0x50, 1, 2, 3, 4, 5)] }), /before its block/)
})

t.test('the native codec and ours read what the other wrote', async t => {
  const [js, native] = [lz4BlockCodec('js'), lz4BlockCodec()]
  t.equal(js.kind, 'js')
  for (const size of SIZES) {
    for (const bytes of [
      Buffer.alloc(size),
      lines(size),
      noise(size),
      Buffer.alloc(size, 'abc'),
      Buffer.alloc(size, lines(40))
    ]) {
      for (const [writer, reader] of [
        [js, native],
        [native, js],
        [js, js]
      ] as const) {
        const payload = compressLz4(bytes, writer)
        if (!decompressLz4(payload, size, reader).equals(bytes))
          t.fail(`${size} bytes, ${writer.kind} to ${reader.kind}`)
      }
    }
  }
})

t.test('our block decoder never writes past the room that it was given', async t => {
  const zeros = Buffer.alloc(1000)
  const encoded = Buffer.alloc(lz4BlockBound(1000))
  const end = encodeLz4Block(zeros, 0, 1000, encoded, 0)
  const output = Buffer.alloc(1100, 1)
  t.throws(() => decodeLz4Block(encoded, 0, end, output, 0, 999), { code: 'INVALID_RECORD' })
  t.ok(output.subarray(999).every(byte => byte === 1))
})

t.test('xxHash32 agrees with the reference, whole and in pieces', async t => {
  // From the specification's sanity checks: seed 0.
  t.equal(xxHash32(Buffer.alloc(0), 0, 0), 0x02cc5d05)
  t.equal(xxHash32(Buffer.from('a'), 0, 1), 0x550d7456)
  t.equal(xxHash32(Buffer.from('abc'), 0, 3), 0x32d153ff)
  t.equal(xxHash32(Buffer.from('Nobody inspects the spammish repetition'), 0, 39), 0xe2293b2f)
  const bytes = noise(1000)
  const whole = xxHash32(bytes, 0, 1000)
  for (const step of [1, 3, 15, 16, 17, 100]) {
    const hash = new XxHash32()
    for (let at = 0; at < 1000; at += step) hash.update(bytes, at, Math.min(1000, at + step))
    t.equal(hash.digest(), whole, `in pieces of ${step}`)
  }
})
