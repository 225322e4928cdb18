/**
 * Runs seeds one after the other: `node dist/test/simulation/many.js FIRST SECONDS MOST`. Prints one line of JSON. With
 * `--first` it ends at the first failure, which is not shrunken.
 */
import { report } from './failures.ts'
import { scheduleOf } from './schedule.ts'
import { simulate } from './simulation.ts'

const [first = 1, seconds = 10, most = 2 ** 31] = process.argv.slice(2, 5).map(Number)
const isFirstOnly = process.argv.includes('--first')
const until = performance.now() + seconds * 1000
const sums = { seeds: 0, schedules: 0, crashesInRecovery: 0, changes: 0 }
const failures: string[] = []
let failedAt: number | undefined
process.on('unhandledRejection', error => failures.push(`unhandled rejection: ${(error as Error)?.stack}`))
const wanted = isFirstOnly ? 1 : 3
for (let seed = first; seed < first + most && performance.now() < until && failures.length < wanted; seed += 1) {
  const schedule = scheduleOf(seed)
  const result = await simulate(schedule)
  sums.seeds += 1
  sums.schedules += result.schedules
  sums.crashesInRecovery += result.crashesInRecovery
  sums.changes += result.changes
  if (result.failure !== undefined) failures.push(isFirstOnly ? result.failure.message : await report(schedule, result))
  if (failures.length > 0) failedAt ??= seed
}
process.stdout.write(`${JSON.stringify({ ...sums, failedAt, failures })}\n`)
if (failures.length > 0) process.exitCode = 1
