import type { CompressionName } from '../batch-format.ts'
import { CHUNK_BYTES, tooLarge } from './limits.ts'
import type { Pump } from './zlib-pump.ts'

/**
 * `bytes`, or a copy when it holds on to a much larger allocation: records decoded from it may live long.
 */
export function trimmed(bytes: Buffer): Buffer {
  return bytes.buffer.byteLength > 2 * bytes.length + CHUNK_BYTES ? Buffer.from(bytes) : bytes
}

/** Size of the whole output of `pump`, which it uses up; keeps nothing of it. Refuses at the first byte past `limit`. */
export function measurePump(codec: CompressionName, pump: Pump, limit: number): number {
  const scratch = Buffer.allocUnsafe(CHUNK_BYTES)
  let size = 0
  for (;;) {
    const count = pump.read(scratch, 0, CHUNK_BYTES)
    if (count === 0) return size
    size += count
    if (size > limit) throw tooLarge(codec, limit)
  }
}

/** The output of `pump`, known to be `size` bytes, at `output[start]`; uses the pump up. Answers whether it was so. */
export function drainPump(pump: Pump, output: Buffer, start: number, size: number): boolean {
  let done = 0
  while (done < size) {
    const count = pump.read(output, start + done, start + size)
    if (count === 0) return false
    done += count
  }
  // Checksums lie behind the last byte: only a further read looks at them.
  return pump.read(Buffer.allocUnsafe(1), 0, 1) === 0
}

/** The output of `pump` in pieces of their own, at most `limit` bytes together. */
export function* pumpPieces(codec: CompressionName, pump: Pump, limit: number): Generator<Buffer, number> {
  let size = 0
  for (;;) {
    const piece = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    const count = pump.read(piece, 0, CHUNK_BYTES)
    if (count === 0) return size
    size += count
    if (size > limit) throw tooLarge(codec, limit)
    yield piece.subarray(0, count)
  }
}

/** Views on `bytes` of at most CHUNK_BYTES each. */
export function* slices(bytes: Buffer): Generator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES)
}
