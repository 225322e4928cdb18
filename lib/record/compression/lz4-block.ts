import { invalid } from './limits.ts'

/**
 * The LZ4 block format, in plain JavaScript.
 *
 *     block    := sequence* lastSequence
 *     sequence := token: u8               // upper four bits: literals, lower four: match length - 4
 *                 more literal length     // bytes of 255 and one below, when the token says 15
 *                 literals
 *                 distance: u16 LE
 *                 more match length       // likewise
 *     lastSequence ends after its literals.
 *
 * Invariants:
 *   L1  A match's distance is at least 1 and reaches no further back than the block's own output: blocks are independent.
 *   L2  The block ends with a sequence of literals only, of which there may be none.
 *   L3  One input byte gives at most 255 of output.
 *   L4  What we write ends with at least 5 literals, and no match begins in the last 12 bytes, as decoders may expect.
 *
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
 */
const MIN_MATCH = 4
const LAST_LITERALS = 5
const MATCH_FIND_LIMIT = 12
const MAX_DISTANCE = 0xffff

/** Below this a loop copies faster than a call into the runtime. */
const LOOP_COPY_BYTES = 24

const HASH_BITS = 13
/** Position + 1 of the latest four bytes of each hash, 0 for none. Shared by all calls: nothing here awaits. */
const hashTable = new Int32Array(1 << HASH_BITS)

/** Most bytes that `encodeLz4Block` writes for `size` bytes. */
export function lz4BlockBound(size: number): number {
  return size + Math.ceil(size / 255) + 16
}

/**
 * Size of what the block in `input[from, to)` gives. Looks at everything that can be wrong with a block, and copies
 * nothing: a block that was measured decodes, so memory taken for it is not taken in vain.
 * @throws {LogError} INVALID_RECORD if the block is broken.
 */
export function measureLz4Block(input: Buffer, from: number, to: number): number {
  let at = from
  let size = 0
  while (at < to) {
    const token = input[at++]!
    let literals = token >>> 4
    if (literals === 15) {
      let byte: number
      do {
        if (at >= to) throw invalid('lz4', 'a block is cut off inside a length')
        byte = input[at++]!
        literals += byte
      } while (byte === 255)
    }
    if (literals > to - at) throw invalid('lz4', 'a block is cut off inside its literals')
    at += literals
    size += literals
    if (at === to) return size // L2
    if (to - at < 2) throw invalid('lz4', 'a block is cut off inside a sequence')
    const distance = input[at]! | (input[at + 1]! << 8)
    if (distance === 0 || distance > size) throw invalid('lz4', 'a match reaches before its block') // L1
    at += 2
    let length = token & 15
    if (length === 15) {
      let byte: number
      do {
        if (at >= to) throw invalid('lz4', 'a block is cut off inside a length')
        byte = input[at++]!
        length += byte
      } while (byte === 255)
    }
    size += length + MIN_MATCH
  }
  throw invalid('lz4', 'a block does not end with literals')
}

/**
 * Decodes the block in `input[from, to)` into `output[start, end)`.
 *
 * @returns the end of what was written, at most `end`.
 * @throws {LogError} INVALID_RECORD if the block is broken or gives more; `output` may then hold some of it.
 */
export function decodeLz4Block(
  input: Buffer,
  from: number,
  to: number,
  output: Buffer,
  start: number,
  end: number
): number {
  let at = from
  let out = start
  while (at < to) {
    const token = input[at++]!
    let literals = token >>> 4
    if (literals === 15) {
      let byte: number
      do {
        if (at >= to) throw invalid('lz4', 'a block is cut off inside a length')
        byte = input[at++]!
        literals += byte
      } while (byte === 255)
    }
    if (literals > to - at) throw invalid('lz4', 'a block is cut off inside its literals')
    if (literals > end - out) throw invalid('lz4', 'a block gives more output than it may')
    if (literals <= LOOP_COPY_BYTES)
      for (let index = 0; index < literals; index++) output[out + index] = input[at + index]!
    else input.copy(output, out, at, at + literals)
    at += literals
    out += literals
    if (at === to) return out // L2
    if (to - at < 2) throw invalid('lz4', 'a block is cut off inside a sequence')
    const distance = input[at]! | (input[at + 1]! << 8)
    at += 2
    let length = (token & 15) + MIN_MATCH
    if (length === 15 + MIN_MATCH) {
      let byte: number
      do {
        if (at >= to) throw invalid('lz4', 'a block is cut off inside a length')
        byte = input[at++]!
        length += byte
      } while (byte === 255)
    }
    if (distance === 0 || distance > out - start) throw invalid('lz4', 'a match reaches before its block') // L1
    if (length > end - out) throw invalid('lz4', 'a block gives more output than it may')
    copyMatch(output, out, distance, length)
    out += length
  }
  throw invalid('lz4', 'a block does not end with literals')
}

