/**
 * Runs one schedule again: `node dist/test/simulation/replay.js SEED [PATH]`. PATH names the operations to keep, as a
 * failure prints it (`0,4-7`); without it all of them run, and a failure is shrunken. `--trace` shows every call.
 */
import { parsePath, report } from './failures.ts'
import { scheduleOf } from './schedule.ts'
import { simulate } from './simulation.ts'

const [seed, path] = process.argv.slice(2).filter(argument => !argument.startsWith('--'))
if (seed === undefined || !/^\d+$/.test(seed)) {
  console.error('usage: node dist/test/simulation/replay.js SEED [PATH] [--trace]')
  process.exitCode = 2
} else {
  const schedule = scheduleOf(Number(seed))
  const wanted = path === undefined ? undefined : parsePath(path)
  const keepsLines = process.argv.includes('--trace')
  const result = await simulate(schedule, { path: wanted, keepsLines })
  for (const line of result.lines) console.log(line)
  if (result.failure === undefined)
    console.log(`${result.schedules} ends checked, nothing wrong, trace ${result.digest}`)
  else {
    console.log(await report(schedule, result, wanted))
    process.exitCode = 1
  }
}
