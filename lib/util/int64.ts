/**
 * Big-endian, two's complement 64-bit integers as JavaScript numbers.
 *
 * Offsets, positions and ids are numbers throughout the engine, so whatever a number cannot hold exactly is refused
 * at the edge, here. Timestamps are the exception (nanoseconds since 1970 need 61 bits): they are read as the nearest
 * number with `nearestInt64`, beside the exact bigint that Buffer itself reads.
 *
 * Two 32-bit halves instead of `readBigInt64BE`: a bigint is an allocation, and this is the hot path.
 */
import { LogError } from './errors.ts'

const TWO_32 = 2 ** 32

/**
 * @param at - first of the eight bytes.
 * @throws {LogError} CORRUPT_MESSAGE if the value is outside -(2^53 - 1) ... 2^53 - 1.
 * @throws {RangeError} if the eight bytes are not all inside `bytes`.
 */
export function readInt64(bytes: Buffer, at: number): number {
  const value = nearestInt64(bytes, at)
  if (!Number.isSafeInteger(value)) {
    const exact = bytes.readBigInt64BE(at)
    throw new LogError('CORRUPT_MESSAGE', `64-bit integer ${exact} is beyond 2^53 - 1`, { value: exact, at })
  }
  return value
}

/** Like `readInt64`, but `undefined` instead of an error for what a number cannot hold exactly. */
export function tryReadInt64(bytes: Buffer, at: number): number | undefined {
  const value = nearestInt64(bytes, at)
  return Number.isSafeInteger(value) ? value : undefined
}

/**
 * The number nearest to the value: exact up to 2^53, correctly rounded beyond, because both halves are exact and
 * their sum is rounded once.
 */
export function nearestInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4)
}

/** @throws {RangeError} if `value` is not an integer that a number holds exactly, or there is no room for it. */
export function writeInt64(bytes: Buffer, value: number, at: number): void {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer up to 2^53 - 1`)
  if (!(at >= 0 && at + 8 <= bytes.length)) throw new RangeError(`no room for 8 bytes at ${at} of ${bytes.length}`)
  const high = Math.floor(value / TWO_32)
  writeInt32(bytes, high, at)
  writeInt32(bytes, value - high * TWO_32, at + 4)
}

/**
 * Writes the low 32 bits, signed or not; the caller has made sure of the room. Buffer's own checks value and place
 * each time, which for the twelve fields of a batch's header came to half a microsecond.
 */
export function writeInt32(bytes: Uint8Array, value: number, at: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** As `writeInt32`, 16 bits. */
export function writeInt16(bytes: Uint8Array, value: number, at: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}
