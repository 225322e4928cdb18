import { assert } from '../../util/assert.ts'
import { invalid } from './limits.ts'

/**
 * The raw snappy block format, in plain JavaScript.
 *
 *     block   := length: varint (u32, little groups first)   // of the output
 *                element*
 *     element := tag: u8, whose low two bits say what follows
 *                0  literal: length - 1 in the upper six bits, or in the next 1 to 4 bytes when they say 60 to 63
 *                1  copy, 4 to 11 bytes, 11-bit distance
 *                2  copy, 1 to 64 bytes, 16-bit distance
 *                3  copy, 1 to 64 bytes, 32-bit distance
 *
 * Invariants:
 *   S1  The elements produce exactly `length` bytes and end with the block.
 *   S2  A copy's distance is at least 1 and reaches no further back than the block's own output.
 *   S3  One input byte gives less than 22 of output (a copy of 64 takes 3), so a larger claim is a lie.
 *
 * @see https://github.com/google/snappy/blob/main/format_description.txt
 */
const MAX_EXPANSION = 22

/** Below this a loop copies faster than a call into the runtime. */
const LOOP_COPY_BYTES = 24

/** Where a block's elements begin, and the size of its output. Nothing is allocated. */
export interface SnappyBlockHead {
  readonly elements: number
  readonly outputBytes: number
}

/**
 * Reads the length that begins the block in `input[from, to)`.
 * @throws {LogError} INVALID_RECORD if it is cut off or does not fit in 32 bits.
 */
export function snappyBlockHead(input: Buffer, from: number, to: number): SnappyBlockHead {
  let length = 0
  for (let index = 0; index < 5; index++) {
    const at = from + index
    if (at >= to) throw invalid('snappy', 'cut off inside the length of a block')
    const byte = input[at]!
    if (index === 4 && byte > 0x0f) break
    length += (byte & 0x7f) * 2 ** (7 * index)
    if (byte < 0x80) return { elements: at + 1, outputBytes: length }
  }
  throw invalid('snappy', 'the length of a block does not fit in 32 bits')
}

/**
 * Refuses a claim that the block's bytes cannot keep (S3).
 * @throws {LogError} INVALID_RECORD
 */
export function assertPlausible(head: SnappyBlockHead, to: number): void {
  if (head.outputBytes > (to - head.elements) * MAX_EXPANSION) {
    throw invalid('snappy', 'a block claims more output than its bytes can give')
  }
}

/**
 * Size of what the elements in `input[from, to)` give. Looks at everything that can be wrong with them, and copies
 * nothing: what was measured decodes, so memory taken for it is not taken in vain.
 * @throws {LogError} INVALID_RECORD
 */
export function measureSnappyElements(input: Buffer, from: number, to: number): number {
  let at = from
  let size = 0
  while (at < to) {
    const tag = input[at]!
    const kind = tag & 3
    if (kind === 0) {
      const extra = Math.max((tag >>> 2) - 59, 0)
      const length = extra > 0 ? literalLength(input, at, to, extra) : (tag >>> 2) + 1
      at += 1 + extra + length
      size += length
      continue
    }
    const bytes = kind === 3 ? 5 : kind + 1
    if (bytes > to - at) throw invalid('snappy', 'cut off inside a copy')
    let distance = kind === 1 ? ((tag >>> 5) << 8) | input[at + 1]! : input[at + 1]! | (input[at + 2]! << 8)
    if (kind === 3) distance += input[at + 3]! * 0x10000 + input[at + 4]! * 0x1000000
    if (distance === 0 || distance > size) throw invalid('snappy', 'a copy reaches before the block')
    at += bytes
    size += kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
  }
  if (at !== to) throw invalid('snappy', 'cut off inside a literal')
  return size
}

function literalLength(input: Buffer, at: number, to: number, extra: number): number {
  if (to - at - 1 < extra) throw invalid('snappy', 'cut off inside an element')
  return input.readUIntLE(at + 1, extra) + 1
}

/**
 * Decodes the elements in `input[from, to)` into `output[start, end)`, which they must fill (S1).
 * @throws {LogError} INVALID_RECORD; `output` may then hold some of it.
 */
