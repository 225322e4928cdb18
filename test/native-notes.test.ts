/** Every dependency has a reason: native-notes/ names it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from './helpers/paths.ts'

const folder = join(projectRoot, 'native-notes')
const notes = readdirSync(folder).filter(name => name.endsWith('.md'))
const text = notes.map(name => readFileSync(join(folder, name), 'utf8')).join('\n')
const index = readFileSync(join(folder, 'README.md'), 'utf8')
const manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as Record<string, object>

t.test('every dependency is named in a note, those at run time in the index', async t => {
  for (const name of Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'] }))
    t.ok(index.includes(`| ${name} `), name)
  for (const name of Object.keys({ ...manifest['devDependencies'] })) t.ok(text.includes(name), name)
})

t.test('every note is in the index and has a date', async t => {
  for (const name of notes.filter(name => name !== 'README.md')) {
    t.ok(index.includes(`](${name})`), name)
    t.match(readFileSync(join(folder, name), 'utf8').slice(0, 200), /20\d\d-\d\d-\d\d/, name)
  }
  for (const [, name] of index.matchAll(/\]\(([^)]+\.md)\)/g)) t.ok(notes.includes(name as string), name as string)
})
