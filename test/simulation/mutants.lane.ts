/**
 * The checker is checked: each mutant of the engine has to be noticed by the simulator, by what the table names for it,
 * or, where the simulator has changed since, by one of the first seeds. `hunt.ts` makes the table anew.
 */
import { availableParallelism } from 'node:os'
import t from 'tap'
import { writeFigures } from '../reliability/figures.ts'
import { MutantCopy } from './mutant-copy.ts'
import { KILLS } from './mutant-kills.ts'
import { MUTANTS } from './mutants.ts'

const GOAL = 40
/** Seeds are tried for so long where the table's does not kill any more. */
const SEARCH_SECONDS = 25

t.setTimeout(1_500_000)

t.test('each fault that is put into the engine is noticed by the simulator', async t => {
  const begun = performance.now()
  const left = MUTANTS.filter(({ name }) => KILLS[name] !== undefined)
  const controls = [...new Set(left.map(({ name }) => KILLS[name] as string))]
  let killed = 0
  const stale: string[] = []
  const worker = async (number: number): Promise<void> => {
    const copy = await MutantCopy.make()
    // What the engine as it is fails as well proves nothing.
    const own = controls.filter((_, at) => at % availableParallelism() === number)
    const innocent = await copy.run(undefined, own)
    t.equal(innocent, undefined, 'the engine without a fault passes all of it')
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const { name, breaks } = mutant
      const kill = KILLS[name] as string
      const found = await copy.run(mutant, [kill, `search 1 ${SEARCH_SECONDS}`])
      t.ok(found, `${name}: ${breaks}${found === undefined ? ', and survives' : ''}`)
      if (found === undefined) continue
      killed += 1
      if (found.by !== kill) stale.push(`  '${name}': '${found.by}', // was ${kill}`)
    }
    await copy.remove()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, (_, number) => worker(number)))
  t.comment(`${killed} mutants killed`)
  if (stale.length > 0) t.comment(`killed by others now than mutant-kills.ts says:\n${stale.join('\n')}`)
  t.ok(killed >= GOAL, `${killed} killed, of at least ${GOAL}`)
  writeFigures({
    lane: 'mutants',
    seconds: Math.round((performance.now() - begun) / 1000),
    seed: 0,
    defects: 0,
    figures: [
      {
        name: 'mutants killed',
        goal: GOAL,
        found: killed,
        unit: '',
        meaning:
          'Faults put into the engine, one at a time, that the simulator noticed. test/simulation/MUTANTS.md lists them, and those that it was not seen to notice.'
      }
    ]
  })
})