export function decodeSnappyElements(
  input: Buffer,
  from: number,
  to: number,
  output: Buffer,
  start: number,
  end: number
): void {
  let at = from
  let out = start
  while (at < to) {
    const tag = input[at]!
    const kind = tag & 3
    if (kind === 0) {
      let length = (tag >>> 2) + 1
      at += 1
      if (length > 60) {
        const extra = length - 60
        length = literalLength(input, at - 1, to, extra)
        at += extra
      }
      if (length > to - at) throw invalid('snappy', 'cut off inside a literal')
      if (length > end - out) throw invalid('snappy', 'a block gives more output than its length')
      if (length <= LOOP_COPY_BYTES)
        for (let index = 0; index < length; index++) output[out + index] = input[at + index]!
      else input.copy(output, out, at, at + length)
      at += length
      out += length
      continue
    }
    let length: number
    let distance: number
    if (to - at < (kind === 3 ? 5 : kind + 1)) throw invalid('snappy', 'cut off inside a copy')
    if (kind === 1) {
      length = ((tag >>> 2) & 7) + 4
      distance = ((tag >>> 5) << 8) | input[at + 1]!
      at += 2
    } else {
      length = (tag >>> 2) + 1
      distance = input[at + 1]! | (input[at + 2]! << 8)
      if (kind === 3) distance += input[at + 3]! * 0x10000 + input[at + 4]! * 0x1000000
      at += kind === 3 ? 5 : 3
    }
    if (distance === 0 || distance > out - start) throw invalid('snappy', 'a copy reaches before the block')
    if (length > end - out) throw invalid('snappy', 'a block gives more output than its length')
    copyWithin(output, out, distance, length)
    out += length
  }
  if (out !== end) throw invalid('snappy', 'a block gives less output than its length')
}

/** Copies `length` (1 to 64) bytes from `distance` back; the two may overlap, and then repeat. */
function copyWithin(output: Buffer, out: number, distance: number, length: number): void {
  const from = out - distance
  if (length <= LOOP_COPY_BYTES || distance < length) {
    for (let index = 0; index < length; index++) output[out + index] = output[from + index]!
  } else output.copyWithin(out, from, from + length)
}

/** A block's matches may reach back this far at most with two-byte distances, the only ones written here. */
const MAX_ENCODED_BYTES = 0x10000
const MIN_MATCH = 4
const HASH_BITS = 13
/** Position + 1 of the latest four bytes of each hash, 0 for none. Shared by all calls: nothing here awaits. */
const hashTable = new Int32Array(1 << HASH_BITS)

/** Most bytes that `encodeSnappyBlock` writes for `size` bytes. */
export function snappyBlockBound(size: number): number {
  return 32 + size + Math.ceil(size / 6)
}

/**
 * Encodes `input[from, to)`, at most 64 KiB, as one block at `output[start]`, where `snappyBlockBound` bytes must be
 * free.
 * @returns the end of the block.
 */
export function encodeSnappyBlock(input: Buffer, from: number, to: number, output: Buffer, start: number): number {
  assert(to - from <= MAX_ENCODED_BYTES, 'snappy blocks are written in pieces of at most 64 KiB')
  let out = writeVarint(output, start, to - from)
  let anchor = from // first byte not yet written
  const searchEnd = to - MIN_MATCH
  if (searchEnd >= from) hashTable.fill(0)
  let misses = 0
  for (let at = from; at <= searchEnd; ) {
    const word = read32(input, at)
    const slot = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS)
    const candidate = hashTable[slot]! - 1 + from
    hashTable[slot] = at - from + 1
    if (candidate < from || read32(input, candidate) !== word) {
      at += 1 + (misses++ >>> 5) // give up faster where nothing matches
      continue
    }
    let matchEnd = at + MIN_MATCH
    let follow = candidate + MIN_MATCH
    while (matchEnd < to && input[matchEnd] === input[follow]) {
      matchEnd += 1
      follow += 1
    }
    if (at > anchor) out = writeLiteral(input, anchor, at, output, out)
    out = writeCopies(output, out, at - candidate, matchEnd - at)
    anchor = at = matchEnd
    misses = 0
  }
  return anchor < to ? writeLiteral(input, anchor, to, output, out) : out
}

function writeVarint(output: Buffer, out: number, value: number): number {
  for (; value >= 0x80; value >>>= 7) output[out++] = (value & 0x7f) | 0x80
  output[out++] = value
  return out
}

function writeLiteral(input: Buffer, from: number, to: number, output: Buffer, out: number): number {
  const length = to - from
  const most = length - 1
  if (most < 60) output[out++] = most << 2
  else if (most < 0x100) {
    output[out++] = 60 << 2
    output[out++] = most
  } else {
    output[out++] = 61 << 2
    output[out++] = most & 0xff
    output[out++] = most >>> 8
  }
  if (length <= LOOP_COPY_BYTES) for (let index = 0; index < length; index++) output[out + index] = input[from + index]!
  else input.copy(output, out, from, to)
  return out + length
}

/** Copies of 64 bytes, and a rest of 4 to 64: pieces of 1 to 3 would be sound but wasteful. */
function writeCopies(output: Buffer, out: number, distance: number, length: number): number {
  while (length >= 68) {
    out = writeLongCopy(output, out, distance, 64)
    length -= 64
  }
  if (length > 64) {
    out = writeLongCopy(output, out, distance, 60)
    length -= 60
  }
  if (length >= 12 || distance >= 2048) return writeLongCopy(output, out, distance, length)
  output[out++] = ((distance >>> 8) << 5) | ((length - 4) << 2) | 1
  output[out++] = distance & 0xff
  return out
}

function writeLongCopy(output: Buffer, out: number, distance: number, length: number): number {
  output[out++] = ((length - 1) << 2) | 2
  output[out++] = distance & 0xff
  output[out++] = distance >>> 8
  return out
}

function read32(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
