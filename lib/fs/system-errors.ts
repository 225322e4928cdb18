import { type ErrorCode, LogError } from '../util/errors.ts'

const CODES: ReadonlyMap<string, ErrorCode> = new Map([
  ['ENOSPC', 'NO_SPACE'],
  ['EDQUOT', 'NO_SPACE'],
  ['EACCES', 'PERMISSION_DENIED'],
  ['EPERM', 'PERMISSION_DENIED'],
  ['EROFS', 'PERMISSION_DENIED'],
  ['EMFILE', 'TOO_MANY_OPEN_FILES'],
  ['ENFILE', 'TOO_MANY_OPEN_FILES']
])

const ADVICE: Partial<Record<ErrorCode, string>> = {
  NO_SPACE: 'free some space or raise the quota; what was stored is untouched',
  PERMISSION_DENIED: 'this user lacks the right, or the volume is mounted read-only',
  TOO_MANY_OPEN_FILES: 'raise the limit on open files (ulimit -n) or lower the number of files kept open'
}

/**
 * An operating system's error as one of ours. A `LogError` passes unchanged.
 *
 * @param what - what was being done, to follow "cannot": `'append to'`, `'open'`.
 * @param path - the file or folder it was done to.
 */
export function toLogError(error: unknown, what: string, path: string): LogError {
  if (error instanceof LogError) return error
  const system = systemCode(error)
  const code = (system === undefined ? undefined : CODES.get(system)) ?? 'STORAGE_FAILED'
  const advice = ADVICE[code]
  const reason = error instanceof Error ? error.message : String(error)
  const message = `cannot ${what} ${path}: ${reason}${advice === undefined ? '' : ` (${advice})`}`
  return new LogError(code, message, { path, system }, error)
}

/** The `code` that the operating system put on an error: `'ENOENT'`. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' ? code : undefined
}

/** True for an error of the system with one of these codes. */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  const code = systemCode(error)
  return code !== undefined && codes.includes(code)
}
