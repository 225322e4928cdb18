/**
 * 128 bits of a key: XXH64 under two seeds, computed by the xxhash-wasm package.
 *
 * The package's own interface answers a `bigint` for each 64 bits, which takes memory and time for every key. So the
 * module that the package ships is started here together with a second one of a single function, which calls it twice
 * and leaves the results in its memory:
 *
 *     hash (at: i32, length: i32)     // 16 bytes at RESULT := XXH64(key, seed 1), XXH64(key, seed 2)
 *
 * Where the package does not have the module in the place known here, its interface does the same work, more slowly.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import xxhash from 'xxhash-wasm'
import { folderOfOptional } from '../record/compression/optional-package.ts'

/** `module`: two WebAssembly modules, as above. `interface`: what the package exports. */
export type KeyHashKind = 'module' | 'interface'

/** Hashes one key at a time; `words` has the result until the next one. */
export interface KeyHash {
  readonly kind: KeyHashKind
  /** Four words: the low and the high half of the first 64 bits, then of the second. */
  readonly words: Uint32Array
  /** Hashes `bytes[start, end)`; the caller has checked the bounds. Takes no memory, except once for a longer key. */
  hash(bytes: Uint8Array, start: number, end: number): void
}

/** Two 64-bit seeds, as four words of 32 bits. */
export type HashSeeds = Uint32Array

const PAGE_BYTES = 64 * 1024
/** Seeds and results lie in the first page, keys from the second one on. */
const SEEDS_AT = 0
const RESULT_AT = 16
const INPUT_AT = PAGE_BYTES
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

/** The function above: imports the package's memory and `xxh64 (at: i32, length: i32, seed: i64) -> i64`. */
function twoSeedsModule(): Uint8Array {
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)]
  const section = (number: number, content: number[]): number[] => [number, content.length, ...content]
  const half = (seedAt: number, resultAt: number): number[] => [
    ...[0x41, resultAt], // i32.const: where the result goes
    ...[0x20, 0, 0x20, 1], // local.get at, length
    ...[0x41, seedAt, 0x29, 3, 0], // i64.load
    ...[0x10, 0], // call xxh64
    ...[0x37, 3, 0] // i64.store
  ]
  const body = [0, ...half(SEEDS_AT, RESULT_AT), ...half(SEEDS_AT + 8, RESULT_AT + 8), END]
  return Uint8Array.from([
    ...Buffer.from('\0asm'),
    ...[1, 0, 0, 0],
    ...section(1, [2, ...[0x60, 3, I32, I32, I64, 1, I64], ...[0x60, 2, I32, I32, 0]]),
    ...section(2, [2, ...name('x'), ...name('mem'), 2, 0, 1, ...name('x'), ...name('xxh64'), 0, 0]),
    ...section(3, [1, 1]),
    ...section(7, [1, ...name('hash'), 0, 1]),
    ...section(10, [1, body.length, ...body])
  ])
}

/** Of the two that are compiled for every cleaning, the small one each time: it takes microseconds. */
let compiled: object | undefined

function makeFromModule(seeds: HashSeeds): KeyHash | undefined {
  let memory: Memory
  let hashAt: (at: number, length: number) => void
  try {
    const folder = folderOfOptional('xxhash-wasm')
    if (folder === undefined) return undefined
    compiled ??= new WebAssembly.Module(readFileSync(join(folder, '..', 'workerd', 'xxhash.wasm')))
    const { mem, xxh64 } = new WebAssembly.Instance(compiled).exports as { mem: Memory; xxh64: unknown }
    memory = mem
    const two = new WebAssembly.Instance(new WebAssembly.Module(twoSeedsModule()), { x: { mem, xxh64 } })
    hashAt = (two.exports as { hash: typeof hashAt }).hash
    memory.grow(1)
  } catch {
    return undefined
  }
  let input = new Uint8Array(memory.buffer)
  new Uint32Array(memory.buffer, SEEDS_AT, 4).set(seeds)
  const words = new Uint32Array(4)
  let result = new Uint32Array(memory.buffer, RESULT_AT, 4)
  const grow = (needed: number): void => {
    if (input.length >= needed) return
    memory.grow(Math.ceil((needed - input.length) / PAGE_BYTES))
    input = new Uint8Array(memory.buffer)
    result = new Uint32Array(memory.buffer, RESULT_AT, 4)
  }
  const hash = (bytes: Uint8Array, start: number, end: number): void => {
    const length = end - start
    if (length <= SHORT_KEY_BYTES) {
      for (let i = 0; i < length; i += 1) input[INPUT_AT + i] = bytes[start + i]!
    } else {
      grow(INPUT_AT + length)
      input.set(bytes.subarray(start, end), INPUT_AT)
    }
    hashAt(INPUT_AT, length)
    words[0] = result[0]!
    words[1] = result[1]!
    words[2] = result[2]!
    words[3] = result[3]!
  }
  return { kind: 'module', words, hash }
}

async function makeFromInterface(seeds: HashSeeds): Promise<KeyHash> {
  const { h64Raw } = await xxhash()
  const [first, second] = new BigUint64Array(seeds.slice().buffer) as unknown as [bigint, bigint]
  const words = new Uint32Array(4)
  const results = new BigUint64Array(words.buffer)
  const hash = (bytes: Uint8Array, start: number, end: number): void => {
    const key = bytes.subarray(start, end)
    results[0] = h64Raw(key, first)
    results[1] = h64Raw(key, second)
  }
  return { kind: 'interface', words, hash }
}

/**
 * @param seeds - from a source of chance: whoever does not know them cannot look for keys that meet.
 * @param kind - default: the faster one that is there and right.
 * @throws if WebAssembly is missing or forbidden (`node --jitless`).
 */
export async function makeKeyHash(seeds: HashSeeds, kind?: KeyHashKind): Promise<KeyHash> {
  const fast = kind === 'interface' ? undefined : makeFromModule(seeds)
  if (fast !== undefined && (await isRight(fast, seeds))) return fast
  if (kind === 'module') throw new Error('the package xxhash-wasm has no module of the form known here')
  return makeFromInterface(seeds)
}

/** Whatever a later version of the package ships under this name, it is used only if it answers as its interface does. */
async function isRight(hash: KeyHash, seeds: HashSeeds): Promise<boolean> {
  const reference = await makeFromInterface(seeds)
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => (i * 151) & 0xff)
  for (const end of [3, 3, 4, 35, 36, 300]) {
    hash.hash(bytes, 3, end)
    reference.hash(bytes, 3, end)
    if (hash.words.some((word, i) => word !== reference.words[i])) return false
  }
  return true
}
