/** A file system that counts what is asked of it; everything is passed on. */
import type { FileHandle, FileSystem } from '../../lib/fs/index.ts'

/** Calls whose result is counted too. */
const OPENING: ReadonlySet<PropertyKey> = new Set(['open', 'openSync'])

export class CountingFileSystem {
  readonly fs: FileSystem
  readonly #calls = new Map<string, number>()

  constructor(fs: FileSystem) {
    this.fs = this.#counted(fs)
  }

  /** Of the methods named, or of all. Each is one system call, but for a retry after a short read or write. */
  calls(...names: readonly (keyof FileSystem | keyof FileHandle)[]): number {
    let sum = 0
    for (const [name, count] of this.#calls) if (names.length === 0 || names.includes(name as never)) sum += count
    return sum
  }

  reset(): void {
    this.#calls.clear()
  }

  #counted<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (_, name) => {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== 'function') return member
        return (...args: unknown[]): unknown => {
          this.#calls.set(String(name), (this.#calls.get(String(name)) ?? 0) + 1)
          // On the target itself, for it may have private fields.
          const result: unknown = member.apply(target, args)
          if (!OPENING.has(name)) return result
          if (result instanceof Promise) return result.then(handle => this.#counted(handle as FileHandle))
          return this.#counted(result as FileHandle)
        }
      }
    })
  }
}
