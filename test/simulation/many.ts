/**
 * Runs seeds one after the other: `node dist/test/simulation/many.js FIRST SECONDS MOST`. Prints one line of JSON. With
 * `--first` it ends at the first failure, which is not shrunken.
 */
import { runSeeds, strayFailures } from './seeds.ts'

const [first = 1, seconds = 10, most = 2 ** 31] = process.argv.slice(2, 5).map(Number)
const sums = await runSeeds(first, most, {
  until: performance.now() + seconds * 1000,
  isFirstOnly: process.argv.includes('--first'),
  strays: strayFailures()
})
process.stdout.write(`${JSON.stringify(sums)}\n`)
if (sums.failures.length > 0) process.exitCode = 1
