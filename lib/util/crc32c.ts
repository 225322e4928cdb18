/**
 * CRC-32C (Castagnoli; reflected polynomial 0x82F63B78, initial value and final xor all ones), the checksum of
 * Kafka's record batches.
 *
 * Three implementations give the same answer at different speeds (native-notes/crc32c.md): plain JavaScript, which is
 * the fastest for a few dozen bytes because nothing is called; WebAssembly for a few hundred; and the processor's own
 * instructions through @node-rs/crc32 for all else. Where one is missing the one before it stands in.
 */
import { createRequire } from 'node:module'
import { makeWasmCrc32c } from './crc32c-wasm.ts'

export type Crc32cKind = 'native' | 'wasm' | 'js'

/**
 * Checksum of `bytes[start, end)`, unsigned. The caller has checked the bounds.
 */
export type Crc32c = (bytes: Uint8Array, start: number, end: number) => number

const POLYNOMIAL = 0x82f63b78
const SLICES = 16

/** `table[256 * k + b]`: what byte `b` contributes when `k` more bytes follow it. */
function makeTable(): Int32Array {
  const table = new Int32Array(256 * SLICES)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL
    table[byte] = crc
  }
  for (let i = 256; i < table.length; i++) {
    const crc = table[i - 256]!
    table[i] = (crc >>> 8) ^ table[crc & 0xff]!
  }
  return table
}

const TABLE = makeTable()

/** Slicing by 16: sixteen bytes a step, each looked up in the table of its distance from the end of the step. */
function makeJs(): Crc32c {
  const t = TABLE
  return (bytes, start, end) => {
    let crc = -1
    let at = start
    for (const last = end - 16; at <= last; at += 16) {
      crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
      crc =
        t[3840 + (crc & 0xff)]! ^
        t[3584 + ((crc >>> 8) & 0xff)]! ^
        t[3328 + ((crc >>> 16) & 0xff)]! ^
        t[3072 + (crc >>> 24)]! ^
        t[2816 + bytes[at + 4]!]! ^
        t[2560 + bytes[at + 5]!]! ^
        t[2304 + bytes[at + 6]!]! ^
        t[2048 + bytes[at + 7]!]! ^
        t[1792 + bytes[at + 8]!]! ^
        t[1536 + bytes[at + 9]!]! ^
        t[1280 + bytes[at + 10]!]! ^
        t[1024 + bytes[at + 11]!]! ^
        t[768 + bytes[at + 12]!]! ^
        t[512 + bytes[at + 13]!]! ^
        t[256 + bytes[at + 14]!]! ^
        t[bytes[at + 15]!]!
    }
    for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!
    return ~crc >>> 0
  }
}

function makeNative(): Crc32c | undefined {
  let crc32c: (bytes: Uint8Array) => number
  try {
    crc32c = (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: typeof crc32c }).crc32c
  } catch {
    return undefined // no binary for this platform: the others are as right, only slower
  }
  // A plain array: `Buffer.subarray` takes twice as long, which shows with batches of a kilobyte.
  return (bytes, start, end) =>
    start === 0 && end === bytes.length
      ? crc32c(bytes)
      : crc32c(new Uint8Array(bytes.buffer, bytes.byteOffset + start, Math.min(end, bytes.length) - start))
}

/** The check value of the catalogue of CRCs: what every implementation answers for these nine bytes. */
const CHECK_INPUT = Buffer.from('123456789')
const CHECK_VALUE = 0xe3069283

/**
 * One particular implementation, or `undefined` where the machine does not have it or it computes something else.
 */
export function makeCrc32c(kind: Crc32cKind): Crc32c | undefined {
  const makers = { native: makeNative, wasm: () => makeWasmCrc32c(TABLE), js: makeJs }
  const made = makers[kind]()
  return made?.(CHECK_INPUT, 0, CHECK_INPUT.length) === CHECK_VALUE ? made : undefined
}

const js = makeCrc32c('js')!
const wasm = makeCrc32c('wasm')
const native = makeCrc32c('native')
const forMiddle = wasm ?? js
const forLarge = native ?? forMiddle
/** From here on the faster work outweighs the dearer call: that into WebAssembly, that into the binary. */
const MIDDLE_BYTES = 64
const LARGE_BYTES = 448

/** Which implementation does the bulk of the work here. */
export function crc32cImplementation(): Crc32cKind {
  if (native !== undefined) return 'native'
  return wasm === undefined ? 'js' : 'wasm'
}

/** CRC-32C of `bytes[start, end)` as an unsigned 32-bit number. The caller has checked the bounds. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  const count = end - start
  if (count < MIDDLE_BYTES) return js(bytes, start, end)
  return count < LARGE_BYTES ? forMiddle(bytes, start, end) : forLarge(bytes, start, end)
}
