/** Damage: a few changes of bytes, where fields begin more often than elsewhere. */
import type { Random, Target } from './target.ts'

/** Larger inputs are cut: what a decoder does with many entries it does with a few. */
const MOST_BYTES = 64 * 1024

const NUMBERS = [0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 32767, -32768, 65535, 2 ** 31 - 1, -(2 ** 31), 2 ** 24, 1000]
const WIDE = [0n, -1n, 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 31n, 2n ** 32n]
const WORDS = [
  ...[
    '0',
    '1',
    '-1',
    '9007199254740992',
    '9223372036854775807',
    '00',
    '+1',
    '1e3',
    '0x1',
    'NaN',
    ' ',
    '\t',
    '\n',
    '\r\n'
  ],
  ...['"', '\\', '{', '}', '[', ']', ':', ',', '=', '#', '!', 'null', 'true', '-', 'u0000', '\u00e9', '\ud83d\ude00'],
  ...['\0', '\x7f', '__proto__', 'constructor', 'version', '""', '\\ud800', '\\n']
]

/** A changed copy of `bytes`; `other` is what a part may be taken from. */
export function damaged(target: Target, bytes: Buffer, other: Buffer, random: Random): Buffer {
  let result: Buffer = Buffer.from(bytes)
  for (let changes = 1 + random(4); changes > 0; changes -= 1) result = changed(target, result, other, random)
  result = result.length > MOST_BYTES ? Buffer.from(result.subarray(0, MOST_BYTES)) : result
  if (random(4) > 0) target.mend?.(result)
  return result
}

function changed(target: Target, bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = placeIn(target, bytes, random)
  switch (random(9)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << random(8)
      return bytes
    case 1:
      if (at < bytes.length) bytes[at] = random(256)
      return bytes
    case 2:
      return overwritten(bytes, at, numberBytes(random))
    case 3:
      return spliced(bytes, at, 0, Buffer.from(WORDS[random(WORDS.length)]!))
    case 4:
      return spliced(bytes, at, random(20), Buffer.from(WORDS[random(WORDS.length)]!))
    case 5:
      return spliced(bytes, at, 1 + random(random(2) === 0 ? 4 : 40), Buffer.alloc(0))
    case 6:
      // Doubled: a field, an entry, all of it.
      return spliced(bytes, at, 0, Buffer.from(bytes.subarray(at, at + 1 + random(80))))
    case 7: {
      const from = placeIn(target, other, random)
      const part = Buffer.from(other.subarray(from, from + 1 + random(80)))
      return random(2) === 0 ? overwritten(bytes, at, part) : spliced(bytes, at, 0, part)
    }
    default:
      return random(3) === 0 ? Buffer.from(bytes.subarray(0, at)) : overwritten(bytes, at, Buffer.alloc(1 + random(16)))
  }
}

function placeIn(target: Target, bytes: Buffer, random: Random): number {
  if (random(3) === 0) return random(bytes.length + 1)
  const fields = target.fields(bytes)
  return Math.min(bytes.length, fields[random(fields.length)]!)
}

function numberBytes(random: Random): Buffer {
  const bytes = Buffer.alloc(8)
  const width = [1, 2, 4, 8][random(4)]!
  const isLittle = random(4) === 0
  if (width === 8) {
    const wide = WIDE[random(WIDE.length)]!
    if (isLittle) bytes.writeBigInt64LE(wide)
    else bytes.writeBigInt64BE(wide)
  } else {
    const value = NUMBERS[random(NUMBERS.length)]! & (2 ** (8 * width - 1) - 1)
    if (isLittle) bytes.writeIntLE(value, 0, width)
    else bytes.writeIntBE(value, 0, width)
  }
  return bytes.subarray(0, width)
}

function overwritten(bytes: Buffer, at: number, part: Buffer): Buffer {
  part.copy(bytes, at)
  return bytes
}

function spliced(bytes: Buffer, at: number, removed: number, added: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(Math.min(bytes.length, at + removed))])
}
