import { invalid, tooLarge } from './limits.ts'
import { lz4BlockBound, measureLz4Block } from './lz4-block.ts'
import { type Lz4BlockCodec, lz4BlockCodec } from './lz4-codec.ts'
import { type PieceSource, trimmed } from './pieces.ts'
import { XxHash32, xxHash32 } from './xxhash32.ts'

/**
 * lz4 payloads: one LZ4 frame. Little-endian.
 *
 *     frame      := magic: u32 = 0x184D2204
 *                   FLG: u8          // version 01 | independent | block checksum | content size | content checksum | 0 | 0
 *                   BD: u8           // 0 | largest block, 4 to 7: 64 KiB, 256 KiB, 1 MiB, 4 MiB | 0000
 *                   [content size: u64]
 *                   HC: u8           // second byte of xxh32(FLG .. content size)
 *                   block*
 *                   end: u32 = 0
 *                   [content checksum: u32]      // xxh32 of the output
 *     block      := size: u32, top bit set when stored as it is
 *                   bytes
 *                   [checksum: u32]              // xxh32 of the bytes above
 *
 * Written as Kafka writes: FLG 0x60, BD 0x40, blocks stored when encoding does not make them smaller.
 *
 * Read as Kafka reads, and stricter where Kafka ignores what it could check:
 *   Z1  Blocks are independent. Kafka refuses frames whose blocks are linked, so nobody can have sent it one.
 *   Z2  Nothing is reserved, no dictionary.
 *   Z3  Content size and content checksum, which Kafka skips, are verified.
 *   Z4  Nothing follows the frame: Kafka would drop it in silence, a second frame included.
 *   Z5  A block size of 0 ends the frame whatever the top bit says, as in Kafka.
 */
const MAGIC = 0x184d2204
const FLG_VERSION = 0x40
const FLG_INDEPENDENT = 0x20
const FLG_BLOCK_CHECKSUM = 0x10
const FLG_CONTENT_SIZE = 0x08
const FLG_CONTENT_CHECKSUM = 0x04
const FLG_RESERVED = 0x03
const STORED = 0x80000000
const WRITTEN_HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82])
const WRITTEN_BLOCK_BYTES = 64 * 1024

interface Descriptor {
  readonly blockChecksum: boolean
  readonly contentChecksum: boolean
  readonly contentBytes: number | undefined
  readonly largestBlock: number
  /** Where the blocks begin. */
  readonly blocks: number
}

interface Block {
  readonly from: number
  readonly to: number
  readonly stored: boolean
  /** What it gives, by its own lengths. */
  readonly outputBytes: number
}

/** Every level gives what the block codec has: see native-notes/compression.md. */
export function compressLz4(bytes: Buffer, codec: Lz4BlockCodec = lz4BlockCodec()): Buffer {
  const whole = Math.floor(bytes.length / WRITTEN_BLOCK_BYTES)
  const rest = bytes.length % WRITTEN_BLOCK_BYTES
  const bound = whole * (4 + lz4BlockBound(WRITTEN_BLOCK_BYTES)) + 4 + lz4BlockBound(rest)
  const output = Buffer.allocUnsafeSlow(WRITTEN_HEADER.length + bound + 4)
  WRITTEN_HEADER.copy(output)
  let out = WRITTEN_HEADER.length
  for (let from = 0; from < bytes.length; from += WRITTEN_BLOCK_BYTES) {
    const to = Math.min(from + WRITTEN_BLOCK_BYTES, bytes.length)
    const size = codec.encode(bytes, from, to, output, out + 4) - out - 4
    if (size < to - from) {
      output.writeUInt32LE(size, out)
      out += 4 + size
    } else {
      output.writeUInt32LE(STORED + to - from, out)
      bytes.copy(output, out + 4, from, to)
      out += 4 + to - from
    }
  }
  output.writeUInt32LE(0, out)
  return trimmed(output.subarray(0, out + 4))
}

/** @throws {LogError} DECOMPRESSION_LIMIT, INVALID_RECORD */
export function decompressLz4(bytes: Buffer, limit: number, codec: Lz4BlockCodec = lz4BlockCodec()): Buffer {
  const descriptor = parseDescriptor(bytes, limit)
  let size = 0
  for (const block of blocksOf(bytes, descriptor)) {
    size += block.outputBytes
    if (size > limit) throw tooLarge('lz4', limit)
  }
  assertContentSize(descriptor, size)
  const output = Buffer.allocUnsafeSlow(size)
  let out = 0
  for (const block of blocksOf(bytes, descriptor)) {
    decodeBlock(codec, bytes, block, output, out)
    out += block.outputBytes
  }
  if (descriptor.contentChecksum) assertContentChecksum(bytes, xxHash32(output, 0, size))
  return output
}

/**
 * One piece a block, of our own decoder: the native one leaves a buffer behind for each block, which the collector is
 * in no hurry to find. The checksum of the whole content, if there is one, is verified after the last.
 */
