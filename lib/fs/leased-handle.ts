import type { FileHandle } from './file-system.ts'
import type { HandleCache, HandleMode } from './handle-cache.ts'

/** What is done with a small file that is always there but seldom touched. */
export type LeasableHandle = Pick<FileHandle, 'path' | 'read' | 'write' | 'datasync' | 'close'>

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
    close: () => handles.forget(path)
  }
}
