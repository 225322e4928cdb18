import { readFileSync } from 'node:fs'
import t from 'tap'
import { KILLS } from './mutant-kills.ts'
import { MUTANTS } from './mutants.ts'
import { mutantsPage, PAGE } from './mutants-page.ts'

t.test('the page of mutants is what the tables give', async t => {
  t.equal(readFileSync(PAGE, 'utf8'), mutantsPage())
})

t.test('mutants have names of their own, and what kills each is a seed, a story or a crash point', async t => {
  const names = MUTANTS.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  for (const [name, by] of Object.entries(KILLS)) {
    t.ok(names.includes(name), name)
    t.match(by, /^(seed \d+|story \d|point \d \d \d+)$/, name)
  }
})
