/** Runs the seeds that it is told through the channel, until that is closed. */
import { runSeeds, strayFailures } from './seeds.ts'

const strays = strayFailures()
process.on('message', async ({ first, most, seconds }: { first: number; most: number; seconds: number }) => {
  const until = performance.now() + seconds * 1000
  process.send?.(await runSeeds(first, most, { until, isFirstOnly: false, strays }))
})
