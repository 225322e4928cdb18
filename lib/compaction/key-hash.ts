/**
 * 128 bits of a key: XXH64 under two seeds, computed by the xxhash-wasm package, for many keys at a time.
 *
 * The package's own interface answers a `bigint` for each 64 bits, which takes memory and time for every key. So the
 * module that the package ships is started here together with a second one of a single function, which calls it twice
 * for each key and leaves the results in its memory:
 *
 *     hash (place: i32, end: i32, result: i32)
 *         // for each place (at: i32, length: i32) up to `end`: 16 bytes := XXH64(key, seed 1), XXH64(key, seed 2)
 *
 *     memory := seeds 2 x u64, places, results, keys
 *
 * Where the package does not have the module in the place known here, its interface does the same work, more slowly.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import xxhash from 'xxhash-wasm'
import { folderOfOptional } from '../record/compression/optional-package.ts'

/** `module`: two WebAssembly modules, as above. `interface`: what the package exports. */
export type KeyHashKind = 'module' | 'interface'

/** Hashes keys where they lie. */
export interface KeyHash {
  readonly kind: KeyHashKind
  /** Four words for each key: the low and the high half of the first 64 bits, then of the second. Valid until the next call. */
  readonly words: Uint32Array
  /**
   * Hashes `bytes[starts[i], ends[i])` for each i below `count`, at most KEYS_AT_ONCE. Places ascend; the caller has
   * checked the bounds. Takes no memory, except once for keys that are longer than any before.
   */
  hashAll(bytes: Uint8Array, starts: Int32Array, ends: Int32Array, count: number): void
}

/** Keys that are hashed in one call. */
export const KEYS_AT_ONCE = 512

/** Two 64-bit seeds, as four words of 32 bits. */
export type HashSeeds = Uint32Array

const PAGE_BYTES = 64 * 1024
const SEEDS_AT = 0
const PLACES_AT = 16
const RESULTS_AT = PLACES_AT + 8 * KEYS_AT_ONCE
/** From the second page on. */
const INPUT_AT = PAGE_BYTES
/** Keys with less than this around each of them are copied in one go, with what lies between them. */
const SPREAD_BYTES = 512
/** Up to here a loop copies a key faster than a call does. */
const SHORT_KEY_BYTES = 24

const I32 = 0x7f
const I64 = 0x7e
const END = 0x0b

interface Memory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

// The types of Node leave WebAssembly to those of the browser.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports?: object) => { readonly exports: object }
}

const get = (local: number): number[] => [0x20, local]
const set = (local: number): number[] => [0x21, local]
const constant = (value: number): number[] => [0x41, value]
const LOCAL = { place: 0, end: 1, result: 2 }

/** The function above: imports the package's memory and `xxh64 (at: i32, length: i32, seed: i64) -> i64`. */
function twoSeedsModule(): Uint8Array {
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)]
  const section = (number: number, content: number[]): number[] => [number, content.length, ...content]
  const half = (offset: number): number[] => [
    ...get(LOCAL.result),
    ...[...get(LOCAL.place), 0x28, 2, 0], // i32.load: at
    ...[...get(LOCAL.place), 0x28, 2, 4], // i32.load: length
    ...[...constant(SEEDS_AT), 0x29, 3, offset], // i64.load
    ...[0x10, 0], // call xxh64
    ...[0x37, 3, offset] // i64.store
  ]
  const advance = (local: number, by: number): number[] => [...get(local), ...constant(by), 0x6a, ...set(local)]
  const body = [
    0, // no locals beside the parameters
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[...get(LOCAL.place), ...get(LOCAL.end), 0x4f, 0x0d, 1], // leave the block unless place < end
    ...half(0),
    ...half(8),
    ...advance(LOCAL.place, 8),
    ...advance(LOCAL.result, 16),
    ...[0x0c, 0, END, END], // again
    END
  ]
  return Uint8Array.from([
    ...Buffer.from('\0asm'),
    ...[1, 0, 0, 0],
    ...section(1, [2, ...[0x60, 3, I32, I32, I64, 1, I64], ...[0x60, 3, I32, I32, I32, 0]]),
    ...section(2, [2, ...name('x'), ...name('mem'), 2, 0, 1, ...name('x'), ...name('xxh64'), 0, 0]),
    ...section(3, [1, 1]),
    ...section(7, [1, ...name('hash'), 0, 1]),
    ...section(10, [1, body.length, ...body])
  ])
}

/** Both modules, compiled once. */
let compiled: { readonly package: object; readonly twoSeeds: object } | undefined

function makeFromModule(seeds: HashSeeds): KeyHash | undefined {
  try {
    compiled ??= compile()
    const { mem, xxh64 } = new WebAssembly.Instance(compiled.package).exports as { mem: Memory; xxh64: unknown }
    const two = new WebAssembly.Instance(compiled.twoSeeds, { x: { mem, xxh64 } })
    return new ModuleHash(mem, (two.exports as { hash: HashFunction }).hash, seeds)
  } catch {
    return undefined
  }
}

