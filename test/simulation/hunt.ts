/**
 * Finds for each mutant what kills it, and prints the rows of `mutant-kills.ts`:
 * `node dist/test/simulation/hunt.js [SECONDS [NAME…]]`. The stories, crash points of the workload that its
 * file has most to do with, then seeds.
 */
import { MutantCopy } from './mutant-copy.ts'
import { MUTANTS, type Mutant } from './mutants.ts'

const [seconds = '60', ...names] = process.argv.slice(2)
const left = MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name))

function workloadFor({ file }: Mutant): number {
  if (file.startsWith('store/')) return 2
  return file.startsWith('compaction/') || file === 'log/segment-swap' ? 1 : 0
}

const hunter = async (): Promise<void> => {
  const copy = await MutantCopy.make()
  for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
    const begun = performance.now()
    const workload = workloadFor(mutant)
    const part = Math.ceil(Number(seconds) / 5)
    const points = ['0 1 3', '6 0 2', '8 0 1', '5 1 3'].map(rest => `points ${workload} ${rest} ${part}`)
    const found = await copy.run(mutant, ['stories', ...points, `search 1 ${part}`])
    const took = `${Math.round((performance.now() - begun) / 1000)} s`
    if (found === undefined) console.log(`  // '${mutant.name}' survives, ${took}`)
    else console.log(`  '${mutant.name}': '${found.by}', // ${took}: ${found.says.slice(0, 160)}`)
  }
  await copy.remove()
}
await hunter()
