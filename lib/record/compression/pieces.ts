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

/** Gives the memory for the next piece of a stream, `size` bytes. */
export type PieceSource = (size: number) => Buffer

/** A new piece each time, or always the same memory when `reuse` is set, larger only when it must be. */
export function pieceSource(reuse: boolean): PieceSource {
  if (!reuse) return size => Buffer.allocUnsafeSlow(size)
  let memory = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  return size => {
    if (size > memory.length) memory = Buffer.allocUnsafeSlow(size)
    return memory.subarray(0, size)
  }
}

/** The output of `pump` in pieces of at most CHUNK_BYTES, at most `limit` bytes together; answers how many they were. */
export function* pumpPieces(
  codec: CompressionName,
  pump: Pump,
  limit: number,
  source: PieceSource
): Generator<Buffer, number> {
  let size = 0
  for (;;) {
    const piece = source(CHUNK_BYTES)
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
