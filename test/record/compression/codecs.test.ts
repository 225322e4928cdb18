import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import type { CompressionName } from '../../../lib/record/batch-format.ts'
import {
  assertCompressionLevel,
  compress,
  decompress,
  decompressStream
} from '../../../lib/record/compression/index.ts'
import { fixture } from '../../helpers/paths.ts'
import { FOREIGN_STREAMS } from './foreign-streams.ts'
import { CODECS, COMPRESSING, LIMITS, lines, noise, SIZES, streamed, WAYS } from './samples.ts'

const LEVELS: Readonly<Record<CompressionName, readonly (number | undefined)[]>> = {
  none: [undefined],
  gzip: [undefined, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  snappy: [undefined],
  lz4: [undefined, 1, 9, 17],
  zstd: [undefined, -131072, -7, -1, 0, 1, 3, 9, 15, 19, 22]
}

for (const name of CODECS) {
  t.test(`${name}: what was compressed comes back, at every level and around every block size`, async t => {
    for (const size of SIZES) {
      for (const bytes of [Buffer.alloc(size), lines(size), noise(size)]) {
        for (const level of size > 70000 ? [undefined] : LEVELS[name]) {
          const payload = compress(name, bytes, level)
          if (!decompress(name, payload, LIMITS).equals(bytes)) t.fail(`${size} bytes at level ${level}`)
          if (!streamed(name, payload).equals(bytes)) t.fail(`${size} bytes at level ${level}, streamed`)
        }
      }
    }
  })

  t.test(`${name}: any bytes come back`, async () => {
    const property = fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(200), (start, repeats) => {
      const bytes = Buffer.concat(Array.from({ length: repeats }, () => start))
      const payload = compress(name, bytes)
      return decompress(name, payload, LIMITS).equals(bytes) && streamed(name, payload).equals(bytes)
    })
    fc.assert(property, { numRuns: 60 })
  })
}

