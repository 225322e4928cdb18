/** Loaded before a program, makes it one that was installed without fs-ext, the optional native package. */
import Module from 'node:module'

const loader = Module as unknown as { _resolveFilename(request: string, ...rest: unknown[]): string }
const resolve = loader._resolveFilename

loader._resolveFilename = (request, ...rest) => {
  if (request === 'fs-ext') throw Object.assign(new Error("Cannot find module 'fs-ext'"), { code: 'MODULE_NOT_FOUND' })
  return resolve(request, ...rest)
}
