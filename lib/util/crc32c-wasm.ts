/**
 * CRC-32C in WebAssembly: the loop of crc32c.ts, sixteen bytes a step, on the machine's own integers.
 *
 * The module is put together here, instruction by instruction, rather than carried as a blob that nobody can read. It
 * has one memory and one function:
 *
 *     update (at: i32, stop: i32, end: i32, crc: i32) -> i32     // bytes [at, end); whole steps up to `stop`
 *
 *     memory := tables 16 x 256 x u32     // table k: what a byte contributes when k more bytes follow it
 *               input                     // copied in, a piece at a time
 *
 * @see WebAssembly Core Specification 1.0, chapter 5 (binary format)
 */

const TABLE_BYTES = 16 * 256 * 4
const PAGE_BYTES = 64 * 1024
const PAGES = 2
const INPUT_BYTES = PAGES * PAGE_BYTES - TABLE_BYTES

const I32 = 0x7f
const EMPTY = 0x40
const END = 0x0b
/** Sections by their number in the format. */
const SECTION = { type: 1, function: 3, memory: 5, export: 7, code: 10 }
/** Parameters first, then the three words that follow the one that is mixed with the CRC. */
const LOCAL = { at: 0, stop: 1, end: 2, crc: 3, word: 4 }

type Code = readonly number[]

const get = (local: number): Code => [0x20, local]
const set = (local: number): Code => [0x21, local]
const constant = (value: number): Code => [0x41, ...signedLeb(value)]
const load32 = (offset: number): Code => [0x28, 0, ...unsignedLeb(offset)]
const load8 = (offset: number): Code => [0x2d, 0, ...unsignedLeb(offset)]
const loop = (...body: Code[]): Code => [0x02, EMPTY, 0x03, EMPTY, ...body.flat(), 0x0c, 0, END, END]
const leaveUnlessBelow = [0x4f, 0x0d, 1] // i32.ge_u, br_if the block around the loop
const ADD = [0x6a]
const AND = [0x71]
const XOR = [0x73]
const SHIFT_LEFT = [0x74]
const SHIFT_RIGHT = [0x76]

function unsignedLeb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsignedLeb(value >>> 7)]
}

function signedLeb(value: number): number[] {
  return value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signedLeb(value >> 7)]
}

/** Byte `index` of the word in `local`, times 4, looked up in table `k`. */
function lookUp(k: number, local: number, index: number): Code {
  const shift = index === 0 ? [constant(2), SHIFT_LEFT] : [constant(8 * index - 2), SHIFT_RIGHT]
  return [get(local), ...shift, constant(0xff << 2), AND, load32(k * 1024)].flat()
}

/** One step of sixteen bytes: each looked up in the table of its distance from the end of the step. */
function step(): Code {
  const words = [0, 1, 2, 3].map(i => [
    get(LOCAL.at),
    load32(4 * i),
    ...(i === 0 ? [get(LOCAL.crc), XOR] : []),
    set(LOCAL.word + i)
  ])
  const lookUps = Array.from({ length: 16 }, (_, i) => [
    lookUp(15 - i, LOCAL.word + (i >> 2), i & 3),
    ...(i === 0 ? [] : [XOR])
  ])
  return [...words.flat(), ...lookUps.flat(), set(LOCAL.crc)].flat()
}

/** The single bytes behind the last whole step. */
function single(): Code {
  const entry = [get(LOCAL.crc), get(LOCAL.at), load8(0), XOR, constant(0xff), AND, constant(2), SHIFT_LEFT, load32(0)]
  return [...entry, get(LOCAL.crc), constant(8), SHIFT_RIGHT, XOR, set(LOCAL.crc)].flat()
}

function advance(bytes: number): Code {
  return [get(LOCAL.at), constant(bytes), ADD, set(LOCAL.at)].flat()
}

function moduleBytes(): Uint8Array {
  const body = [
    loop(get(LOCAL.at), get(LOCAL.stop), leaveUnlessBelow, step(), advance(16)),
    loop(get(LOCAL.at), get(LOCAL.end), leaveUnlessBelow, single(), advance(1)),
    get(LOCAL.crc),
    [END]
  ].flat()
  const code = [1, 4, I32, ...body] // one group of locals: four i32
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)]
  const section = (number: number, content: number[]): number[] => [number, ...unsignedLeb(content.length), ...content]
  return Uint8Array.from([
    ...Buffer.from('\0asm'),
    ...[1, 0, 0, 0],
    ...section(SECTION.type, [1, 0x60, 4, I32, I32, I32, I32, 1, I32]),
    ...section(SECTION.function, [1, 0]),
    ...section(SECTION.memory, [1, 0, PAGES]),
    ...section(SECTION.export, [2, ...name('memory'), 2, 0, ...name('update'), 0, 0]),
    ...section(SECTION.code, [1, ...unsignedLeb(code.length), ...code])
  ])
}

// The types of Node leave WebAssembly to those of the browser.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: object }
}

type Update = (at: number, stop: number, end: number, crc: number) => number

/**
 * @param table - 16 x 256 entries, as in crc32c.ts.
 * @returns `undefined` where WebAssembly is missing or forbidden (`node --jitless`).
 */
export function makeWasmCrc32c(
  table: Int32Array
): ((bytes: Uint8Array, start: number, end: number) => number) | undefined {
  let exports: { memory: { buffer: ArrayBuffer }; update: Update }
  try {
    exports = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes())).exports as unknown as typeof exports
  } catch {
    return undefined
  }
  const { memory, update } = exports
  new Int32Array(memory.buffer, 0, table.length).set(table)
  const input = new Uint8Array(memory.buffer, TABLE_BYTES, INPUT_BYTES)
  return (bytes, start, end) => {
    let crc = -1
    for (let at = start; at < end; at += INPUT_BYTES) {
      const count = Math.min(INPUT_BYTES, end - at)
      input.set(count === bytes.length ? bytes : bytes.subarray(at, at + count))
      crc = update(TABLE_BYTES, TABLE_BYTES + (count & ~15), TABLE_BYTES + count, crc)
    }
    return ~crc >>> 0
  }
}
