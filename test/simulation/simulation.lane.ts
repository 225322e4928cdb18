/**
 * A hundred thousand schedules: half of them those of fixed seeds, half of seeds that HEARTWOOD_SEED gives (drawn where
 * it does not), in as many processes as there are processors.
 */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { writeFigures } from '../reliability/figures.ts'

const GOAL = Number(process.env['HEARTWOOD_SCHEDULES'] ?? 100_000)
/** A process runs so many seeds, about 35 schedules each, then another one begins. */
const SEEDS_AT_A_TIME = 100
const FIXED_SEED = 1
const fresh = Number(process.env['HEARTWOOD_SEED'] ?? randomInt(2 ** 30))
/** What comes of seeds that only differ a little must not meet. */
const FRESH_SEED = 1_000_000 + ((fresh * 7919) % 2 ** 30)
const LONGEST_SECONDS = 1500

t.setTimeout((LONGEST_SECONDS + 100) * 1000)

t.test(`whatever a program does and however it ends, the engine keeps what it promised (seed ${fresh})`, async t => {
  const begun = performance.now()
  const sums = { seeds: 0, schedules: 0, crashesInRecovery: 0, changes: 0 }
  const failures: string[] = []
  let parts = 0
  const worker = async (): Promise<void> => {
    while (sums.schedules < GOAL && failures.length < 5 && performance.now() - begun < LONGEST_SECONDS * 1000) {
      const number = parts
      parts += 1
      const first = (number % 2 === 0 ? FIXED_SEED : FRESH_SEED) + Math.floor(number / 2) * SEEDS_AT_A_TIME
      const program = fileURLToPath(new URL(`./many${import.meta.url.slice(-3)}`, import.meta.url))
      const child = spawn(process.execPath, [...process.execArgv, program, `${first}`, '600', `${SEEDS_AT_A_TIME}`])
      const { stdout, stderr } = await finished(child)
      if (!stdout.startsWith('{')) {
        failures.push(`seeds from ${first} on: ${stderr}`)
        continue
      }
      const { failures: more, ...part } = JSON.parse(stdout) as typeof sums & { failures: string[] }
      failures.push(...more)
      for (const name of ['seeds', 'schedules', 'crashesInRecovery', 'changes'] as const) sums[name] += part[name]
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  const seconds = Math.round((performance.now() - begun) / 1000)
  t.comment(JSON.stringify({ ...sums, seconds, fresh }))
  for (const failure of failures) t.fail(failure)
  t.ok(sums.schedules >= GOAL, `${sums.schedules} schedules of ${GOAL}`)
  writeFigures({
    lane: 'simulation',
    seconds,
    seed: fresh,
    defects: failures.length,
    figures: [
      {
        name: 'simulated schedules',
        goal: 100_000,
        found: sums.schedules,
        unit: '',
        meaning: `Histories of a whole store, each up to its own end (a kill, or one outcome of a power cut), recovered and checked; of ${sums.seeds} seeds, with ${sums.crashesInRecovery} crashes during a recovery.`
      }
    ]
  })
})