/** Repeats what lies `distance` back until `length` bytes are filled. */
function copyMatch(output: Buffer, out: number, distance: number, length: number): void {
  const from = out - distance
  if (length <= LOOP_COPY_BYTES)
    for (let index = 0; index < length; index++) output[out + index] = output[from + index]!
  else if (distance >= length) output.copyWithin(out, from, from + length)
  else if (distance === 1) output.fill(output[from]!, out, out + length)
  else {
    // Each round doubles the run that can be copied without overlap.
    let done = 0
    for (let run = distance; done < length; run += run) {
      const size = Math.min(run, length - done)
      output.copyWithin(out + done, from, from + size)
      done += size
    }
  }
}

/**
 * Encodes `input[from, to)`, at most 64 KiB, as one block at `output[start]`, where `lz4BlockBound` bytes must be free.
 * @returns the end of the block.
 */
export function encodeLz4Block(input: Buffer, from: number, to: number, output: Buffer, start: number): number {
  let out = start
  let anchor = from // first byte not yet written
  const matchLimit = to - LAST_LITERALS
  const searchEnd = to - MATCH_FIND_LIMIT
  if (searchEnd > from) {
    hashTable.fill(0)
    let at = from
    let misses = 0
    while (at <= searchEnd) {
      const word = read32(input, at)
      const slot = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS)
      const candidate = hashTable[slot]! - 1 + from
      hashTable[slot] = at - from + 1
      if (candidate < from || at - candidate > MAX_DISTANCE || read32(input, candidate) !== word) {
        at += 1 + (misses++ >>> 6) // give up faster where nothing matches
        continue
      }
      let matchStart = at
      let back = candidate
      while (matchStart > anchor && back > from && input[matchStart - 1] === input[back - 1]) {
        matchStart -= 1
        back -= 1
      }
      let matchEnd = at + MIN_MATCH
      let follow = candidate + MIN_MATCH
      while (matchEnd < matchLimit && input[matchEnd] === input[follow]) {
        matchEnd += 1
        follow += 1
      }
      out = writeSequence(input, anchor, matchStart, output, out, matchStart - back, matchEnd - matchStart)
      anchor = at = matchEnd
      misses = 0
      if (at <= searchEnd)
        hashTable[Math.imul(read32(input, at - 2), 0x9e3779b1) >>> (32 - HASH_BITS)] = at - 2 - from + 1
    }
  }
  return writeSequence(input, anchor, to, output, out, 0, 0)
}

/** Writes the literals `input[anchor, literalEnd)` and a match, or no match when its `length` is 0. */
function writeSequence(
  input: Buffer,
  anchor: number,
  literalEnd: number,
  output: Buffer,
  out: number,
  distance: number,
  length: number
): number {
  const literals = literalEnd - anchor
  const excess = length === 0 ? 0 : length - MIN_MATCH
  output[out++] = (Math.min(literals, 15) << 4) | Math.min(excess, 15)
  if (literals >= 15) out = writeLength(output, out, literals - 15)
  if (literals <= LOOP_COPY_BYTES)
    for (let index = 0; index < literals; index++) output[out + index] = input[anchor + index]!
  else input.copy(output, out, anchor, literalEnd)
  out += literals
  if (length === 0) return out
  output[out++] = distance & 0xff
  output[out++] = distance >>> 8
  return excess >= 15 ? writeLength(output, out, excess - 15) : out
}

function writeLength(output: Buffer, out: number, rest: number): number {
  for (; rest >= 255; rest -= 255) output[out++] = 255
  output[out++] = rest
  return out
}

function read32(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
