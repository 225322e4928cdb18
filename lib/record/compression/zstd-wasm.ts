import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LogError } from '../../util/errors.ts'
import { MiB } from '../../util/sizes.ts'
import { invalid, TRUSTED_CLAIM_BYTES, tooLarge } from './limits.ts'
import { folderOfOptional, loadAnew } from './optional-package.ts'
import type { ZstdOutline } from './zstd-frame.ts'

/**
 * zstd where node:zlib has none (Node < 22.15): zstd compiled to WebAssembly, from @bokuweb/zstd-wasm.
 *
 * The package starts asynchronously; its own hook `instantiateWasm` lets us start it at once instead. Memory of a
 * WebAssembly instance never shrinks, so an instance that has grown large is dropped after use. Each instance is a copy
 * of the package's state of our own: what the host program does with the same package is not touched.
 */
interface ZstdModule {
  instantiateWasm?: (imports: object, receive: (instance: object) => unknown) => unknown
  init(bytes: Uint8Array): void
  readonly HEAPU8: Uint8Array
  _malloc(size: number): number
  _free(address: number): void
  _ZSTD_isError(result: number): number
  _ZSTD_compressBound(size: number): number
  _ZSTD_compress(target: number, capacity: number, source: number, size: number, level: number): number
  _ZSTD_decompress(target: number, capacity: number, source: number, size: number): number
}

/** An instance with more memory than this is not kept. */
const KEPT_BYTES = 24 * MiB

/** zstd's ZSTD_error_dstSize_tooSmall. */
const TOO_SMALL = 70

/** Node's types have it only together with a browser's. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => object
}

let compiled: object | undefined
let kept: ZstdModule | undefined

function instance(): ZstdModule {
  if (kept !== undefined) return kept
  const folder = folderOfOptional('@bokuweb/zstd-wasm')
  if (folder === undefined) throw unsupported()
  try {
    const { Module: zstd } = loadAnew(folder, 'zstd.js') as { Module: ZstdModule }
    const binary = (compiled ??= new WebAssembly.Module(readFileSync(join(folder, 'zstd.wasm'))))
    zstd.instantiateWasm = (imports, receive) => receive(new WebAssembly.Instance(binary, imports))
    zstd.init(new Uint8Array(0))
    if (!(zstd.HEAPU8 instanceof Uint8Array)) throw new TypeError('it did not start at once')
    return (kept = zstd)
  } catch (error) {
    throw unsupported(error)
  }
}

function unsupported(cause?: unknown): LogError {
  return new LogError(
    'UNSUPPORTED_COMPRESSION_TYPE',
    'zstd needs Node 22.15 or later, or the package @bokuweb/zstd-wasm: npm install @bokuweb/zstd-wasm',
    { codec: 'zstd' },
    cause
  )
}

/**
 * Runs `use` with zstd, its input and `capacity` bytes for its output in WebAssembly memory, and gives all of it back.
 * `use` answers zstd's result: the size of the output, or an error as a negative number.
 */
function run(
  input: Buffer,
  capacity: number,
  use: (zstd: ZstdModule, target: number, source: number) => number
): Buffer | number {
  const zstd = instance()
  let sound = false
  try {
    const source = allocate(zstd, input.length)
    const target = allocate(zstd, capacity)
    zstd.HEAPU8.set(input, source)
    const size = use(zstd, target, source)
    const result = zstd._ZSTD_isError(size) === 0 ? Buffer.from(zstd.HEAPU8.subarray(target, target + size)) : size
    zstd._free(target)
    zstd._free(source)
    sound = true
    return result
  } finally {
    // After a trap or for want of memory anything may be left behind: begin with a new instance.
    if (!sound || zstd.HEAPU8.length > KEPT_BYTES) kept = undefined
  }
}

function allocate(zstd: ZstdModule, size: number): number {
  const address = zstd._malloc(Math.max(1, size))
  if (address === 0) throw new RangeError(`zstd: no memory for ${size} bytes`)
  return address
}

export function compressZstdWasm(bytes: Buffer, level: number): Buffer {
  const capacity = instance()._ZSTD_compressBound(bytes.length)
  const output = run(bytes, capacity, (zstd, target, source) =>
    zstd._ZSTD_compress(target, capacity, source, bytes.length, level)
  )
  if (typeof output === 'number') throw new RangeError(`zstd: compression failed with code ${-output}`)
  return output
}

/**
 * The output of a payload, all frames of it. Memory for it grows with what the frames really give.
 * @throws {LogError} DECOMPRESSION_LIMIT, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE
 */
export function decompressZstdWasm(bytes: Buffer, outline: ZstdOutline, limit: number): Buffer {
  const most = Math.min(limit, outline.mostBytes)
  for (let capacity = Math.min(most, TRUSTED_CLAIM_BYTES); ; capacity = Math.min(most, capacity * 2)) {
    const output = run(bytes, capacity, (zstd, target, source) =>
      zstd._ZSTD_decompress(target, capacity, source, bytes.length)
    )
    if (typeof output !== 'number') return output
    if (-output !== TOO_SMALL) throw invalid('zstd', `damaged, zstd error ${-output}`)
    if (capacity < most) continue
    throw most === limit ? tooLarge('zstd', limit) : invalid('zstd', 'a frame gives more output than it may')
  }
}
