/**
 * Variable-length integers as Kafka's records use them.
 *
 *     zigzag := (n << 1) ^ (n >> 31)        // varlong: 64 bits, >> 63: 0, -1, 1, -2 become 0, 1, 2, 3
 *     varint := group*                      // 7 bits a byte, low group first, top bit set = another byte follows
 *
 * A varint (32 bits) takes at most 5 bytes, a varlong (64 bits) at most 10. Longer ones, and a last byte with bits
 * beyond the width, are refused: Kafka drops such bits silently, no writer sends them, and reading them in two ways
 * is how two readers come to disagree. Padded forms (0x80 0x00 for zero) are accepted, as Kafka does.
 *
 * Reading comes in two pure functions, the value at a position and the position behind it, because JavaScript has no
 * second return value that costs nothing. The record cursor has its own one- to four-byte path and comes here for the
 * rest.
 *
 * @see Kafka, org.apache.kafka.common.utils.ByteUtils
 */
import { LogError } from './errors.ts'

export const MAX_VARINT_BYTES = 5
export const MAX_VARLONG_BYTES = 10

const TWO_28 = 2 ** 28
/** Below this magnitude the zigzag form is itself a number that is held exactly. */
const EXACT_ZIGZAG = 2 ** 52

/** Bytes that `value`, a signed 32-bit integer, takes as a varint: 1 to 5. */
export function varintBytes(value: number): number {
  return zigzagBytes((value << 1) ^ (value >> 31))
}

/**
 * Bytes that a zigzag form of up to 32 bits takes: one for each seven bits begun. Nine 64ths are a little less than a
 * seventh, little enough for 32 bits, and a multiplication costs less than the branches.
 */
export function zigzagBytes(zigzag: number): number {
  return ((31 - Math.clz32(zigzag | 1)) * 9 + 73) >>> 6
}

/** Writes a signed 32-bit integer; the caller has made sure of the room. Returns the position behind it. */
export function writeVarint(bytes: Uint8Array, value: number, at: number): number {
  return writeZigzag(bytes, (value << 1) ^ (value >> 31), at)
}

/** Writes a zigzag form of up to 32 bits. In two parts, so that a hot loop can inline the first. */
export function writeZigzag(bytes: Uint8Array, zigzag: number, at: number): number {
  if ((zigzag & ~0x7f) !== 0) return writeLongerZigzag(bytes, zigzag, at)
  bytes[at] = zigzag
  return at + 1
}

/** As `writeZigzag`, for a form of up to 14 bits: small enough to be inlined five times into one loop. */
export function writeShortZigzag(bytes: Uint8Array, zigzag: number, at: number): number {
  if (zigzag < 0x80) {
    bytes[at] = zigzag
    return at + 1
  }
  bytes[at] = (zigzag & 0x7f) | 0x80
  bytes[at + 1] = zigzag >>> 7
  return at + 2
}

