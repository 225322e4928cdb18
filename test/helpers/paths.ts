import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project's root, from the sources as well as from `dist/`. */
export const projectRoot = findRoot(dirname(fileURLToPath(import.meta.url)))

function findRoot(folder: string): string {
  // dist/ has no package.json of its own, so the first one upwards is the project's.
  return existsSync(join(folder, 'package.json')) ? folder : findRoot(dirname(folder))
}

/** Absolute path below `test/fixtures`. */
export function fixture(...parts: string[]): string {
  return join(projectRoot, 'test', 'fixtures', ...parts)
}

/** A folder of the test's own, removed when the test ends. */
export async function tempDir(t: { teardown(f: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'heartwood-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}