export function* decompressLz4Stream(bytes: Buffer, limit: number, source: PieceSource): Generator<Buffer, void> {
  const codec = lz4BlockCodec('js')
  const descriptor = parseDescriptor(bytes, limit)
  const hash = descriptor.contentChecksum ? new XxHash32() : undefined
  let size = 0
  for (const block of blocksOf(bytes, descriptor)) {
    size += block.outputBytes
    if (size > limit) throw tooLarge('lz4', limit)
    const piece = source(block.outputBytes)
    decodeBlock(codec, bytes, block, piece, 0)
    hash?.update(piece, 0, piece.length)
    if (piece.length > 0) yield piece
  }
  assertContentSize(descriptor, size)
  if (hash !== undefined) assertContentChecksum(bytes, hash.digest())
}

function parseDescriptor(bytes: Buffer, limit: number): Descriptor {
  if (bytes.length < WRITTEN_HEADER.length) throw invalid('lz4', 'shorter than a frame header')
  if (bytes.readUInt32LE(0) !== MAGIC) throw invalid('lz4', 'does not begin with the magic number of a frame')
  const flags = bytes[4]!
  const sizes = bytes[5]!
  if ((flags & 0xc0) !== FLG_VERSION) throw invalid('lz4', `frame version ${flags >>> 6} is unknown`)
  if ((flags & FLG_RESERVED) !== 0) throw invalid('lz4', 'reserved bits or a dictionary in FLG')
  if ((flags & FLG_INDEPENDENT) === 0) throw invalid('lz4', 'its blocks are linked')
  if ((sizes & 0x8f) !== 0) throw invalid('lz4', 'reserved bits in BD')
  if (sizes < 0x40) throw invalid('lz4', `block size ${sizes >>> 4} is unknown`)
  const sized = (flags & FLG_CONTENT_SIZE) !== 0
  const checksumAt = sized ? 14 : 6
  if (checksumAt >= bytes.length) throw invalid('lz4', 'cut off inside the frame header')
  const checksum = (xxHash32(bytes, 4, checksumAt) >>> 8) & 0xff
  if (bytes[checksumAt] !== checksum) throw invalid('lz4', 'the frame header does not match its checksum')
  // Above 2^53 the number is not exact, but then it is above every limit, too.
  const contentBytes = sized ? bytes.readUInt32LE(6) + bytes.readUInt32LE(10) * 2 ** 32 : undefined
  if (contentBytes !== undefined && contentBytes > limit) throw tooLarge('lz4', limit)
  return {
    blockChecksum: (flags & FLG_BLOCK_CHECKSUM) !== 0,
    contentChecksum: (flags & FLG_CONTENT_CHECKSUM) !== 0,
    contentBytes,
    largestBlock: 1 << (8 + 2 * (sizes >>> 4)),
    blocks: checksumAt + 1
  }
}

/** The blocks in order, their own checksums verified; at the end of them the end of the frame, too. */
function* blocksOf(bytes: Buffer, descriptor: Descriptor): Generator<Block, void> {
  const { largestBlock } = descriptor
  let at = descriptor.blocks
  for (;;) {
    if (bytes.length - at < 4) throw invalid('lz4', 'cut off before the end mark')
    const word = bytes.readUInt32LE(at)
    const size = word & 0x7fffffff
    const stored = word >= STORED
    at += 4
    if (size === 0) break // Z5
    if (size > largestBlock) throw invalid('lz4', `a block of ${size} bytes, above the frame's ${largestBlock}`)
    const to = at + size
    if (to + (descriptor.blockChecksum ? 4 : 0) > bytes.length) throw invalid('lz4', 'a block is cut off')
    if (descriptor.blockChecksum && bytes.readUInt32LE(to) !== xxHash32(bytes, at, to)) {
      throw invalid('lz4', 'a block does not match its checksum')
    }
    const outputBytes = stored ? size : measureLz4Block(bytes, at, to)
    if (outputBytes > largestBlock) throw invalid('lz4', `a block gives more than the frame's ${largestBlock} bytes`)
    yield { from: at, to, stored, outputBytes }
    at = to + (descriptor.blockChecksum ? 4 : 0)
  }
  const end = at + (descriptor.contentChecksum ? 4 : 0)
  if (end > bytes.length) throw invalid('lz4', 'cut off inside the content checksum')
  if (end < bytes.length) throw invalid('lz4', `${bytes.length - end} bytes follow the frame`)
}

function decodeBlock(codec: Lz4BlockCodec, bytes: Buffer, block: Block, output: Buffer, start: number): void {
  const { from, to, stored, outputBytes } = block
  if (stored) bytes.copy(output, start, from, to)
  else codec.decode(bytes, from, to, output, start, start + outputBytes)
}

function assertContentSize({ contentBytes }: Descriptor, size: number): void {
  if (contentBytes !== undefined && contentBytes !== size) {
    throw invalid('lz4', `the frame says ${contentBytes} bytes and gives ${size}`)
  }
}

/** The content checksum is the last thing in the payload (Z4). */
function assertContentChecksum(bytes: Buffer, hash: number): void {
  if (bytes.readUInt32LE(bytes.length - 4) !== hash) throw invalid('lz4', 'the content does not match its checksum')
}
