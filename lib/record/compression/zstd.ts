import * as zlib from 'node:zlib'
import { LogError } from '../../util/errors.ts'
import { invalid, TRUSTED_CLAIM_BYTES, tooLarge } from './limits.ts'
import { drainPump, measurePump, type PieceSource, pumpPieces, slices, trimmed } from './pieces.ts'
import { openPump, type Pump } from './zlib-pump.ts'
import { type ZstdOutline, zstdFrames, zstdOutline } from './zstd-frame.ts'
import { compressZstdWasm, decompressZstdWasm } from './zstd-wasm.ts'

/**
 * zstd payloads: standard frames, one as written, any number as read, skippable ones between them, as zstd-jni reads
 * them. We write the content size, which Kafka's Java client cannot know, and no checksum, as it does.
 */
const DEFAULT_LEVEL = 3

/** What one implementation of zstd can do. */
export interface ZstdEngine {
  readonly kind: 'node' | 'wasm'
  compress(bytes: Buffer, level: number): Buffer
  /** The output of a payload whose outline is sound, at most `limit` bytes. */
  decompress(bytes: Buffer, outline: ZstdOutline, limit: number): Buffer
  /** The same in pieces; answers their size together. */
  stream(bytes: Buffer, outline: ZstdOutline, limit: number, source: PieceSource): Generator<Buffer, number>
}

const wasmEngine: ZstdEngine = {
  kind: 'wasm',
  compress: compressZstdWasm,
  decompress: decompressZstdWasm,
  *stream(bytes, outline, limit) {
    // This build of zstd decodes whole payloads only.
    const output = decompressZstdWasm(bytes, outline, limit)
    yield* slices(output)
    return output.length
  }
}

const nodeEngine: ZstdEngine = {
  kind: 'node',
  compress(bytes, level) {
    const chunkSize = Math.max(16 * 1024, Math.min(bytes.length >>> 1, 1024 * 1024))
    const params = { [zlib.constants.ZSTD_c_compressionLevel]: level }
    return trimmed(zlib.zstdCompressSync(bytes, { chunkSize, params }))
  },
  decompress(bytes, { mostBytes, frames }, limit) {
    if (frames === 1 && mostBytes <= TRUSTED_CLAIM_BYTES) return inflate(bytes, mostBytes, limit)
    const size = withPump(bytes, pump => measurePump('zstd', pump, limit))
    if (size === undefined) return inflateEach(bytes, limit)
    const output = Buffer.allocUnsafeSlow(size)
    if (!withPump(bytes, pump => drainPump(pump, output, 0, size))) throw invalid('zstd', 'changed while it was read')
    return output
  },
  *stream(bytes, outline, limit, source) {
    const pump = open(bytes)
    if (pump === undefined) {
      const output = nodeEngine.decompress(bytes, outline, limit)
      yield* slices(output)
      return output.length
    }
    try {
      return yield* pumpPieces('zstd', pump, limit, source)
    } catch (error) {
      throw translated(error)
    } finally {
      pump.close()
    }
  }
}

/** The documented call, which takes one frame and no more. */
function inflate(frame: Buffer, claim: number, limit: number): Buffer {
  // A little more than the claim: node:zlib takes a further buffer as soon as one is full.
  const chunkSize = Math.min(claim + 64, 1024 * 1024)
  try {
    const output = zlib.zstdDecompressSync(frame, { maxOutputLength: Math.max(1, limit), chunkSize })
    if (output.length > limit) throw tooLarge('zstd', limit)
    return trimmed(output)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge('zstd', limit)
    throw translated(error)
  }
}

function inflateEach(bytes: Buffer, limit: number): Buffer {
  const outputs: Buffer[] = []
  let left = limit
  for (const { start, end, mostBytes } of zstdFrames(bytes, limit)) {
    const output = inflate(bytes.subarray(start, end), mostBytes, left)
    left -= output.length
    outputs.push(output)
  }
  return Buffer.concat(outputs)
}

function open(bytes: Buffer): Pump | undefined {
  return openPump(zlib.createZstdDecompress(), bytes, zlib.constants.ZSTD_e_end)
}

function withPump<T>(bytes: Buffer, use: (pump: Pump) => T): T | undefined {
  const pump = open(bytes)
  if (pump === undefined) return undefined
  try {
    return use(pump)
  } catch (error) {
    throw translated(error)
  } finally {
    pump.close()
  }
}

function translated(error: unknown): unknown {
  return error instanceof LogError ? error : invalid('zstd', (error as Error).message, error)
}

/** The engine in use; `kind` asks for a certain one, for tests, and is undefined where that is missing. */
export function zstdEngine(): ZstdEngine
export function zstdEngine(kind: ZstdEngine['kind']): ZstdEngine | undefined
export function zstdEngine(kind?: ZstdEngine['kind']): ZstdEngine | undefined {
  const node = typeof zlib.zstdDecompressSync === 'function' ? nodeEngine : undefined
  if (kind === undefined) return node ?? wasmEngine
  return kind === 'node' ? node : wasmEngine
}

export function compressZstd(bytes: Buffer, level: number | undefined, engine = zstdEngine()): Buffer {
  return engine.compress(bytes, level ?? DEFAULT_LEVEL)
}

/** @throws {LogError} DECOMPRESSION_LIMIT, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE */
export function decompressZstd(bytes: Buffer, limit: number, engine = zstdEngine()): Buffer {
  const outline = zstdOutline(bytes, limit)
  if (outline.frames === 0) return Buffer.alloc(0)
  const output = engine.decompress(bytes, outline, limit)
  assertDeclared(outline, output.length)
  return output
}

export function* decompressZstdStream(
  bytes: Buffer,
  limit: number,
  source: PieceSource,
  engine = zstdEngine()
): Generator<Buffer, void> {
  const outline = zstdOutline(bytes, limit)
  if (outline.frames === 0) return
  assertDeclared(outline, yield* engine.stream(bytes, outline, limit, source))
}

function assertDeclared({ contentBytes }: ZstdOutline, size: number): void {
  if (contentBytes !== undefined && contentBytes !== size) {
    throw invalid('zstd', `the frames say ${contentBytes} bytes and give ${size}`)
  }
}
