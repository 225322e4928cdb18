/** Engines by name, and the packages of the rivals, which live in bench/node_modules and may be missing. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Engine } from './engine.ts'

/** A contestant's package is not installed here, or does not load; the message says why. */
export class RivalMissing extends Error {
  override readonly name = 'RivalMissing'
}

interface EngineModule {
  readonly engine: Engine
}

/** Imported on demand: a measurement loads the code of its own contestant only. */
const MODULES: Readonly<Record<string, () => Promise<EngineModule>>> = {
  heartwood: () => import('./heartwood.ts'),
  'heartwood-preallocate': () => import('./heartwood-preallocate.ts'),
  ceiling: () => import('./ceiling.ts'),
  'ceiling-sync': () => import('./ceiling-sync.ts'),
  lmdb: () => import('./lmdb.ts'),
  'lmdb-async': () => import('./lmdb-async.ts'),
  'better-sqlite3': () => import('./better-sqlite3.ts'),
  'better-sqlite3-group': () => import('./better-sqlite3-group.ts'),
  'classic-level': () => import('./classic-level.ts'),
  'event-storage': () => import('./event-storage.ts'),
  'json-lines': () => import('./json-lines.ts')
}

export const ENGINE_NAMES: readonly string[] = Object.keys(MODULES)

/** What users would take instead, in the order of the tables. */
export const RIVALS = ['lmdb', 'better-sqlite3', 'classic-level', 'event-storage', 'json-lines'] as const

/**
 * @throws {RivalMissing} when its package is not installed or does not load.
 * @throws {RangeError} for a name that no engine has.
 */
export async function loadEngine(name: string): Promise<Engine> {
  const load = MODULES[name]
  if (load === undefined) throw new RangeError(`no engine is called '${name}'; there are: ${ENGINE_NAMES.join(', ')}`)
  return (await load()).engine
}

/** The project's root, from the sources as from dist/: the folder whose bench/package.json names the rivals. */
function findRoot(folder: string): string {
  if (existsSync(join(folder, 'bench', 'package.json'))) return folder
  if (folder === dirname(folder)) throw new Error('bench/package.json is not above this module')
  return findRoot(dirname(folder))
}

const root = findRoot(dirname(fileURLToPath(import.meta.url)))
const rivals = createRequire(join(root, 'bench', 'package.json'))

function versionIn(folder: string): string {
  return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version
}

/** @throws {RivalMissing} */
export function requireRival<T>(name: string): T {
  try {
    return rivals(name) as T
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new RivalMissing(`${name} is not installed (npm ci --prefix bench) or does not load: ${reason}`)
  }
}

/** Version of a rival that `requireRival` has found. Not every package lets its package.json be required. */
export const rivalVersion = (name: string): string => versionIn(join(root, 'bench', 'node_modules', name))

export const heartwoodVersion = (): string => versionIn(root)