function compile(): NonNullable<typeof compiled> {
  const folder = folderOfOptional('xxhash-wasm')
  if (folder === undefined) throw new Error('xxhash-wasm is not installed')
  const bytes = readFileSync(join(folder, '..', 'workerd', 'xxhash.wasm'))
  return { package: new WebAssembly.Module(bytes), twoSeeds: new WebAssembly.Module(twoSeedsModule()) }
}

type HashFunction = (place: number, end: number, result: number) => void

class ModuleHash implements KeyHash {
  readonly kind = 'module'
  words!: Uint32Array
  readonly #memory: Memory
  readonly #hash: HashFunction
  #input!: Uint8Array
  #places!: Int32Array

  constructor(memory: Memory, hash: HashFunction, seeds: HashSeeds) {
    this.#memory = memory
    this.#hash = hash
    memory.grow(4)
    this.#look()
    new Uint32Array(memory.buffer, SEEDS_AT, 4).set(seeds)
  }

  hashAll(bytes: Uint8Array, starts: Int32Array, ends: Int32Array, count: number): void {
    if (count === 0) return
    const first = starts[0]!
    const spread = ends[count - 1]! - first
    if (spread <= SPREAD_BYTES * count) this.#copyWhole(bytes, first, spread, starts, ends, count)
    else this.#copyEach(bytes, starts, ends, count)
    this.#hash(PLACES_AT, PLACES_AT + 8 * count, RESULTS_AT)
  }

  #copyWhole(b: Uint8Array, first: number, spread: number, starts: Int32Array, ends: Int32Array, count: number): void {
    this.#makeRoom(spread)
    const places = this.#places
    this.#input.set(new Uint8Array(b.buffer, b.byteOffset + first, spread), INPUT_AT)
    const shift = INPUT_AT - first
    for (let i = 0; i < count; i += 1) {
      const start = starts[i]!
      places[2 * i] = start + shift
      places[2 * i + 1] = ends[i]! - start
    }
  }

  #copyEach(bytes: Uint8Array, starts: Int32Array, ends: Int32Array, count: number): void {
    let sum = 0
    for (let i = 0; i < count; i += 1) sum += ends[i]! - starts[i]!
    this.#makeRoom(sum)
    const input = this.#input
    const places = this.#places
    let at = INPUT_AT
    for (let i = 0; i < count; i += 1) {
      const start = starts[i]!
      const length = ends[i]! - start
      if (length <= SHORT_KEY_BYTES) for (let j = 0; j < length; j += 1) input[at + j] = bytes[start + j]!
      else input.set(bytes.subarray(start, start + length), at)
      places[2 * i] = at
      places[2 * i + 1] = length
      at += length
    }
  }

  #makeRoom(inputBytes: number): void {
    const missing = INPUT_AT + inputBytes - this.#input.length
    if (missing <= 0) return
    this.#memory.grow(Math.ceil(missing / PAGE_BYTES))
    this.#look()
  }

  /** Memory that has grown is another object. */
  #look(): void {
    const { buffer } = this.#memory
    this.#input = new Uint8Array(buffer)
    this.#places = new Int32Array(buffer, PLACES_AT, 2 * KEYS_AT_ONCE)
    this.words = new Uint32Array(buffer, RESULTS_AT, 4 * KEYS_AT_ONCE)
  }
}

async function makeFromInterface(seeds: HashSeeds): Promise<KeyHash> {
  const { h64Raw } = await xxhash()
  const [first, second] = new BigUint64Array(seeds.slice().buffer) as unknown as [bigint, bigint]
  const words = new Uint32Array(4 * KEYS_AT_ONCE)
  const results = new BigUint64Array(words.buffer)
  const hashAll = (bytes: Uint8Array, starts: Int32Array, ends: Int32Array, count: number): void => {
    for (let i = 0; i < count; i += 1) {
      const key = bytes.subarray(starts[i], ends[i])
      results[2 * i] = h64Raw(key, first)
      results[2 * i + 1] = h64Raw(key, second)
    }
  }
  return { kind: 'interface', words, hashAll }
}

/**
 * @param seeds - from a source of chance: whoever does not know them cannot look for keys that meet.
 * @param kind - default: the faster one that is there and right.
 * @throws if WebAssembly is missing or forbidden (`node --jitless`).
 */
export async function makeKeyHash(seeds: HashSeeds, kind?: KeyHashKind): Promise<KeyHash> {
  const fast = kind === 'interface' ? undefined : makeFromModule(seeds)
  if (fast !== undefined && (moduleIsRight ??= await isRight(fast, seeds))) return fast
  if (kind === 'module') throw new Error('the package xxhash-wasm has no module of the form known here')
  return makeFromInterface(seeds)
}

/** Tried once; `undefined` until then. */
let moduleIsRight: boolean | undefined

/** Whatever a later version of the package ships under this name, it is used only if it answers as its interface does. */
async function isRight(hash: KeyHash, seeds: HashSeeds): Promise<boolean> {
  const reference = await makeFromInterface(seeds)
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => (i * 151) & 0xff)
  const starts = Int32Array.of(3, 3, 4, 9, 50, 60)
  const ends = Int32Array.of(3, 4, 9, 41, 92, 300)
  for (const each of [hash, reference]) each.hashAll(bytes, starts, ends, starts.length)
  return hash.words.subarray(0, 4 * starts.length).every((word, i) => word === reference.words[i])
}