for (const name of COMPRESSING) {
  t.test(`${name}: the bound is inclusive`, async t => {
    for (const bytes of [lines(1000), Buffer.alloc(70000), lines(200000)]) {
      const payload = compress(name, bytes)
      for (const [way, run] of WAYS) {
        t.ok(run(name, payload, { maxBytes: bytes.length }).equals(bytes), way)
        const limit = bytes.length - 1
        t.throws(() => run(name, payload, { maxBytes: limit }), {
          code: 'DECOMPRESSION_LIMIT',
          details: { codec: name, limit }
        })
        t.throws(() => run(name, payload, { maxBytes: 0 }), { code: 'DECOMPRESSION_LIMIT' })
      }
    }
    for (const [way, run] of WAYS) t.equal(run(name, compress(name, Buffer.alloc(0)), { maxBytes: 0 }).length, 0, way)
  })

  t.test(`${name}: a ratio bounds only what lies above 16 MiB`, async t => {
    // Sound batches of zeros exceed any small ratio; only large ones are worth refusing.
    const small = compress(name, Buffer.alloc(1024 * 1024))
    t.equal(decompress(name, small, { ...LIMITS, maxRatio: 2 }).length, 1024 * 1024)
    const large = compress(name, Buffer.alloc(17 * 1024 * 1024))
    const limits = { maxBytes: 32 * 1024 * 1024, maxRatio: 2 }
    for (const [way, run] of WAYS) {
      t.throws(
        () => run(name, large, limits),
        { code: 'DECOMPRESSION_LIMIT', details: { limit: LIMITS.maxBytes } },
        way
      )
      t.equal(run(name, large, { maxBytes: limits.maxBytes }).length, 17 * 1024 * 1024, way)
    }
  })

  t.test(`${name}: no bytes are no payload, for even nothing compresses to some`, async t => {
    t.not(compress(name, Buffer.alloc(0)).length, 0)
    for (const [way, run] of WAYS) {
      t.throws(() => run(name, Buffer.alloc(0), LIMITS), { code: 'INVALID_RECORD', details: { codec: name } }, way)
    }
  })

  t.test(`${name}: a payload that is cut off anywhere is refused`, async t => {
    for (const bytes of [Buffer.alloc(0), lines(700), lines(80000)]) {
      const payload = compress(name, bytes)
      for (let size = 0; size < payload.length; size += 1 + Math.floor(payload.length / 400)) {
        for (const [way, run] of WAYS) {
          // xerial framing has no end mark: cut between two blocks, or behind the header, it is a sound, shorter payload.
          if (name === 'snappy' && isBetweenSnappyBlocks(payload, size)) continue
          const error = errorOf(() => run(name, payload.subarray(0, size), LIMITS))
          if (!['INVALID_RECORD', 'DECOMPRESSION_LIMIT'].includes(error)) t.fail(`${way} of ${size} bytes: ${error}`)
        }
      }
    }
  })

  t.test(`${name}: bytes behind the end of the payload are refused`, async t => {
    for (const bytes of [Buffer.alloc(0), lines(700), lines(80000)]) {
      for (const tail of [
        Buffer.from([0]),
        Buffer.from('garbage!'),
        Buffer.alloc(3),
        Buffer.alloc(40),
        Buffer.alloc(9, 255)
      ]) {
        const payload = Buffer.concat([compress(name, bytes), tail])
        for (const [way, run] of WAYS) {
          const error = errorOf(() => run(name, payload, LIMITS))
          if (!['INVALID_RECORD', 'DECOMPRESSION_LIMIT'].includes(error))
            t.fail(`${way} before ${tail.toString('hex')}: ${error}`)
        }
      }
    }
  })

  t.test(`${name}: neither the input is changed nor the output shared`, async t => {
    const bytes = lines(50000)
    const copy = Buffer.from(bytes)
    const payload = compress(name, bytes)
    const payloadCopy = Buffer.from(payload)
    const first = decompress(name, payload, LIMITS)
    const pieces = [...decompressStream(name, payload, LIMITS)]
    decompress(name, compress(name, noise(50000)), LIMITS)
    t.ok(bytes.equals(copy) && payload.equals(payloadCopy) && first.equals(copy) && Buffer.concat(pieces).equals(copy))
    t.ok(
      pieces.every(piece => piece.length > 0),
      'no piece is empty'
    )
  })

  t.test(`${name}: a payload inside a larger buffer is read within its bounds`, async t => {
    const bytes = lines(5000)
    const payload = compress(name, bytes)
    const around = Buffer.concat([Buffer.alloc(77, 255), payload, Buffer.alloc(77, 255)])
    const inside = around.subarray(77, 77 + payload.length)
    for (const [way, run] of WAYS) t.ok(run(name, inside, LIMITS).equals(bytes), way)
  })

  t.test(`${name}: a stream that is given up early leaves nothing behind`, async t => {
    const payload = compress(name, lines(500000))
    for (const piece of decompressStream(name, payload, LIMITS)) {
      t.ok(piece.length > 0)
      break
    }
    t.ok(streamed(name, payload).equals(lines(500000)))
  })
}

t.test('what other programs compressed is read', async t => {
  for (const { origin, codec, payload, bytes, sha256 } of FOREIGN_STREAMS) {
    for (const [way, run] of WAYS) {
      const output = run(codec, payload, LIMITS)
      t.equal(output.length, bytes, `${origin}, ${way}`)
      t.equal(createHash('sha256').update(output).digest('hex'), sha256, `${origin}, ${way}`)
    }
  }
})

for (const version of ['3.9.2', '4.3.1']) {
  t.test(`batches of Kafka ${version} in every codec hold what its consumer saw`, async t => {
    const folder = fixture('golden', `kafka-${version}`)
    const expected = JSON.parse(readFileSync(`${folder}/expect/codecs.json`, 'utf8')) as Expectation
    const log = readFileSync(`${folder}/clean/codecs-0/00000000000000000000.log`)
    const values: string[] = []
    const seen = new Set<string>()
    for (let at = 0; at < log.length; ) {
      const end = at + 12 + log.readInt32BE(at + 8)
      const name = CODECS[log.readInt16BE(at + 21) & 7]!
      const payload = log.subarray(at + 61, end)
      const section = decompress(name, payload, LIMITS)
      t.ok(streamed(name, payload).equals(section))
      t.ok(decompress(name, compress(name, section), LIMITS).equals(section))
      values.push(...valuesOf(section))
      seen.add(name)
      at = end
    }
    t.same([...seen], CODECS)
    t.same(
      values,
      expected.readUncommitted.map(({ value }) => (typeof value === 'string' ? hash(value) : value.sha256))
    )
  })
}

