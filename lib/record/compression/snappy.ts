import { CHUNK_BYTES, invalid, TRUSTED_CLAIM_BYTES, tooLarge } from './limits.ts'
import { type PieceSource, trimmed } from './pieces.ts'
import {
  assertPlausible,
  decodeSnappyElements,
  encodeSnappyBlock,
  measureSnappyElements,
  type SnappyBlockHead,
  snappyBlockBound,
  snappyBlockHead
} from './snappy-block.ts'

/**
 * snappy payloads: xerial framing as Kafka's Java client writes it, or one bare block as most other clients do.
 *
 *     framed  := header (length: u32 BE, block)*        // each block holds at most 32 KiB as written
 *     header  := 82 'SNAPPY' 00
 *                version:    i32 BE = 1
 *                compatible: i32 BE = 1                 // lowest version that can read it
 *     bare    := block
 *
 * Invariants:
 *   F1  A payload is framed if and only if it begins with the header's first eight bytes: no bare block does, for
 *       82 53 4e says "10,626 bytes, beginning with a copy", and there is nothing yet to copy.
 *   F2  Framed payloads may follow each other: a header where a length is expected begins the next (snappy-java).
 *   F3  A framed payload without blocks is empty. No payload has no bytes.
 */
const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const HEADER = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1])])
const MAGIC_WORD = 0x82534e41
const LOWEST_VERSION = 1
const BLOCK_BYTES = 32 * 1024

/** One block of a payload: where its elements are and how much they give. */
interface Block extends SnappyBlockHead {
  readonly end: number
}

export function compressSnappy(bytes: Buffer): Buffer {
  const blocks = Math.ceil(bytes.length / BLOCK_BYTES)
  const output = Buffer.allocUnsafeSlow(HEADER.length + blocks * (4 + snappyBlockBound(BLOCK_BYTES)))
  HEADER.copy(output)
  let out = HEADER.length
  for (let from = 0; from < bytes.length; from += BLOCK_BYTES) {
    const to = Math.min(from + BLOCK_BYTES, bytes.length)
    const end = encodeSnappyBlock(bytes, from, to, output, out + 4)
    output.writeUInt32BE(end - out - 4, out)
    out = end
  }
  return trimmed(output.subarray(0, out))
}

/** @throws {LogError} DECOMPRESSION_LIMIT, INVALID_RECORD */
export function decompressSnappy(bytes: Buffer, limit: number): Buffer {
  const size = claimedBytes(bytes, limit)
  if (size > TRUSTED_CLAIM_BYTES) for (const block of blocksOf(bytes, limit)) assertHonest(bytes, block)
  const output = Buffer.allocUnsafeSlow(size)
  let out = 0
  for (const { elements, end, outputBytes } of blocksOf(bytes, limit)) {
    decodeSnappyElements(bytes, elements, end, output, out, out + outputBytes)
    out += outputBytes
  }
  return output
}

/** One piece a block; a bare payload is one block, and therefore one piece, whatever its size. */
export function* decompressSnappyStream(bytes: Buffer, limit: number, source: PieceSource): Generator<Buffer, void> {
  // Before the first piece, so that a payload with several faults is refused for the same one either way.
  claimedBytes(bytes, limit)
  for (const block of blocksOf(bytes, limit)) {
    const { elements, end, outputBytes } = block
    if (outputBytes > CHUNK_BYTES) assertHonest(bytes, block)
    const piece = source(outputBytes)
    decodeSnappyElements(bytes, elements, end, piece, 0, outputBytes)
    if (outputBytes > 0) yield piece
  }
}

/** What all blocks say that they give. */
function claimedBytes(bytes: Buffer, limit: number): number {
  let size = 0
  for (const { outputBytes } of blocksOf(bytes, limit)) {
    size += outputBytes
    if (size > limit) throw tooLarge('snappy', limit)
  }
  return size
}

function assertHonest(bytes: Buffer, { elements, end, outputBytes }: Block): void {
  const measured = measureSnappyElements(bytes, elements, end)
  if (measured !== outputBytes) throw invalid('snappy', `a block claims ${outputBytes} bytes and gives ${measured}`)
}

/** The blocks of a payload in order, each with a plausible claim within `limit`. */
function* blocksOf(bytes: Buffer, limit: number): Generator<Block, void> {
  if (bytes.length === 0) throw invalid('snappy', 'no bytes')
  if (!isHeader(bytes, 0)) {
    yield blockIn(bytes, 0, bytes.length, limit)
    return
  }
  for (let at = 0; at < bytes.length; ) {
    if (at === 0 || isHeader(bytes, at)) {
      assertHeader(bytes, at)
      at += HEADER.length
      continue
    }
    if (bytes.length - at < 4) throw invalid('snappy', 'cut off inside the length of a block')
    const length = bytes.readUInt32BE(at)
    const from = at + 4
    if (length > bytes.length - from) throw invalid('snappy', 'a block is cut off')
    yield blockIn(bytes, from, from + length, limit)
    at = from + length
  }
}

function blockIn(bytes: Buffer, from: number, end: number, limit: number): Block {
  const head = snappyBlockHead(bytes, from, end)
  if (head.outputBytes > limit) throw tooLarge('snappy', limit)
  assertPlausible(head, end)
  return { elements: head.elements, outputBytes: head.outputBytes, end }
}

function isHeader(bytes: Buffer, at: number): boolean {
  if (bytes.length - at < MAGIC.length || bytes.readUInt32BE(at) !== MAGIC_WORD) return false
  return bytes.compare(MAGIC, 0, MAGIC.length, at, at + MAGIC.length) === 0
}

function assertHeader(bytes: Buffer, at: number): void {
  if (bytes.length - at < HEADER.length) throw invalid('snappy', 'cut off inside the header')
  const version = bytes.readInt32BE(at + MAGIC.length)
  if (version < LOWEST_VERSION) throw invalid('snappy', `framing of version ${version} is unknown`)
}
