import Module, { syncBuiltinESMExports } from 'node:module'
import zlib from 'node:zlib'
import t from 'tap'
import { compress, decompress, decompressStream } from '../../../lib/record/compression/index.ts'
import { lz4BlockCodec } from '../../../lib/record/compression/lz4-codec.ts'
import { openPump } from '../../../lib/record/compression/zlib-pump.ts'
import { zstdEngine } from '../../../lib/record/compression/zstd.ts'
import { COMPRESSING, LIMITS, lines, noise, SIZES, streamed } from './samples.ts'

/*
 * This file runs as a process of its own, in which packages are missing from the beginning, as on a platform for which
 * a package has no binary.
 */
interface Resolver {
  _resolveFilename(request: string, ...rest: unknown[]): string
}

const resolver = Module as unknown as Resolver
const missing = new Set(['lz4-napi', '@bokuweb/zstd-wasm'])
const resolve = resolver._resolveFilename
resolver._resolveFilename = function (this: unknown, request, ...rest) {
  if (!missing.has(request)) return resolve.call(this, request, ...rest)
  throw Object.assign(new Error(`Cannot find module '${request}'`), { code: 'MODULE_NOT_FOUND' })
}

/** Replaces functions of node:zlib, for importers by name, too, while `run` runs. */
function withZlib(changes: Record<string, unknown>, run: () => void): void {
  const before = Object.getOwnPropertyDescriptors(zlib) as Record<string, PropertyDescriptor>
  for (const [key, value] of Object.entries(changes)) {
    Object.defineProperty(zlib, key, { value, configurable: true, enumerable: true })
  }
  syncBuiltinESMExports()
  try {
    run()
  } finally {
    for (const key of Object.keys(changes)) {
      const descriptor = before[key]
      if (descriptor === undefined) Reflect.deleteProperty(zlib, key)
      else Object.defineProperty(zlib, key, descriptor)
    }
    syncBuiltinESMExports()
  }
}

t.test('zstd without an engine says what to install', async t => {
  withZlib({ zstdCompressSync: undefined, zstdDecompressSync: undefined }, () => {
    t.equal(zstdEngine().kind, 'wasm')
    const error = {
      code: 'UNSUPPORTED_COMPRESSION_TYPE',
      message: /npm install @bokuweb\/zstd-wasm/,
      details: { codec: 'zstd' }
    }
    t.throws(() => compress('zstd', lines(100)), error)
    // A sound frame: the content size 1, one stored byte.
    const payload = Buffer.from('28b52ffd200109000078', 'hex')
    t.throws(() => decompress('zstd', payload, LIMITS), error)
    t.throws(() => streamed('zstd', payload), error)
    missing.delete('@bokuweb/zstd-wasm')
    t.equal(decompress('zstd', payload, LIMITS).toString(), 'x', 'and works once it is there')
  })
})

t.test('lz4 without its native package works in JavaScript', async t => {
  t.equal(lz4BlockCodec().kind, 'js')
  for (const size of SIZES) {
    for (const bytes of [lines(size), noise(size), Buffer.alloc(size)]) {
      if (!decompress('lz4', compress('lz4', bytes), LIMITS).equals(bytes)) t.fail(`${size} bytes`)
    }
  }
})

t.test('where node:zlib cannot be driven in pieces, whole payloads are decompressed and cut', async t => {
  let closed = 0
  const opaque = (): object => ({ close: () => (closed += 1) })
  t.equal(openPump(opaque() as zlib.Gunzip, Buffer.alloc(0), 0), undefined)
  t.equal(closed, 1)
  // Only what exists is replaced: with a zstd of its own Node must not seem to have one.
  const engines = 'createZstdDecompress' in zlib ? ['createGunzip', 'createZstdDecompress'] : ['createGunzip']
  withZlib(Object.fromEntries(engines.map(name => [name, opaque])), () => {
    for (const name of COMPRESSING) {
      for (const bytes of [Buffer.alloc(0), lines(300_000), Buffer.alloc(9_000_000)]) {
        const payload = compress(name, bytes)
        t.ok(decompress(name, payload, LIMITS).equals(bytes))
        t.ok(streamed(name, payload).equals(bytes))
        if (bytes.length === 0) continue
        const tight = { maxBytes: bytes.length - 1 }
        t.throws(() => decompress(name, payload, tight), { code: 'DECOMPRESSION_LIMIT' })
        t.throws(() => [...decompressStream(name, payload, tight)], { code: 'DECOMPRESSION_LIMIT' })
      }
    }
    const lying = compress('gzip', Buffer.alloc(9_000_000))
    lying.writeUInt32LE(1, lying.length - 4)
    t.throws(() => decompress('gzip', lying, LIMITS), { code: 'INVALID_RECORD' })
    t.throws(() => decompress('gzip', lying, { maxBytes: 8_000_000 }), { code: 'DECOMPRESSION_LIMIT' })
    const several = ['gzip', 'zstd'] as const
    for (const name of several) {
      const payload = Buffer.concat([compress(name, lines(500)), compress(name, lines(70))])
      t.ok(decompress(name, payload, LIMITS).equals(Buffer.concat([lines(500), lines(70)])), `two ${name} streams`)
    }
  })
})
