import { fork } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { CompressionName } from '../../../lib/record/batch-format.ts'
import { compress, decompress } from '../../../lib/record/compression/index.ts'
import { encodeLz4Block, lz4BlockBound } from '../../../lib/record/compression/lz4-block.ts'
import { xxHash32 } from '../../../lib/record/compression/xxhash32.ts'
import { zstdEngine } from '../../../lib/record/compression/zstd.ts'
import type { PeakReport } from './peak-memory.ts'

const MiB = 1024 * 1024
const LIMIT = 128 * MiB
/** Extra memory on Node < 22.15: the output up to the bound, and the space that grew to it. */
const wholePayload = zstdEngine().kind === 'wasm' ? 2 * LIMIT : 0

/** From `dist/` the compiled program, from the sources the source, with the loader that this process has. */
const program = fileURLToPath(new URL(`./peak-memory${extname(import.meta.url)}`, import.meta.url))

/** Hands payloads to one such program, one after the other. */
function peaksOf(
  way: string,
  name: CompressionName,
  payloads: readonly Buffer[],
  limit = LIMIT
): Promise<PeakReport[]> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [way, name, String(limit)])
    const reports: PeakReport[] = []
    const send = (): void => void child.send(payloads[reports.length]?.toString('base64') ?? 'end')
    child.on('message', report => {
      reports.push(report as PeakReport)
      send()
    })
    child.once('error', reject)
    child.once('exit', code => {
      if (reports.length === payloads.length) resolve(reports)
      else reject(new Error(`exit ${code} after ${reports.length} of ${payloads.length} payloads`))
    })
    send()
  })
}

interface Bomb {
  readonly name: string
  readonly codec: CompressionName
  readonly payload: Buffer
  readonly outcome: string
  /** Only decoding shows it, and WebAssembly's zstd decodes nothing but whole payloads. */
  readonly decodes?: boolean
}

function repeated(part: Buffer, copies: number): Buffer {
  return Buffer.concat(Array.from({ length: copies }, () => part))
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** One member of 160 MiB of zeros, 1029:1, and the same with a size field that says 1,000. */
function gzipBombs(): Bomb[] {
  const honest = gzipSync(Buffer.alloc(160 * MiB), { level: 9 })
  const lying = Buffer.from(honest)
  lying.writeUInt32LE(1000, lying.length - 4)
  const members = repeated(gzipSync(Buffer.alloc(8 * MiB), { level: 9 }), 20)
  const nested = gzipSync(members)
  const claim = gzipSync(Buffer.alloc(100))
  claim.writeUInt32LE(127 * MiB, claim.length - 4)
  const outer = decompress('gzip', nested, { maxBytes: LIMIT })
  return [
    { name: 'zeros', codec: 'gzip', payload: honest, outcome: 'DECOMPRESSION_LIMIT' },
    { name: 'zeros that claim to be few', codec: 'gzip', payload: lying, outcome: 'DECOMPRESSION_LIMIT' },
    { name: 'members of zeros', codec: 'gzip', payload: members, outcome: 'DECOMPRESSION_LIMIT' },
    {
      name: 'members inside a member: the outer one opens',
      codec: 'gzip',
      payload: nested,
      outcome: `${outer.length} bytes`
    },
    {
      name: 'members inside a member: the inner ones do not',
      codec: 'gzip',
      payload: outer,
      outcome: 'DECOMPRESSION_LIMIT'
    },
    { name: 'a false claim below the bound', codec: 'gzip', payload: claim, outcome: 'INVALID_RECORD' }
  ]
}

function snappyBombs(): Bomb[] {
  const header = Buffer.from('82534e41505059000000000100000001', 'hex')
  const claim = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0x61])
  const framed = Buffer.concat([header, Buffer.from([0, 0, 0, claim.length]), claim])
  // Copies of 64 bytes from 1 back: 21 bytes of output a byte. The first reaches before the block: a lie throughout.
  const copies = repeated(Buffer.from([0xfe, 1, 0]), 120 * 1024 * 16)
  const size = Buffer.from([0x80 | 0x00, 0x80 | 0x00, 0x80 | 0x00, 0x3c]) // 60 << 21 = 120 MiB
  return [
    { name: 'a bare block that claims 4 GiB', codec: 'snappy', payload: claim, outcome: 'DECOMPRESSION_LIMIT' },
    { name: 'a framed block that claims 4 GiB', codec: 'snappy', payload: framed, outcome: 'DECOMPRESSION_LIMIT' },
    {
      name: 'a plausible lie of 120 MiB',
      codec: 'snappy',
      payload: Buffer.concat([size, copies]),
      outcome: 'INVALID_RECORD'
    }
  ]
}

