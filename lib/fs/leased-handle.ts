import type { FileHandle } from './file-system.ts'
import type { HandleCache, HandleMode } from './handle-cache.ts'

/** What is done with a small file that is always there but seldom touched. */
export type LeasableHandle = Pick<FileHandle, 'path' | 'read' | 'write' | 'datasync' | 'close'> & {
  /**
   * Writes a few bytes on the calling thread, where the file is open already; `undefined` where it is not.
   *
   * @returns the bytes written, which may be fewer than given.
   */
  tryWriteSync(source: Uint8Array, position: number): number | undefined
}

/**
 * A file that is used as if it were open all the time, and takes a descriptor only while it is: for each call it
 * borrows one from the cache. With thousands of logs, one descriptor each would be too many.
 *
 * A sync that fails is told to whoever syncs next, also through another descriptor, so nothing is missed in between.
 */
export class LeasedHandle implements LeasableHandle {
  readonly path: string
  readonly #handles: HandleCache
  readonly #mode: HandleMode

  /** Opens nothing: that is the first call's to do, and its error to tell. */
  constructor(handles: HandleCache, path: string, mode: HandleMode) {
    this.path = path
    this.#handles = handles
    this.#mode = mode
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return this.#borrow(handle => handle.read(target, position))
  }

  write(source: Uint8Array, position: number): Promise<number> {
    return this.#borrow(handle => handle.write(source, position))
  }

  datasync(): Promise<void> {
    return this.#borrow(handle => handle.datasync())
  }

  tryWriteSync(source: Uint8Array, position: number): number | undefined {
    const lease = this.#handles.tryAcquire(this.path, this.#mode)
    try {
      return lease?.handle.writeSync(source, position)
    } finally {
      lease?.release()
    }
  }

  close(): Promise<void> {
    return this.#handles.forget(this.path)
  }

  async #borrow<T>(use: (handle: FileHandle) => Promise<T>): Promise<T> {
    const lease = await this.#handles.acquire(this.path, this.#mode)
    try {
      return await use(lease.handle)
    } finally {
      lease.release()
    }
  }
}

/** The same over a descriptor of one's own. */
export function ownHandle(handle: FileHandle): LeasableHandle {
  return {
    path: handle.path,
    read: (target, position) => handle.read(target, position),
    write: (source, position) => handle.write(source, position),
    datasync: () => handle.datasync(),
    tryWriteSync: (source, position) => handle.writeSync(source, position),
    close: () => handle.close()
  }
}
