import { constants, createGunzip, type Gunzip, gunzipSync, gzipSync } from 'node:zlib'
import { LogError } from '../../util/errors.ts'
import { invalid, TRUSTED_CLAIM_BYTES, tooLarge } from './limits.ts'
import { drainPump, measurePump, type PieceSource, pumpPieces, slices, trimmed } from './pieces.ts'
import { openPump, type Pump } from './zlib-pump.ts'

/**
 * gzip payloads: RFC 1952 members, one as written, any number as read, as Java's GZIPInputStream reads them.
 *
 *     member := 1f 8b 08 flags mtime(4) xfl os [extra] [name] [comment] [header crc]
 *               deflate data
 *               crc32: u32 LE
 *               size:  u32 LE             // of the output, modulo 2^32
 *
 * What follows the last member is an error, even zeros. (GZIPInputStream ignores it; node:zlib ignores zeros.)
 */
const EMPTY_MEMBER_BYTES = 18

export function compressGzip(bytes: Buffer, level: number | undefined): Buffer {
  const chunkSize = Math.max(16 * 1024, Math.min(bytes.length >>> 1, 1024 * 1024))
  return trimmed(gzipSync(bytes, { level: level ?? constants.Z_DEFAULT_COMPRESSION, chunkSize }))
}

/** @throws {LogError} DECOMPRESSION_LIMIT, INVALID_RECORD */
export function decompressGzip(bytes: Buffer, limit: number): Buffer {
  const claim = claimedSize(bytes, limit)
  if (claim <= TRUSTED_CLAIM_BYTES) {
    const output = inflate(bytes, Math.min(limit, TRUSTED_CLAIM_BYTES), claim)
    if (output !== undefined) return output
    if (limit <= TRUSTED_CLAIM_BYTES) throw tooLarge('gzip', limit)
  }
  // Several members, a large one, or a lie.
  const size = withPump(bytes, pump => measurePump('gzip', pump, limit))
  if (size === undefined) {
    const output = inflate(bytes, limit, TRUSTED_CLAIM_BYTES)
    if (output === undefined) throw tooLarge('gzip', limit)
    return output
  }
  const output = Buffer.allocUnsafeSlow(size)
  if (!withPump(bytes, pump => drainPump(pump, output, 0, size))) throw invalid('gzip', 'changed while it was read')
  return output
}

export function* decompressGzipStream(bytes: Buffer, limit: number, source: PieceSource): Generator<Buffer, void> {
  claimedSize(bytes, limit)
  const pump = openPump(createGunzip(), bytes, constants.Z_FINISH)
  if (pump === undefined) {
    yield* slices(decompressGzip(bytes, limit))
    return
  }
  try {
    yield* pumpPieces('gzip', pump, limit, source)
    assertUsedUp(bytes, pump.consumed)
  } catch (error) {
    throw translated(error)
  } finally {
    pump.close()
  }
}

/** What the last member says of its output: the whole output's size when there is but one, and below 4 GiB. */
function claimedSize(bytes: Buffer, limit: number): number {
  if (bytes.length < EMPTY_MEMBER_BYTES) throw invalid('gzip', 'shorter than the shortest member')
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) throw invalid('gzip', 'does not begin with 1f8b')
  const claim = bytes.readUInt32LE(bytes.length - 4)
  if (claim > limit) throw tooLarge('gzip', limit)
  return claim
}

/** The documented call. `undefined` when the output exceeds `limit`. */
function inflate(bytes: Buffer, limit: number, claim: number): Buffer | undefined {
  // A little more than the claim: node:zlib takes a further buffer as soon as one is full.
  const chunkSize = Math.min(claim + 64, 1024 * 1024)
  const options = { maxOutputLength: Math.max(1, limit), chunkSize, info: true }
  try {
    const { buffer, engine } = gunzipSync(bytes, options) as unknown as { buffer: Buffer; engine: Gunzip }
    assertUsedUp(bytes, engine.bytesWritten)
    return buffer.length > limit ? undefined : trimmed(buffer)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw translated(error)
  }
}

function withPump<T>(bytes: Buffer, use: (pump: Pump) => T): T | undefined {
  const pump = openPump(createGunzip(), bytes, constants.Z_FINISH)
  if (pump === undefined) return undefined
  try {
    const result = use(pump)
    assertUsedUp(bytes, pump.consumed)
    return result
  } catch (error) {
    throw translated(error)
  } finally {
    pump.close()
  }
}

function assertUsedUp(bytes: Buffer, consumed: number): void {
  if (consumed !== bytes.length) throw invalid('gzip', `${bytes.length - consumed} bytes follow the last member`)
}

function translated(error: unknown): unknown {
  return error instanceof LogError ? error : invalid('gzip', (error as Error).message, error)
}
