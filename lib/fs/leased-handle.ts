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
export function leasedHandle(handles: HandleCache, path: string, mode: HandleMode): LeasableHandle {
  const borrow = async <T>(use: (handle: FileHandle) => Promise<T>): Promise<T> => {
    const lease = await handles.acquire(path, mode)
    try {
      return await use(lease.handle)
    } finally {
      lease.release()
    }
  }
  return {
    path,
    read: (target, position) => borrow(handle => handle.read(target, position)),
    write: (source, position) => borrow(handle => handle.write(source, position)),
    datasync: () => borrow(handle => handle.datasync()),
    tryWriteSync: (source, position) => {
      const lease = handles.tryAcquire(path, mode)
      try {
        return lease?.handle.writeSync(source, position)
      } finally {
        lease?.release()
      }
    },
    close: () => handles.forget(path)
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
