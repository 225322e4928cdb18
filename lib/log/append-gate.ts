/**
 * Holds appends back, first come first served: while there is no room, and while the log is being cut.
 *
 * What waits is the whole append, not its continuation: its accepting step runs inside `release`, so that nobody who
 * came later gets in before it.
 */
import type { LogError } from '../util/errors.ts'

interface Waiting {
  readonly run: () => void
  readonly reject: (error: unknown) => void
}

export class AppendGate {
  readonly #mustWait: () => boolean
  #waiting: Waiting[] = []
  /** Where the queue begins: taking from the front of a long array would move all of it. */
  #head = 0
  #barriers = 0
  #closed: LogError | undefined

  /** @param mustWait - true while there is no room. */
  constructor(mustWait: () => boolean) {
    this.#mustWait = mustWait
  }

  get length(): number {
    return this.#waiting.length - this.#head
  }

  /** True if an append may go on at once. */
  get isOpen(): boolean {
    return this.length === 0 && this.#barriers === 0 && this.#closed === undefined && !this.#mustWait()
  }

  /** Runs `accept` when its turn comes; rejects when the gate is shut or the signal aborts first. */
  pass<T>(accept: () => T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    return new Promise<T>((resolve, reject) => {
      const aborted = (): void => {
        this.#waiting = this.#waiting.slice(this.#head).filter(other => other !== waiting)
        this.#head = 0
        reject(signal?.reason)
      }
      const waiting: Waiting = {
        run: () => {
          signal?.removeEventListener('abort', aborted)
          try {
            resolve(accept())
          } catch (error) {
            reject(error)
          }
        },
        reject: error => {
          signal?.removeEventListener('abort', aborted)
          reject(error)
        }
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiting.push(waiting)
    })
  }

  /** Nobody passes until `lower` was called as often as `raise`. */
  raise(): void {
    this.#barriers += 1
  }

  lower(): void {
    this.#barriers -= 1
    this.release()
  }

  /** Lets in as many as there is room for. */
  release(): void {
    while (this.length > 0 && this.#barriers === 0 && this.#closed === undefined && !this.#mustWait()) {
      const next = this.#waiting[this.#head] as Waiting
      this.#head += 1
      if (this.#head * 2 > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#head)
        this.#head = 0
      }
      next.run()
    }
  }

  /** Refuses everybody, now and later. */
  shut(error: LogError): void {
    this.#closed = error
    this.refuse(error)
  }

  /** Refuses those who wait now. */
  refuse(error: LogError): void {
    const refused = this.#waiting.slice(this.#head)
    this.#waiting = []
    this.#head = 0
    for (const waiting of refused) waiting.reject(error)
  }
}
