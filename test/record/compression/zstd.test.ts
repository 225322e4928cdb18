import t, { type Test } from 'tap'
import { pieceSource } from '../../../lib/record/compression/pieces.ts'
import { compressZstd, decompressZstd, decompressZstdStream, zstdEngine } from '../../../lib/record/compression/zstd.ts'
import { lines, noise, SIZES } from './samples.ts'

const LIMIT = 16 * 1024 * 1024
const SKIPPABLE = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
const FRAME = [0x28, 0xb5, 0x2f, 0xfd]

/** The block header of `size` bytes: type 0 stored, 1 repeated, 2 compressed. */
function block(size: number, type: number, last: boolean): number[] {
  const header = (size << 3) | (type << 1) | (last ? 1 : 0)
  return [header & 0xff, (header >>> 8) & 0xff, header >>> 16]
}

/** Without content size, window 1 KiB: `x`. */
const X = Buffer.from([...FRAME, 0, 0, ...block(1, 0, true), 0x78])

for (const kind of ['node', 'wasm'] as const) {
  const engine = zstdEngine(kind)
  // node:zlib has zstd since 22.15.
  t.test(`zstd of ${kind}`, { skip: engine === undefined }, async t => {
    const ways = [
      ['whole', (payload: Buffer, limit = LIMIT) => decompressZstd(payload, limit, engine)],
      [
        'streamed',
        (payload: Buffer, limit = LIMIT) =>
          Buffer.concat([...decompressZstdStream(payload, limit, pieceSource(false), engine)])
      ]
    ] as const

    function reads(t: Test, payload: Buffer, text: string): void {
      for (const [way, run] of ways) t.equal(run(payload).toString(), text, way)
    }

    function refused(t: Test, payload: Buffer, reason: RegExp, code = 'INVALID_RECORD'): void {
      for (const [way, run] of ways) t.throws(() => run(payload), { code, message: reason }, way)
    }

    t.test('what was compressed comes back, written by this engine and by the other', async t => {
      for (const size of [...SIZES, 5_000_000]) {
        for (const bytes of [lines(size), Buffer.alloc(size), size < 1e6 ? noise(size) : Buffer.alloc(size, 'ab')]) {
          for (const writer of [engine, zstdEngine()]) {
            const payload = compressZstd(bytes, 3, writer)
            for (const [way, run] of ways) if (!run(payload, size).equals(bytes)) t.fail(`${size} bytes, ${way}`)
          }
        }
      }
    })

    t.test('levels change what is written', async t => {
      const bytes = lines(100_000)
      const sizes = [-131072, 1, 19].map(level => compressZstd(bytes, level, engine).length)
      t.ok(sizes[0]! > sizes[1]! && sizes[1]! > sizes[2]!, sizes.join(' > '))
    })

    t.test('the content size is written, so that readers know what to expect', async t => {
      const payload = compressZstd(Buffer.alloc(70000), 3, engine)
      t.not(payload[4]! >>> 6, 0)
    })

    t.test('frames may follow each other, skippable ones between them, as in Kafka', async t => {
      reads(t, X, 'x')
      reads(t, Buffer.concat([X, X, X]), 'xxx')
      reads(t, Buffer.concat([SKIPPABLE, X, SKIPPABLE, SKIPPABLE, X, SKIPPABLE]), 'xx')
      reads(t, SKIPPABLE, '')
      const bytes = lines(200_000)
      const large = compressZstd(bytes, 3, engine)
      reads(t, Buffer.concat([large, X, large]), `${bytes}x${bytes}`)
    })

    t.test('thousands of tiny frames cost no more than one large', async t => {
      const empty = Buffer.from([...FRAME, 0x20, 0, ...block(0, 0, true)])
      const payload = Buffer.concat(Array.from({ length: 20_000 }, (_, index) => (index % 2 === 0 ? X : empty)))
      for (const [way, run] of ways) {
        const begin = performance.now()
        t.equal(run(payload).length, 10_000, way)
        t.ok(performance.now() - begin < 50 + payload.length / 100, way)
      }
    })

    t.test('the sum over all frames is bounded', async t => {
      const payload = Buffer.concat([X, X, X])
      for (const [way, run] of ways) {
        t.equal(run(payload, 3).length, 3, way)
        t.throws(() => run(payload, 2), { code: 'DECOMPRESSION_LIMIT', details: { codec: 'zstd', limit: 2 } }, way)
      }
    })

    t.test('frames are held to their content size', async t => {
      const frame = (size: number) => Buffer.from([...FRAME, 0x20, size, ...block(2, 0, true), 0x78, 0x79])
      reads(t, frame(2), 'xy')
      refused(t, frame(1), /zstd/)
      refused(t, frame(3), /claims more output than its blocks can give/)
    })

    t.test('edges of a frame', async t => {
      refused(t, Buffer.from('not zstd'), /does not begin with the magic/)
      refused(t, Buffer.concat([X, Buffer.from('garbage')]), /garbage follows/)
      refused(t, Buffer.concat([X, Buffer.from([0x28])]), /cut off inside a magic/)
      refused(t, Buffer.concat([X, SKIPPABLE.subarray(0, 9)]), /cut off inside a skippable/)
      refused(t, Buffer.concat([X, SKIPPABLE.subarray(0, 5)]), /cut off inside a skippable/)
      refused(t, Buffer.from([...FRAME, 0x08, 0, ...block(0, 0, true)]), /reserved bits/)
      refused(t, Buffer.from([...FRAME, 0, 0, ...block(0, 3, true)]), /reserved type/)
      refused(t, Buffer.from([...FRAME, 0, 0, ...block(0, 0, false)]), /before the last block/)
      refused(t, Buffer.from([...FRAME, 0, 0, ...block(131073, 1, true), 0]), /above 128 KiB/)
      refused(t, Buffer.from([...FRAME, 1, 0, 7, ...block(0, 0, true)]), /needs a dictionary/)
      refused(t, Buffer.from([...FRAME, 4, 0, ...block(0, 0, true), 1, 2]), /cut off inside the checksum/)
      refused(t, Buffer.from([...FRAME, 4, 0, ...block(0, 0, true), 1, 2, 3, 4]), /zstd/)
      reads(t, Buffer.from([...FRAME, 1, 0, 0, ...block(0, 0, true)]), '')
    })

    t.test('a window of 128 MiB is taken, a larger one is not, as in Kafka', async t => {
      reads(t, Buffer.from([...FRAME, 0, 0x88, ...block(1, 0, true), 0x78]), 'x')
      refused(t, Buffer.from([...FRAME, 0, 0x89, ...block(1, 0, true), 0x78]), /134217728/, 'DECOMPRESSION_LIMIT')
      refused(t, Buffer.from([...FRAME, 0, 0xff, ...block(1, 0, true), 0x78]), /134217728/, 'DECOMPRESSION_LIMIT')
    })

    t.test('damage inside a block is refused', async t => {
      const payload = compressZstd(lines(3000), 3, engine)
      payload.fill(0xff, 12, 40)
      refused(t, payload, /zstd/)
      // The engine goes on working.
      t.ok(decompressZstd(compressZstd(lines(3000), 3, engine), LIMIT, engine).equals(lines(3000)))
    })
  })
}