function lz4Bombs(): Bomb[] {
  const header = (descriptor: Buffer): Buffer =>
    Buffer.concat([
      u32(0x184d2204),
      descriptor,
      Buffer.from([(xxHash32(descriptor, 0, descriptor.length) >>> 8) & 0xff])
    ])
  const zeros = Buffer.alloc(4 * MiB)
  const encoded = Buffer.alloc(lz4BlockBound(zeros.length))
  const block = encoded.subarray(0, encodeLz4Block(zeros, 0, zeros.length, encoded, 0))
  const honest = Buffer.concat([u32(block.length), block])
  const broken = Buffer.from(honest)
  broken[4 + 2] = 9 // the distance of the only match
  const large = header(Buffer.from([0x60, 0x70]))
  const sized = header(Buffer.concat([Buffer.from([0x68, 0x70]), Buffer.from('0000000000000010', 'hex')]))
  return [
    {
      name: 'blocks of zeros',
      codec: 'lz4',
      payload: Buffer.concat([large, repeated(honest, 33), u32(0)]),
      outcome: 'DECOMPRESSION_LIMIT'
    },
    {
      name: 'broken blocks of zeros',
      codec: 'lz4',
      payload: Buffer.concat([large, repeated(broken, 31), u32(0)]),
      outcome: 'INVALID_RECORD'
    },
    {
      name: 'a content size of 2^60',
      codec: 'lz4',
      payload: Buffer.concat([sized, u32(0)]),
      outcome: 'DECOMPRESSION_LIMIT'
    }
  ]
}

function zstdBombs(): Bomb[] {
  const magic = u32(0xfd2fb528)
  const single = (size: bigint, ...rest: Buffer[]): Buffer => {
    const bytes = Buffer.alloc(9, 0xe0)
    bytes.writeBigUInt64LE(size, 1)
    return Buffer.concat([magic, bytes, ...rest])
  }
  const last = Buffer.from([1, 0, 0])
  // 128 KiB of one byte from four.
  const repeat = Buffer.from([0x02, 0x00, 0x10, 0x00])
  const windowed = Buffer.concat([magic, Buffer.from([0, 0x58]), repeated(repeat, 1100), last])
  // Compressed blocks of nonsense: each might give 128 KiB, until one looks.
  const nonsense = Buffer.from([0x24, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff])
  // Every block has to be decoded to learn that there are too many: a header of 10 bytes, replaced by one without size.
  const pattern = compress('zstd', Buffer.alloc(160 * MiB, 'abcdefg'))
  const unsized = Buffer.concat([magic, Buffer.from([0, pattern[5]!]), pattern.subarray(10)])
  const lie = single(BigInt(100 * MiB), repeated(nonsense, 1000), last)
  return [
    { name: 'a content size of 2^60', codec: 'zstd', payload: single(2n ** 60n, last), outcome: 'DECOMPRESSION_LIMIT' },
    {
      name: 'a content size of 2^64 - 1',
      codec: 'zstd',
      payload: single(2n ** 64n - 1n, last),
      outcome: 'DECOMPRESSION_LIMIT'
    },
    { name: 'blocks that repeat a byte', codec: 'zstd', payload: windowed, outcome: 'DECOMPRESSION_LIMIT' },
    {
      name: 'a content size that the blocks cannot reach',
      codec: 'zstd',
      payload: single(BigInt(100 * MiB), last),
      outcome: 'INVALID_RECORD'
    },
    { name: 'a content size that nonsense might reach', codec: 'zstd', payload: lie, outcome: 'INVALID_RECORD' },
    {
      name: 'zeros',
      codec: 'zstd',
      payload: compress('zstd', Buffer.alloc(160 * MiB)),
      outcome: 'DECOMPRESSION_LIMIT'
    },
    {
      name: 'a pattern without content size',
      codec: 'zstd',
      payload: unsized,
      outcome: 'DECOMPRESSION_LIMIT',
      decodes: true
    }
  ]
}

for (const bombsOf of [gzipBombs, snappyBombs, lz4Bombs, zstdBombs]) {
  const bombs = bombsOf()
  const codec = bombs[0]!.codec
  const payloads = bombs.map(bomb => bomb.payload)

  for (const way of ['decompress', 'decompressStream']) {
    t.test(`${codec}, ${way}: a bomb is refused before it takes memory`, async t => {
      const reports = await peaksOf(way, codec, payloads)
      for (const [index, { name, payload, outcome, decodes = false }] of bombs.entries()) {
        const { outcome: found, peakBytes, milliseconds } = reports[index]!
        t.equal(found, outcome, name)
        const allowed = 8 * payload.length + 16 * MiB + (decodes ? wholePayload : 0)
        t.ok(peakBytes <= allowed, `${name}: ${inMiB(peakBytes)} for ${payload.length} bytes`)
        t.ok(milliseconds < 5000, `${name}: ${milliseconds.toFixed(0)} ms`)
      }
    })
  }
}

t.test('a stream of 100 MiB is read in little memory', async t => {
  for (const codec of ['gzip', 'snappy', 'lz4'] as const) {
    const payload = compress(codec, Buffer.alloc(100 * MiB))
    const [report] = await peaksOf('decompressStream', codec, [payload])
    t.equal(report!.outcome, `${100 * MiB} bytes`)
    t.ok(report!.peakBytes <= 8 * payload.length + 16 * MiB, `${codec}: ${inMiB(report!.peakBytes)}`)
  }
})

function inMiB(bytes: number): string {
  return `${(bytes / MiB).toFixed(1)} MiB`
}
