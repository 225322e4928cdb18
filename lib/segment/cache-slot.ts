import type { CachedIndex, IndexCache } from './index-cache.ts'

/** Holds one index: for good while it changes or its file is behind, else as long as the cache has room for it. */
export class CacheSlot<T extends { readonly memory: number }> {
  #value: T | undefined
  #cached: CachedIndex | undefined

  /** What is in memory, `undefined` when nothing is. */
  get(): T | undefined {
    if (this.#cached !== undefined) this.#cached.used = true
    return this.#value
  }

  /** Keeps a value until `lend` or `clear`. */
  hold(value: T, cache: IndexCache): void {
    this.clear(cache)
    this.#value = value
  }

  /** Keeps a value that the cache may drop. */
  lend(value: T, cache: IndexCache): void {
    this.clear(cache)
    this.#value = value
    this.#cached = cache.add(value.memory, () => {
      this.#value = undefined
      this.#cached = undefined
    })
  }

  clear(cache: IndexCache): void {
    if (this.#cached !== undefined) cache.remove(this.#cached)
    this.#cached = undefined
    this.#value = undefined
  }
}
