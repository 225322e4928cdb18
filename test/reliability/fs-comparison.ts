/** Random calls on two file systems at once: on a real one, and on the one in memory. */
import { dirname, join } from 'node:path'
import type { FileSystem, OpenMode } from '../../lib/fs/file-system.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { KiB } from '../../lib/util/sizes.ts'
import type { Random } from '../simulation/random.ts'
import type { Found } from './fs-admits.ts'

/** Below `/work` of the one in memory, and below a folder of the real one. */
export const FOLDERS = ['/work', '/work/a', '/work/b']
const NAMES = 5
/** A page of the cache, a block of the file system. */
const BLOCK_BYTES = 4 * KiB
const MOST_BYTES = 40 * KiB

type Call =
  | {
      readonly kind: 'write'
      readonly path: string
      readonly mode: OpenMode
      readonly at: number
      readonly bytes: Buffer
    }
  | { readonly kind: 'truncate'; readonly path: string; readonly length: number }
  | { readonly kind: 'sync' | 'datasync'; readonly path: string }
  | { readonly kind: 'unlink' | 'syncDirectory'; readonly path: string }
  | { readonly kind: 'rename'; readonly path: string; readonly to: string }
  /** Of a file that is not judged: the journal of all others goes along. */
  | { readonly kind: 'commit' }

export class Comparison {
  readonly memory = new MemoryFileSystem()
  readonly #random: Random
  /** In the place of `/work`. */
  readonly #root: string | undefined
  #number = 0

  /** @param root - a folder of the real file system, which does not exist yet; `undefined`: there is only the one in memory. */
  constructor(root: string | undefined, random: Random) {
    this.#root = root
    this.#random = random
  }

  /** Both with the same empty folders, which are there for good. */
  async begin(): Promise<void> {
    for (const fs of this.#both)
      for (const folder of FOLDERS) {
        await fs.makeDirectory(this.#of(fs, folder))
        await fs.syncDirectory(dirname(this.#of(fs, folder)))
      }
  }

  /** @returns how the answers of one random call differ; `undefined` if they do not. */
  async call(): Promise<string | undefined> {
    const call = this.#next()
    const answers: string[] = []
    for (const fs of this.#both) answers.push(await this.#make(fs, call))
    if (answers.every(answer => answer === answers[0])) return undefined
    const { kind } = call
    return `${kind} ${'path' in call ? call.path : ''}: ${answers[0]} in memory, ${answers[1]} on the real one`
  }

  /** Content of all files of the real one. */
  real(): Promise<Found> {
    return contentOf(nodeFileSystem, folder => this.#of(nodeFileSystem, folder))
  }

  /** @returns how contents differ; `undefined` if they do not. */
  async difference(): Promise<string | undefined> {
    const [inMemory, real] = [await contentOf(this.memory, folder => folder), await this.real()]
    const paths = new Set([...inMemory.keys(), ...real.keys()])
    return [...paths].find(path => inMemory.get(path)?.equals(real.get(path) ?? NOTHING) !== true)
  }

  get #both(): readonly FileSystem[] {
    return this.#root === undefined ? [this.memory] : [this.memory, nodeFileSystem]
  }

  #of(fs: FileSystem, path: string): string {
    return fs === this.memory || this.#root === undefined ? path : join(this.#root, path.slice(FOLDERS[0]?.length))
  }

  #path(): string {
    return join(this.#random.pick(FOLDERS), `f${this.#random.below(NAMES)}`)
  }

  #next(): Call {
    const random = this.#random
    const path = this.#path()
    const kind = random.below(100)
    if (kind < 45) {
      const mode = random.pick<OpenMode>(['write', 'write', 'write', 'create', 'create', 'truncate'])
      return { kind: 'write', path, mode, ...this.#bytes() }
    }
    if (kind < 55) return { kind: 'truncate', path, length: this.#position() }
    if (kind < 62) return { kind: 'sync', path }
    if (kind < 70) return { kind: 'datasync', path }
    if (kind < 80) return { kind: 'rename', path, to: this.#path() }
    if (kind < 87) return { kind: 'unlink', path }
    return kind < 94 ? { kind: 'syncDirectory', path: random.pick(FOLDERS) } : { kind: 'commit' }
  }

  #bytes(): { at: number; bytes: Buffer } {
    const at = this.#position()
    const length = 1 + this.#random.below(this.#random.chance(50) ? 700 : 2 * BLOCK_BYTES)
    const bytes = Buffer.alloc(length)
    // No two writes have a byte in common that could pass for the other's.
    this.#number += 1
    for (let i = 0; i < length; i += 1) bytes[i] = 1 + ((this.#number * 7 + i * 3 + (i >> 8)) % 255)
    if (length >= 4) bytes.writeUInt32BE(this.#number * 0x9e37 + 0x01010101, length - 4)
    return { at, bytes }
  }

  #position(): number {
    const block = BLOCK_BYTES * this.#random.below(MOST_BYTES / BLOCK_BYTES)
    return this.#random.chance(30) ? block : block + this.#random.below(BLOCK_BYTES)
  }

  /** @returns what came of it, the same words for both. */
  async #make(fs: FileSystem, call: Call): Promise<string> {
    try {
      return await this.#carryOut(fs, call)
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code ?? error)
    }
  }

  async #carryOut(fs: FileSystem, call: Call): Promise<string> {
    switch (call.kind) {
      case 'commit':
        if (fs !== this.memory && this.#root !== undefined) await commit(fs, join(this.#root, '..', 'other'))
        return 'done'
      case 'syncDirectory':
        await fs.syncDirectory(this.#of(fs, call.path))
        return 'done'
      case 'rename':
        await fs.rename(this.#of(fs, call.path), this.#of(fs, call.to))
        return 'done'
      case 'unlink':
        await fs.unlink(this.#of(fs, call.path))
        return 'done'
      default:
        return this.#onHandle(fs, call)
    }
  }

  async #onHandle(fs: FileSystem, call: Extract<Call, { kind: 'write' | 'truncate' | 'sync' | 'datasync' }>) {
    const handle = await fs.open(this.#of(fs, call.path), call.kind === 'write' ? call.mode : 'write')
    try {
      if (call.kind === 'write') return `${await handle.write(call.bytes, call.at)} bytes`
      if (call.kind === 'truncate') await handle.truncate(call.length)
      else await handle[call.kind]()
      return `${(await handle.stat()).size} bytes long`
    } finally {
      await handle.close()
    }
  }
}

const NOTHING = Buffer.from('none such')

async function commit(fs: FileSystem, path: string): Promise<void> {
  const handle = await fs.open(path, 'truncate')
  try {
    await handle.write(Buffer.from('x'), 0)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export async function contentOf(fs: FileSystem, at: (folder: string) => string): Promise<Found> {
  const found = new Map<string, Buffer>()
  for (const folder of FOLDERS)
    for (const { name, kind } of await fs.readDirectory(at(folder))) {
      if (kind === 'directory') continue
      const path = join(at(folder), name)
      const bytes = Buffer.alloc((await fs.stat(path))?.size ?? 0)
      const handle = await fs.open(path, 'read')
      await handle.read(bytes, 0)
      await handle.close()
      found.set(join(folder, name), bytes)
    }
  return found
}
