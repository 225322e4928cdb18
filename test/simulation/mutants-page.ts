/** Makes test/simulation/MUTANTS.md: `node dist/test/simulation/mutants-page.js`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { projectRoot } from '../helpers/paths.ts'
import { HARMLESS } from './harmless-mutants.ts'
import { KILLS } from './mutant-kills.ts'
import { MUTANTS } from './mutants.ts'

export const PAGE = join(projectRoot, 'test', 'simulation', 'MUTANTS.md')

export function mutantsPage(): string {
  const lines = [
    '# Mutants: is the simulator able to see?',
    '',
    'Made by `test/simulation/mutants-page.ts` from `mutants.ts` and `mutant-kills.ts`; a test holds it to them.',
    '',
    'Each row is one fault that `mutants.lane.ts` puts into a copy of the compiled engine, and what the simulator notices it by: a seed of `many.ts`, a story of `stories.ts` (its number), or a crash point of the reference workloads (workload, way to end, number of the call). `npm run test:simulation` runs every one of them, and the same seeds, stories and points on the engine as it is, which has to pass. `not found yet`: `hunt.ts` has searched a minute or two, and nothing was noticed; such a mutant is not run and not counted.',
    '',
    '| mutant | what it breaks | file | killed by |',
    '|---|---|---|---|'
  ]
  for (const { name, breaks, file } of MUTANTS)
    lines.push(`| ${name} | ${breaks} | \`${file}.ts\` | ${KILLS[name] ?? 'not found yet'} |`)
  lines.push(
    '',
    '## Drafted, and harmless',
    '',
    'Something else holds the same promise: a fault in either alone loses nothing.',
    '',
    '| mutant | what it breaks | file | why nothing comes of it |',
    '|---|---|---|---|'
  )
  for (const { name, breaks, file, why } of HARMLESS) lines.push(`| ${name} | ${breaks} | \`${file}.ts\` | ${why} |`)
  return `${lines.join('\n')}\n`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(PAGE, mutantsPage())
