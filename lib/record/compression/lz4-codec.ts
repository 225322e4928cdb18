import { invalid } from './limits.ts'
import { decodeLz4Block, encodeLz4Block, lz4BlockBound } from './lz4-block.ts'
import { loadOptional } from './optional-package.ts'

/** How the blocks of an LZ4 frame are coded: by the native package, or by our own JavaScript where it is missing. */
export interface Lz4BlockCodec {
  readonly kind: 'native' | 'js'
  /** Encodes `input[from, to)`, at most 64 KiB, at `output[start]`, where `lz4BlockBound` is free; answers the end. */
  encode(input: Buffer, from: number, to: number, output: Buffer, start: number): number
  /**
   * Decodes the block `input[from, to)`, measured to give `end - start` bytes, into `output[start, end)`.
   * @throws {LogError} INVALID_RECORD
   */
  decode(input: Buffer, from: number, to: number, output: Buffer, start: number, end: number): void
}

interface Lz4Package {
  /** u32 LE size, block. */
  compressSync(data: Buffer): Buffer
  uncompressSync(data: Buffer): Buffer
}

const SIZE_PREFIX_BYTES = 4

/** Blocks smaller than this, decoded, are done before a native call has begun. */
const NATIVE_WORTH_BYTES = 2048

const jsCodec: Lz4BlockCodec = {
  kind: 'js',
  encode: encodeLz4Block,
  decode(input, from, to, output, start, end) {
    if (decodeLz4Block(input, from, to, output, start, end) !== end) throw invalid('lz4', 'a block gives too little')
  }
}

function nativeCodec(lz4: Lz4Package): Lz4BlockCodec {
  let scratch = Buffer.alloc(0)
  return {
    kind: 'native',
    encode(input, from, to, output, start) {
      if (to - from < NATIVE_WORTH_BYTES) return encodeLz4Block(input, from, to, output, start)
      const block = lz4.compressSync(input.subarray(from, to))
      return start + block.copy(output, start, SIZE_PREFIX_BYTES)
    },
    decode(input, from, to, output, start, end) {
      if (end - start < NATIVE_WORTH_BYTES) return jsCodec.decode(input, from, to, output, start, end)
      const bytes = SIZE_PREFIX_BYTES + to - from
      let prefixed = scratch
      if (bytes > prefixed.length) {
        prefixed = Buffer.allocUnsafeSlow(bytes)
        if (bytes <= SCRATCH_BYTES) scratch = prefixed
      }
      prefixed.writeUInt32LE(end - start, 0)
      input.copy(prefixed, SIZE_PREFIX_BYTES, from, to)
      const block = uncompressed(lz4, prefixed.subarray(0, bytes))
      if (block.length !== end - start) throw invalid('lz4', 'a block gives too little')
      block.copy(output, start)
    }
  }
}

/** A scratch buffer up to this size is kept from call to call. */
const SCRATCH_BYTES = lz4BlockBound(64 * 1024) + SIZE_PREFIX_BYTES

function uncompressed(lz4: Lz4Package, prefixed: Buffer): Buffer {
  try {
    return lz4.uncompressSync(prefixed)
  } catch (error) {
    throw invalid('lz4', (error as Error).message, error)
  }
}

let chosen: Lz4BlockCodec | undefined

/** The codec in use; `kind` asks for a certain one, for tests. The package is loaded on first use. */
export function lz4BlockCodec(kind?: Lz4BlockCodec['kind']): Lz4BlockCodec {
  if (kind === 'js') return jsCodec
  if (chosen === undefined) {
    const lz4 = loadOptional('lz4-napi') as Lz4Package | undefined
    chosen = lz4 === undefined ? jsCodec : nativeCodec(lz4)
  }
  return chosen
}
