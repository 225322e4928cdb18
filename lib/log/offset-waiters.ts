/**
 * Promises that resolve when an offset is passed: acknowledgements waiting for a level, readers waiting for records.
 *
 * Acknowledgements arrive in offset order, so they form a queue; readers come in any order and are few.
 */
import { LogError } from '../util/errors.ts'
import type { Isolation } from './types.ts'

/** A link of the queue's chain: an array that is filled and emptied with each append would be garbage with each. */
interface QueuedAck {
  readonly lastOffset: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  readonly value: unknown
  next: QueuedAck | undefined
}

/** Callbacks in ascending offset order, called as the offset passes them. */
export class AckQueue {
  #first: QueuedAck | undefined
  #last: QueuedAck | undefined
  #length = 0

  get length(): number {
    return this.#length
  }

  /**
   * `resolve` is called with `value` when everything up to and including `lastOffset` is below the offset passed.
   * (The value apart from its function: a closure for each append would cost as much as all the rest of it.)
   */
  push<T>(lastOffset: number, resolve: (value: T) => void, reject: (error: unknown) => void, value: T): void {
    const newest = this.#last
    const ack: QueuedAck = { lastOffset, resolve: resolve as (value: unknown) => void, reject, value, next: undefined }
    this.#length += 1
    if (newest !== undefined && newest.lastOffset > lastOffset) {
      this.#insert(ack)
      return
    }
    if (newest === undefined) this.#first = ack
    else newest.next = ack
    this.#last = ack
  }

  /** Somebody asks late for a higher level of an older append: rare, so a search is good enough. */
  #insert(ack: QueuedAck): void {
    let before: QueuedAck | undefined
    let after = this.#first as QueuedAck
    while (after.lastOffset <= ack.lastOffset) {
      before = after
      after = after.next as QueuedAck
    }
    ack.next = after
    if (before === undefined) this.#first = ack
    else before.next = ack
  }

  passed(offset: number): void {
    let ack = this.#first
    while (ack !== undefined && ack.lastOffset < offset) {
      ack.resolve(ack.value)
      ack = this.#unlink(ack)
    }
    this.#first = ack
    if (ack === undefined) this.#last = undefined
  }

  /** Fails every waiter for an offset at or above `offset`. */
  rejectFrom(offset: number, error: unknown): void {
    let kept: QueuedAck | undefined
    let ack = this.#first
    while (ack !== undefined && ack.lastOffset < offset) {
      kept = ack
      ack = ack.next
    }
    if (kept === undefined) this.#first = undefined
    else kept.next = undefined
    this.#last = kept
    while (ack !== undefined) {
      ack.reject(error)
      ack = this.#unlink(ack)
    }
  }

  /** One that has grown old would otherwise, as garbage, make all that came after it grow old. */
  #unlink(ack: QueuedAck): QueuedAck | undefined {
    const { next } = ack
    ack.next = undefined
    this.#length -= 1
    return next
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