t.test('levels are those of Kafka', async t => {
  for (const name of CODECS) for (const level of LEVELS[name]) assertCompressionLevel(name, level)
  const wrong: readonly (readonly [CompressionName, number])[] = [
    ['gzip', 0],
    ['gzip', 10],
    ['gzip', -2],
    ['gzip', 1.5],
    ['gzip', Number.NaN],
    ['lz4', 0],
    ['lz4', 18],
    ['lz4', -1],
    ['zstd', 23],
    ['zstd', -131073],
    ['none', 1],
    ['snappy', 1]
  ]
  for (const [name, level] of wrong) {
    t.throws(() => assertCompressionLevel(name, level), { code: 'INVALID_CONFIG', details: { codec: name, level } })
    t.throws(() => compress(name, Buffer.alloc(1), level), { code: 'INVALID_CONFIG' })
  }
})

t.test('higher levels compress better where the codec has levels', async t => {
  const bytes = lines(200000)
  t.ok(compress('gzip', bytes, 9).length < compress('gzip', bytes, 1).length)
  t.ok(compress('zstd', bytes, 19).length < compress('zstd', bytes, 1).length)
  t.ok(compress('zstd', bytes, 1).length < compress('zstd', bytes, -131072).length)
})

t.test('an unknown codec is refused by name', async t => {
  const brotli = 'brotli' as CompressionName
  const error = { code: 'UNSUPPORTED_COMPRESSION_TYPE', details: { codec: 'brotli' } }
  t.throws(() => compress(brotli, Buffer.alloc(1)), error)
  t.throws(() => decompress(brotli, Buffer.alloc(1), LIMITS), error)
  t.throws(() => decompressStream(brotli, Buffer.alloc(1), LIMITS), error)
})

t.test('limits that are no numbers are a programming error', async t => {
  for (const limits of [{ maxBytes: Number.NaN }, { maxBytes: -1 }, { maxBytes: 1, maxRatio: 0 }]) {
    t.throws(() => decompress('gzip', compress('gzip', Buffer.alloc(1)), limits), TypeError)
  }
})

t.test('without compression bytes pass through, uncopied', async t => {
  const bytes = lines(100)
  t.equal(compress('none', bytes), bytes)
  t.equal(decompress('none', bytes, LIMITS), bytes)
  t.same([...decompressStream('none', bytes, LIMITS)], [bytes])
  t.same([...decompressStream('none', Buffer.alloc(0), LIMITS)], [])
})

interface Expectation {
  readonly readUncommitted: readonly { readonly value: string | { readonly sha256: string } }[]
}

function hash(hex: string): string {
  return createHash('sha256').update(Buffer.from(hex, 'hex')).digest('hex')
}

/** SHA-256 of each record's value: a reader of its own, so that this test stands on nothing but the codecs. */
function valuesOf(section: Buffer): string[] {
  const values: string[] = []
  let at = 0
  const varint = (): number => {
    let raw = 0
    for (let shift = 0; ; shift += 7) {
      const byte = section[at++]!
      raw += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2
    }
  }
  while (at < section.length) {
    const length = varint()
    const end = at + length
    at += 1
    varint()
    varint()
    const keyBytes = Math.max(0, varint())
    at += keyBytes
    const size = varint()
    values.push(
      createHash('sha256')
        .update(section.subarray(at, at + size))
        .digest('hex')
    )
    at = end
  }
  return values
}

function isBetweenSnappyBlocks(payload: Buffer, size: number): boolean {
  let at = 16
  while (at < size) at += 4 + payload.readUInt32BE(at)
  return at === size
}

function errorOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as { code?: string }).code ?? String((error as Error).stack)
  }
  return 'no error'
}
