import type { CompressionName } from '../../../lib/record/batch-format.ts'
import { decompress, decompressStream } from '../../../lib/record/compression/index.ts'

export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly CompressionName[]
export const COMPRESSING = ['gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly CompressionName[]

/** A sequence that looks random and is the same in every run. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return Math.floor(((state >>> 8) / 2 ** 24) * below)
  }
}

/** `bytes` bytes of lines as applications log them: they compress about 4:1. */
export function lines(bytes: number, seed = 1): Buffer {
  const random = randomFrom(seed)
  const parts: string[] = []
  for (let size = 0; size < bytes; ) {
    const line = `{"id":${random(1e6)},"user":"user-${random(1000)}","action":"${random(2) === 0 ? 'create' : 'update'}"}\n`
    parts.push(line)
    size += line.length
  }
  return Buffer.from(parts.join('')).subarray(0, bytes)
}

/** `bytes` bytes that do not compress. */
export function noise(bytes: number, seed = 1): Buffer {
  const random = randomFrom(seed)
  return Buffer.from(Array.from({ length: bytes }, () => random(256)))
}

/** Sizes on both sides of every block size and of every switch between two paths. */
export const SIZES = [
  0, 1, 3, 4, 5, 11, 12, 13, 17, 60, 61, 256, 2047, 2048, 32767, 32768, 32769, 65535, 65536, 65537, 131073, 300000
]

export const LIMITS = { maxBytes: 16 * 1024 * 1024 }

/** The output of `decompressStream` in one piece. */
export function streamed(name: CompressionName, payload: Buffer, limits = LIMITS): Buffer {
  return Buffer.concat([...decompressStream(name, payload, limits)])
}

/** The same from pieces that are lent. */
function streamedReusing(name: CompressionName, payload: Buffer, limits = LIMITS): Buffer {
  const copies: Buffer[] = []
  for (const piece of decompressStream(name, payload, limits, { reuse: true })) copies.push(Buffer.from(piece))
  return Buffer.concat(copies)
}

/** All ways to decompress, each by a name for messages. */
export const WAYS: readonly (readonly [string, typeof streamed])[] = [
  ['decompress', (name, payload, limits = LIMITS) => decompress(name, payload, limits)],
  ['decompressStream', streamed],
  ['decompressStream, reusing', streamedReusing]
]
