/** A few keys, looked up where they lie among other bytes. */
export class ErasedKeys {
  /** By length, so that most keys are told apart without looking at them. */
  readonly #byLength = new Map<number, Uint8Array[]>()
  readonly size: number

  constructor(keys: readonly Uint8Array[]) {
    this.size = keys.length
    for (const key of keys) {
      const same = this.#byLength.get(key.length)
      if (same === undefined) this.#byLength.set(key.length, [key])
      else same.push(key)
    }
  }

  has(bytes: Buffer, start: number, end: number): boolean {
    const keys = this.#byLength.get(end - start)
    return keys?.some(key => bytes.compare(key, 0, key.length, start, end) === 0) === true
  }
}
