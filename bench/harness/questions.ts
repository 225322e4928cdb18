/** Finds the questions: every file at the top of bench/ that is not part of the machinery is one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Question } from './question.ts'

/** `.ts` when run from the sources, `.js` when compiled. */
export const EXTENSION = extname(fileURLToPath(import.meta.url))

/** bench/, or dist/bench/ when compiled. */
export const benchFolder = dirname(dirname(fileURLToPath(import.meta.url)))

/** The project's root; bench/ has a package.json of its own, for the rivals. */
export const projectRoot = findRoot(benchFolder)

const MACHINERY: ReadonlySet<string> = new Set(['run', 'child', 'check'])

function findRoot(folder: string): string {
  const manifest = join(folder, 'package.json')
  const found = existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'heartwood'
  return found ? folder : findRoot(dirname(folder))
}

export function questionNames(folder: string): string[] {
  return readdirSync(folder)
    .filter(name => name.endsWith(EXTENSION) && !name.endsWith('.d.ts'))
    .map(name => name.slice(0, -EXTENSION.length))
    .filter(name => !MACHINERY.has(name))
    .sort()
}

export function moduleOf(folder: string, name: string): string {
  return pathToFileURL(join(folder, name + EXTENSION)).href
}

export async function loadQuestion(folder: string, name: string): Promise<Question> {
  const { question } = (await import(moduleOf(folder, name))) as { question?: Question }
  if (question?.name !== name) throw new Error(`bench/${name}${EXTENSION} exports no question of that name`)
  return question
}
