/**
 * Random histories, held against the plain list. A process of its own, because what a test runner notes of each
 * promise takes longer than the histories themselves.
 *
 *     node dist/test/compaction/model.child.js SEED COUNT [PATH]      PATH: a failure again, as it was printed
 *
 * Prints what was done, as JSON; a failure goes to stderr, with the command that repeats it.
 */
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { type Operation, operation, Run, type Settings, settings } from './model-run.ts'

const [seed = 1, numRuns = 100] = process.argv.slice(2, 4).map(Number)
const path = process.argv[4]
const counts = { histories: 0, cleanings: 0, partial: 0, dropped: 0, crashes: 0, retained: 0 }

const histories = fc.array(operation, { minLength: 10, maxLength: 40, size: 'max' })
const property = fc.asyncProperty(settings, histories, async (given: Settings, operations: Operation[]) => {
  const run = new Run(given)
  await run.run(operations)
  counts.histories += 1
  for (const name of ['cleanings', 'partial', 'dropped', 'crashes', 'retained'] as const)
    counts[name] += run.counts[name]
})
const details = await fc.check(property, { seed, numRuns, ...(path !== undefined && { path, endOnFailure: true }) })
if (details.failed) {
  console.error(fc.stringify(details.counterexample))
  console.error(details.errorInstance)
  console.error(`again: node ${fileURLToPath(import.meta.url)} ${seed} 1 ${details.counterexamplePath}`)
  process.exitCode = 1
}
console.log(JSON.stringify(counts))
