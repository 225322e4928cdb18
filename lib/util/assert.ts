/** A broken invariant of this library or of its caller: a defect, never an operating condition. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/**
 * States an invariant. Unlike an operating error, a failure here has no code: there is nothing to handle, only
 * something to repair.
 *
 * @throws {AssertionError} if `condition` is falsy.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}
