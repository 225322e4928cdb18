import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

/** A package that may be absent, or without a binary for this platform. `undefined` then, whatever the reason. */
export function loadOptional(name: string): unknown {
  try {
    return require(name)
  } catch {
    return undefined
  }
}

/** The folder of a package's main file. `undefined` if it is not installed. */
export function folderOfOptional(name: string): string | undefined {
  try {
    return dirname(require.resolve(name))
  } catch {
    return undefined
  }
}

/**
 * A CommonJS file evaluated anew: a copy of its state that nobody else has, and that goes when its last user goes.
 * @throws whatever loading it throws.
 */
export function loadAnew(folder: string, file: string): unknown {
  const path = join(folder, file)
  const shared = require.cache[path]
  delete require.cache[path]
  try {
    return require(path)
  } finally {
    if (shared === undefined) delete require.cache[path]
    else require.cache[path] = shared
  }
}
