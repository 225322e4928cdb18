/** Every crash point of the reference workloads, in as many processes as there are processors. */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { writeFigures } from '../reliability/figures.ts'
import { WAYS, WORKLOADS } from './crash-points.ts'

/** May only grow: a workload that does less would prove less. */
const FLOOR = 5000
/** Each process takes every n-th point. */
const STRIDE = 4

t.setTimeout(1_600_000)

t.test('at every call of the reference workloads, whatever becomes of it, what was promised is kept', async t => {
  const begun = performance.now()
  const jobs = WORKLOADS.flatMap((_, workload) =>
    WAYS.flatMap((_, way) => Array.from({ length: STRIDE }, (_, from) => [workload, way, from, STRIDE].map(String)))
  )
  let points = 0
  let ends = 0
  let failed = 0
  const program = fileURLToPath(new URL(`./crash-points.child${import.meta.url.slice(-3)}`, import.meta.url))
  const worker = async (): Promise<void> => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const child = spawn(process.execPath, [...process.execArgv, program, ...job])
      const { stdout, stderr } = await finished(child)
      const found = stdout.startsWith('{') ? JSON.parse(stdout) : { points: 0, ends: 0, failures: [stderr] }
      points += found.points
      ends += found.ends
      failed += found.failures.length
      for (const failure of found.failures) t.fail(failure)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  t.comment(`${points} crash points, ${ends} ends`)
  t.ok(points >= FLOOR, `${points} crash points, of at least ${FLOOR}`)
  writeFigures({
    lane: 'simulated-crash-points',
    seconds: Math.round((performance.now() - begun) / 1000),
    seed: 0,
    defects: failed,
    figures: [
      {
        name: 'exhaustive crash points',
        goal: FLOOR,
        found: points,
        unit: '',
        meaning: `Calls of reference workloads at which the process or the power ends, or which fail (EIO once and for ever, ENOSPC, a short write); ${ends} ends were recovered and checked, at each end of the power 32 outcomes.`
      }
    ]
  })
})
