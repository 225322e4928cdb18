/**
 * Holds lib/ARCHITECTURE.md against the sources: what it names exists, and no numbered invariant is missing from it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from './helpers/paths.ts'

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8')
const page = read('lib/ARCHITECTURE.md')

/** Of one folder: paths below the project, with forward slashes. */
function filesOf(folder: string): string[] {
  const names = readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
  return names.filter(name => name.endsWith('.ts')).map(name => `${folder}/${name.replaceAll('\\', '/')}`)
}

/** `F1`, `W2` at the beginning of a line of a comment: there an invariant is stated. */
function invariantsOf(path: string): string[] {
  return [...read(path).matchAll(/^ \* {3}([A-Z]\d+) {2}\S/gm)].map(([, id]) => id as string)
}

/** `L1-L3` and `L1, L2` name each of them. */
function spelledOut(ids: string): string[] {
  return ids.split(', ').flatMap(part => {
    const [from = '', to = from] = part.split('-')
    const [first, last] = [Number(from.slice(1)), Number(to.slice(1))]
    return Array.from({ length: last - first + 1 }, (_, i) => `${from[0]}${first + i}`)
  })
}

/** Rows of the tables of invariants: file (kept from the row above where it is left out), numbers, what holds them. */
function rows(): { file: string; ids: string[]; heldBy: string }[] {
  let file = ''
  return [...page.matchAll(/^\| (?:`(\S+\.ts)` )?\| ([A-Z]\d[A-Z0-9, -]*) \| (.+) \|$/gm)].map(
    ([, named, ids, heldBy]) => {
      file = named ?? file
      return { file, ids: spelledOut(ids as string), heldBy: heldBy as string }
    }
  )
}

t.test('every source file that the page names exists', async t => {
  const sources = filesOf('lib')
  for (const [, name = ''] of page.matchAll(/`([a-z0-9/.-]+\.ts)`/g)) {
    const isThere = name.startsWith('test/')
      ? existsSync(join(projectRoot, name))
      : sources.some(path => path === name || path.endsWith(`/${name}`))
    t.ok(isThere, name)
  }
})

t.test('every test that the page names is in the file it is said to be in', async t => {
  let count = 0
  for (const [, file, names] of page.matchAll(
    /`(test\/[a-z0-9/.-]+\.ts)`: ("(?:[^"\\]|\\.)*"(?:; "(?:[^"\\]|\\.)*")*)/g
  )) {
    const source = read(file as string)
    for (const [, quoted] of (names as string).matchAll(/"((?:[^"\\]|\\.)*)"/g)) {
      const name = (quoted as string).replaceAll('\\"', '"')
      t.ok(source.includes(name), `${file}: ${name}`)
      count += 1
    }
  }
  t.ok(count > 100, `${count} tests`)
})

t.test('every numbered invariant of the library is on the page, and none that is gone', async t => {
  const known = new Map<string, Set<string>>()
  for (const { file, ids } of rows()) known.set(file, new Set([...(known.get(file) ?? []), ...ids]))
  for (const path of filesOf('lib')) {
    const stated = invariantsOf(path)
    const named = known.get(path.slice('lib/'.length)) ?? new Set()
    t.same([...named].sort(), [...new Set(stated)].sort(), path)
  }
})
