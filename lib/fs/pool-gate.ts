/**
 * Bounds how many file system calls are in libuv's thread pool at once. The pool belongs to the whole process:
 * without a bound, a hundred logs that sync would keep the host program's own `fs` and `dns` waiting.
 *
 * First come, first served, and cheap when free: two integer operations.
 */
export class PoolGate {
  /** Calls that may run at once. */
  readonly width: number
  #free: number
  #waiting: (() => void)[] = []
  /** The next one to start: moving an index is cheaper than shifting an array. */
  #head = 0

  constructor(width: number) {
    this.width = width
    this.#free = width
  }

  /** Calls that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length - this.#head
  }

  /** Runs `start` now, or when a running call leaves. `start` must not throw, and must lead to one `leave`. */
  enter(start: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(start)
      return
    }
    this.#free -= 1
    start()
  }

  leave(): void {
    const next = this.#waiting[this.#head]
    if (next === undefined) {
      this.#free += 1
      return
    }
    this.#head += 1
    if (this.#head === this.#waiting.length) {
      this.#waiting = []
      this.#head = 0
    } else if (this.#head === 1024) {
      this.#waiting = this.#waiting.slice(1024)
      this.#head = 0
    }
    next()
  }
}

/** libuv's default, and the most it accepts. */
const DEFAULT_POOL = 4
const LARGEST_POOL = 1024

/** Half of libuv's thread pool, at least one: the width that leaves the host program its share. */
export function halfOfThreadPool(setting: string | undefined): number {
  const asked = setting === undefined ? DEFAULT_POOL : Number.parseInt(setting, 10)
  const threads = Number.isInteger(asked) && asked > 0 ? Math.min(asked, LARGEST_POOL) : DEFAULT_POOL
  return Math.max(1, threads >> 1)
}

const { UV_THREADPOOL_SIZE } = process.env

/** One for the whole process, however many file systems, stores and logs there are. */
export const sharedPoolGate = new PoolGate(halfOfThreadPool(UV_THREADPOOL_SIZE))
