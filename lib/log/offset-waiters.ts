/**
 * Promises that resolve when an offset is passed: acknowledgements waiting for a level, readers waiting for records.
 *
 * Acknowledgements arrive in offset order, so they form a queue; readers come in any order and are few.
 */
import { LogError } from '../util/errors.ts'
import type { Isolation } from './types.ts'

interface QueuedAck {
  readonly lastOffset: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly value: unknown
}

/** Callbacks in ascending offset order, called as the offset passes them. */
export class AckQueue {
  #queue: QueuedAck[] = []
  #head = 0

  get length(): number {
    return this.#queue.length - this.#head
  }

  /**
   * `resolve` is called with `value` when everything up to and including `lastOffset` is below the offset passed.
   * (The value apart from its function: a closure for each append would cost as much as all the rest of it.)
   */
  push<T>(lastOffset: number, resolve: (value: T) => void, reject: (error: unknown) => void, value: T): void {
    const newest = this.#queue[this.#queue.length - 1]
    const ack: QueuedAck = { lastOffset, resolve: resolve as (value: unknown) => void, reject, value }
    if (newest === undefined || newest.lastOffset <= lastOffset || this.length === 0) {
      this.#queue.push(ack)
      return
    }
    // Somebody asks late for a higher level of an older append: rare, so a search from the end is good enough.
    let at = this.#queue.length
    while (at > this.#head && (this.#queue[at - 1] as QueuedAck).lastOffset > lastOffset) at -= 1
    this.#queue.splice(at, 0, ack)
  }

  passed(offset: number): void {
    let head = this.#head
    const queue = this.#queue
    while (head < queue.length && (queue[head] as QueuedAck).lastOffset < offset) {
      const ack = queue[head] as QueuedAck
      ack.resolve(ack.value)
      head += 1
    }
    if (head === queue.length) {
      this.#queue = []
      this.#head = 0
    } else if (head > 1024 && head * 2 > queue.length) {
      this.#queue = queue.slice(head)
      this.#head = 0
    } else {
      this.#head = head
    }
  }

  /** Fails every waiter for an offset at or above `offset`. */
  rejectFrom(offset: number, error: unknown): void {
    const failed: QueuedAck[] = []
    while (this.length > 0 && (this.#queue[this.#queue.length - 1] as QueuedAck).lastOffset >= offset) {
      failed.push(this.#queue.pop() as QueuedAck)
    }
    for (const ack of failed.reverse()) ack.reject(error)
  }
}

interface WaitingReader {
  readonly offset: number
  readonly isolation: Isolation
  readonly wake: () => void
}

/** Readers that wait until something beyond an offset can be read. */
export class ReaderWaiters {
  readonly #waiting = new Set<WaitingReader>()

  get size(): number {
    return this.#waiting.size
  }

  /**
   * Resolves when `notify` is called with a bound above `offset` for this isolation, or when `wakeAll` is called. The
   * caller has just seen that the bound is not above it: what moved before is not announced again.
   *
   * @throws the signal's reason when it aborts first.
   */
  wait(offset: number, isolation: Isolation, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(abortReason(signal))
    return new Promise((resolve, reject) => {
      const done = (): void => {
        signal?.removeEventListener('abort', aborted)
        this.#waiting.delete(waiter)
      }
      const aborted = (): void => {
        done()
        reject(abortReason(signal as AbortSignal))
      }
      const waiter: WaitingReader = {
        offset,
        isolation,
        wake: () => {
          done()
          resolve()
        }
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiting.add(waiter)
    })
  }

  /** @param boundOf - first offset that cannot be read: the two move apart, and at different times. */
  notify(boundOf: (isolation: Isolation) => number): void {
    for (const waiter of this.#waiting) if (waiter.offset < boundOf(waiter.isolation)) waiter.wake()
  }

  wakeAll(): void {
    for (const waiter of this.#waiting) waiter.wake()
  }
}

function abortReason(signal: AbortSignal): unknown {
  return signal.reason ?? new LogError('ABORTED', 'The wait was aborted.')
}