function writeLongerZigzag(bytes: Uint8Array, zigzag: number, at: number): number {
  while ((zigzag & ~0x7f) !== 0) {
    bytes[at++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  bytes[at++] = zigzag
  return at
}

/** Bytes that `value`, a signed 64-bit integer, takes as a varlong: 1 to 10. */
export function varlongBytes(value: number | bigint): number {
  if (typeof value === 'number' && value < EXACT_ZIGZAG && value >= -EXACT_ZIGZAG) {
    let left = value < 0 ? -2 * value - 1 : 2 * value
    let bytes = 1
    for (; left >= TWO_28; left = Math.floor(left / TWO_28)) bytes += 4
    return bytes - 1 + zigzagBytes(left)
  }
  let rest = BigInt(value)
  rest = BigInt.asUintN(64, (rest << 1n) ^ (rest >> 63n))
  let count = 1
  while (rest >= 0x80n) {
    rest >>= 7n
    count += 1
  }
  return count
}

/**
 * Writes a signed 64-bit integer as a varlong; the caller has made sure of the room. Returns the position behind it.
 *
 * @param value - an integer; a bigint where a number does not hold it exactly.
 */
export function writeVarlong(bytes: Uint8Array, value: number | bigint, at: number): number {
  if (typeof value === 'bigint') return writeVarlongExact(bytes, value, at)
  // A value of 32 bits has a zigzag form of 32 bits, so its varint is its varlong.
  if (value === (value | 0)) return writeVarint(bytes, value, at)
  if (value >= EXACT_ZIGZAG || value < -EXACT_ZIGZAG) return writeVarlongExact(bytes, BigInt(value), at)
  const zigzag = value < 0 ? -2 * value - 1 : 2 * value
  const high = Math.floor(zigzag / TWO_28)
  if (high === 0) return writeLongerZigzag(bytes, zigzag, at)
  const low = zigzag - high * TWO_28
  bytes[at] = (low & 0x7f) | 0x80
  bytes[at + 1] = ((low >>> 7) & 0x7f) | 0x80
  bytes[at + 2] = ((low >>> 14) & 0x7f) | 0x80
  bytes[at + 3] = (low >>> 21) | 0x80
  return writeLongerZigzag(bytes, high, at + 4)
}

function writeVarlongExact(bytes: Uint8Array, value: bigint, at: number): number {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  while (rest >= 0x80n) {
    bytes[at++] = Number(rest & 0x7fn) | 0x80
    rest >>= 7n
  }
  bytes[at++] = Number(rest)
  return at
}

/**
 * Position behind the varint (or varlong) that starts at `at`.
 *
 * @param end - exclusive bound of the readable bytes.
 * @param maxBytes - MAX_VARINT_BYTES or MAX_VARLONG_BYTES.
 * @throws {LogError} INVALID_RECORD if it runs past `end` or takes more than `maxBytes`.
 */
export function skipVarint(bytes: Uint8Array, at: number, end: number, maxBytes: number = MAX_VARINT_BYTES): number {
  const limit = Math.min(end, at + maxBytes)
  for (let i = at; i < limit; i++) {
    if (bytes[i]! < 0x80) return i + 1
  }
  const reason = limit === end && end - at < maxBytes ? 'runs past the end' : `takes more than ${maxBytes} bytes`
  throw new LogError('INVALID_RECORD', `a variable-length integer ${reason}`, { at, end })
}

/**
 * The signed 32-bit integer that starts at `at`.
 *
 * @param end - exclusive bound of the readable bytes.
 * @throws {LogError} INVALID_RECORD if it runs past `end`, takes more than 5 bytes or more than 32 bits.
 */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  const behind = skipVarint(bytes, at, end, MAX_VARINT_BYTES)
  if (behind - at === MAX_VARINT_BYTES && bytes[behind - 1]! > 0x0f) throw tooWide(at, 32)
  let zigzag = 0
  for (let i = behind - 1; i >= at; i--) zigzag = (zigzag << 7) | (bytes[i]! & 0x7f)
  return (zigzag >>> 1) ^ -(zigzag & 1)
}

/**
 * Zigzag form, as an unsigned number, of a varint or varlong of one to four bytes; -1 for a longer, padded or cut one,
 * which the careful functions then judge. Never throws, and is in two parts, so that a hot loop can inline the first.
 *
 * Since padded forms are left out, the form's size follows from its value: `zigzagBytes`.
 */
export function shortZigzag(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!
  if (first < 0x80) return first
  const second = bytes[at + 1]!
  return second > 0 && second < 0x80 ? (first & 0x7f) | (second << 7) : threeOrFour(bytes, at)
}

/** Bytes of what `shortZigzag` gave, which mostly are one or two. */
export function shortZigzagBytes(zigzag: number): number {
  if (zigzag < 0x80) return 1
  return zigzag < 0x4000 ? 2 : zigzagBytes(zigzag)
}

function threeOrFour(bytes: Uint8Array, at: number): number {
  const second = bytes[at + 1]!
  const third = bytes[at + 2]!
  if (second === 0 || third === 0) return -1
  const low = (bytes[at]! & 0x7f) | ((second & 0x7f) << 7)
  if (third < 0x80) return low | (third << 14)
  const fourth = bytes[at + 3]!
  if (fourth >= 0x80 || fourth === 0 || fourth === undefined) return -1
  return low | ((third & 0x7f) << 14) | (fourth << 21)
}

/**
 * The signed 64-bit integer that starts at `at`.
 *
 * @param end - exclusive bound of the readable bytes.
 * @throws {LogError} INVALID_RECORD if it runs past `end`, takes more than 10 bytes or more than 64 bits.
 */
export function readVarlong(bytes: Uint8Array, at: number, end: number): bigint {
  const behind = skipVarint(bytes, at, end, MAX_VARLONG_BYTES)
  if (behind - at === MAX_VARLONG_BYTES && bytes[behind - 1]! > 0x01) throw tooWide(at, 64)
  let zigzag = 0n
  for (let i = behind - 1; i >= at; i--) zigzag = (zigzag << 7n) | BigInt(bytes[i]! & 0x7f)
  return (zigzag >> 1n) ^ -(zigzag & 1n)
}

function tooWide(at: number, bits: number): LogError {
  return new LogError('INVALID_RECORD', `a variable-length integer has more than ${bits} bits`, { at })
}
