import { invalid, tooLarge } from './limits.ts'

/**
 * The outside of zstd frames: where each ends and what it may give at most, without decoding anything. What is inside
 * the blocks is a library's business; this is ours because libraries differ in what they do at the edges (node:zlib
 * before 24 takes a cut frame for a complete one, before 26 it drops every frame but the first).
 *
 *     payload    := (frame | skippable)*
 *     frame      := magic: u32 LE = 0xFD2FB528
 *                   descriptor: u8    // content size field 2 bits | single segment | 0 | reserved | checksum | dictionary 2 bits
 *                   [window: u8]      // exponent 5 bits | mantissa 3 bits; absent when single segment
 *                   [dictionary id: 1, 2 or 4 bytes LE]
 *                   [content size: 1, 2, 4 or 8 bytes LE]
 *                   block+
 *                   [checksum: u32 LE]
 *     block      := u24 LE            // size 21 bits | type 2 bits: stored, one byte repeated, compressed | last
 *                   bytes
 *     skippable  := magic: u32 LE = 0x184D2A50 to 5F, size: u32 LE, bytes
 *
 * @see RFC 8878
 */
const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
const BLOCK_BYTES = 128 * 1024

/** As zstd's streaming decoder, and so Kafka, refuses by default: 2^27 bytes. */
export const MAX_ZSTD_WINDOW_BYTES = 128 * 1024 * 1024

const REPEATED = 1
const COMPRESSED = 2
const RESERVED = 3

/** A frame that gives output. Skippable ones are left out. */
export interface ZstdFrame {
  readonly start: number
  readonly end: number
  /** Exact, as declared and not above `mostBytes`. Absent in what Kafka's Java client writes. */
  readonly contentBytes: number | undefined
  /** What the blocks can give at most: 128 KiB for each compressed one. */
  readonly mostBytes: number
  /** What they give at least, if they are sound: nothing for a compressed one. */
  readonly leastBytes: number
}

/** What the outsides of all frames of a payload say together. */
export interface ZstdOutline {
  /** Exact, if every frame declares it. */
  readonly contentBytes: number | undefined
  readonly mostBytes: number
  readonly frames: number
}

/**
 * Walks over a payload.
 *
 * @throws {LogError} INVALID_RECORD if a frame is cut off, is no frame, needs a dictionary or claims more than its
 *   blocks can give; DECOMPRESSION_LIMIT if the declared sizes or a window exceed the bounds.
 */
export function zstdOutline(bytes: Buffer, limit: number): ZstdOutline {
  let declared = 0
  let leastBytes = 0
  let allDeclared = true
  let mostBytes = 0
  let frames = 0
  for (const frame of zstdFrames(bytes, limit)) {
    if (frame.contentBytes === undefined) allDeclared = false
    else declared += frame.contentBytes
    leastBytes += frame.contentBytes ?? frame.leastBytes
    if (leastBytes > limit) throw tooLarge('zstd', limit)
    mostBytes += frame.contentBytes ?? frame.mostBytes
    frames += 1
  }
  return { contentBytes: allDeclared ? declared : undefined, mostBytes, frames }
}

/** The frames of a payload, in order. Throws as `zstdOutline`, when it gets there. */
export function* zstdFrames(bytes: Buffer, limit: number): Generator<ZstdFrame, void> {
  if (bytes.length === 0) throw invalid('zstd', 'no bytes')
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < 4) throw invalid('zstd', 'cut off inside a magic number')
    const magic = bytes.readUInt32LE(at)
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at = skippableEnd(bytes, at)
      continue
    }
    if (magic !== MAGIC) {
      throw invalid('zstd', at === 0 ? 'does not begin with the magic number of a frame' : 'garbage follows a frame')
    }
    const frame = parseFrame(bytes, at, limit)
    yield frame
    at = frame.end
  }
}

function skippableEnd(bytes: Buffer, at: number): number {
  if (bytes.length - at < 8) throw invalid('zstd', 'cut off inside a skippable frame')
  const end = at + 8 + bytes.readUInt32LE(at + 4)
  if (end > bytes.length) throw invalid('zstd', 'cut off inside a skippable frame')
  return end
}

function parseFrame(bytes: Buffer, start: number, limit: number): ZstdFrame {
  const descriptor = byteAt(bytes, start + 4)
  if ((descriptor & 0x08) !== 0) throw invalid('zstd', 'reserved bits in a frame header')
  const single = (descriptor & 0x20) !== 0
  let at = start + 5
  if (!single) {
    const window = windowBytes(byteAt(bytes, at))
    if (window > MAX_ZSTD_WINDOW_BYTES) throw tooLarge('zstd', MAX_ZSTD_WINDOW_BYTES)
    at += 1
  }
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
  for (let index = 0; index < dictionaryBytes; index++) {
    if (byteAt(bytes, at + index) !== 0) throw invalid('zstd', 'it needs a dictionary')
  }
  at += dictionaryBytes
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >>> 6]!
  const contentBytes = contentSize(bytes, at, sizeBytes)
  if (contentBytes !== undefined && contentBytes > limit) throw tooLarge('zstd', limit)
  const { end, mostBytes, leastBytes } = walkBlocks(bytes, at + sizeBytes, (descriptor & 0x04) !== 0)
  if (contentBytes !== undefined && contentBytes > mostBytes) {
    throw invalid('zstd', 'a frame claims more output than its blocks can give')
  }
  return { start, end, contentBytes, mostBytes, leastBytes }
}

function windowBytes(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** Above 2^53 the number is not exact, but then it is above every limit, too. */
function contentSize(bytes: Buffer, at: number, size: number): number | undefined {
  if (at + size > bytes.length) throw invalid('zstd', 'cut off inside a frame header')
  if (size === 0) return undefined
  if (size === 8) return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
  return bytes.readUIntLE(at, size) + (size === 2 ? 256 : 0)
}

function walkBlocks(
  bytes: Buffer,
  at: number,
  checksum: boolean
): { end: number; mostBytes: number; leastBytes: number } {
  let mostBytes = 0
  let leastBytes = 0
  for (let last = false; !last; ) {
    if (bytes.length - at < 3) throw invalid('zstd', 'cut off before the last block')
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    const type = (header >>> 1) & 3
    const size = header >>> 3
    if (type === RESERVED) throw invalid('zstd', 'a block of a reserved type')
    if (size > BLOCK_BYTES) throw invalid('zstd', 'a block above 128 KiB')
    at += 3 + (type === REPEATED ? 1 : size)
    if (at > bytes.length) throw invalid('zstd', 'a block is cut off')
    mostBytes += type === COMPRESSED ? BLOCK_BYTES : size
    leastBytes += type === COMPRESSED ? 0 : size
    last = (header & 1) === 1
  }
  const end = at + (checksum ? 4 : 0)
  if (end > bytes.length) throw invalid('zstd', 'cut off inside the checksum')
  return { end, mostBytes, leastBytes }
}

function byteAt(bytes: Buffer, at: number): number {
  if (at >= bytes.length) throw invalid('zstd', 'cut off inside a frame header')
  return bytes[at]!
}
