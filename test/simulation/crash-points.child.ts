/**
 * Tries crash points: `node dist/test/simulation/crash-points.child.js WORKLOAD WAY FROM STRIDE`. Prints, as JSON, how
 * many there were, how many ends were checked, and what failed.
 */
import { crashPoint, WAYS, type Way, WORKLOADS, type Workload } from './crash-points.ts'

const [workloadAt = 0, wayAt = 0, from = 0, stride = 1] = process.argv.slice(2, 6).map(Number)
const workload = WORKLOADS[workloadAt] as Workload
const way = WAYS[wayAt] as Way
const failures: string[] = []
process.on('unhandledRejection', error => failures.push(`unhandled rejection: ${(error as Error)?.stack}`))
let points = 0
let failedAt: number | undefined
const wanted = process.argv.includes('--first') ? 1 : 3
let ends = 0
for (let at = from; failures.length < wanted; at += stride) {
  const result = await crashPoint(workload, way, at)
  if (result === undefined) break
  points += 1
  ends += result.schedules
  if (result.failure !== undefined) {
    failedAt ??= at
    const again = `node dist/test/simulation/crash-points.child.js ${workloadAt} ${wayAt} ${at} 1000000`
    failures.push(
      `${result.failure.message}\n${result.failure.stack}\n${workload.name}; ${way.name}, call ${at}, at ${result.where}\nagain: ${again}`
    )
  }
}
process.stdout.write(`${JSON.stringify({ points, ends, failedAt, failures })}\n`)
if (failures.length > 0) process.exitCode = 1
