import { isSystemError, toLogError } from '../fs/system-errors.ts'
import { LogError } from '../util/errors.ts'

/**
 * A system's error of the store's own files and folders as one of ours.
 *
 * @param what - follows "cannot": `'read the checkpoints of'`.
 */
export function storeError(error: unknown, what: string, path: string): LogError {
  if (isSystemError(error, 'ELOOP')) {
    const message = `cannot ${what} ${path}: symbolic links below a data directory are refused`
    return new LogError('UNSAFE_PATH', message, { path }, error)
  }
  return toLogError(error, what, path)
}

/** `f()`, with its system errors as ours. Programmer errors pass. */
export async function translated<T>(what: string, path: string, f: () => Promise<T>): Promise<T> {
  try {
    return await f()
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error
    throw storeError(error, what, path)
  }
}
