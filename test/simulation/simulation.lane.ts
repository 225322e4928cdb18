/**
 * A hundred thousand schedules, the same every time, in as many processes as there are processors. With HEARTWOOD_SEED
 * half of them are of seeds that it gives: that is the search for what is not known yet. HEARTWOOD_NEW_SEED adds fifty
 * seeds to the hundred thousand schedules; what fails can be seen again with the same number, or with `replay.ts`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { writeFigures } from '../reliability/figures.ts'
import type { SeedSums } from './seeds.ts'

const GOAL = Number(process.env['HEARTWOOD_SCHEDULES'] ?? 100_000)
/** A process is told so many seeds at a time, about 35 schedules each. */
const SEEDS_AT_A_TIME = 25
const FIXED_SEED = 1
const given = process.env['HEARTWOOD_SEED']
const seed = Number(given ?? FIXED_SEED)
const added = process.env['HEARTWOOD_NEW_SEED']
const ADDED_PARTS = added === undefined ? 0 : 2
const LONGEST_SECONDS = 1500
/** Most of what a schedule makes is thrown away with it: a young generation that holds one costs a tenth less. */
const NODE_OPTIONS = ['--max-semi-space-size=32']

/** The first of the seeds that a number gives: what comes of numbers that only differ a little must not meet. */
function newSeed(number: number): number {
  return 1_000_000 + ((number * 7919) % 2 ** 30)
}

/** The first seed of a part. */
function firstOf(part: number): number {
  if (part < ADDED_PARTS) return newSeed(Number(added)) + part * SEEDS_AT_A_TIME
  const number = part - ADDED_PARTS
  if (given === undefined) return FIXED_SEED + number * SEEDS_AT_A_TIME
  return (number % 2 === 1 ? newSeed(seed) : FIXED_SEED) + Math.floor(number / 2) * SEEDS_AT_A_TIME
}

t.setTimeout((LONGEST_SECONDS + 100) * 1000)

t.test(`whatever a program does and however it ends, the engine keeps what it promised (seed ${seed})`, async t => {
  const begun = performance.now()
  const sums = { seeds: 0, schedules: 0, crashesInRecovery: 0, changes: 0 }
  const failures: string[] = []
  let parts = 0
  let addedSchedules = 0
  const secondsLeft = (): number => LONGEST_SECONDS - (performance.now() - begun) / 1000
  const program = fileURLToPath(new URL(`./seeds.child${import.meta.url.slice(-3)}`, import.meta.url))
  const worker = async (): Promise<void> => {
    const child = fork(program, [], { execArgv: [...process.execArgv, ...NODE_OPTIONS] })
    while (sums.schedules - addedSchedules < GOAL && failures.length < 5 && secondsLeft() > 0) {
      const number = parts
      parts += 1
      const part = await asked(child, { first: firstOf(number), most: SEEDS_AT_A_TIME, seconds: secondsLeft() })
      failures.push(...part.failures)
      if (number < ADDED_PARTS) addedSchedules += part.schedules
      for (const name of ['seeds', 'schedules', 'crashesInRecovery', 'changes'] as const) sums[name] += part[name]
      if (child.exitCode !== null || child.signalCode !== null) return
    }
    child.disconnect()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  const seconds = Math.round((performance.now() - begun) / 1000)
  t.comment(JSON.stringify({ ...sums, addedSchedules, seconds, seed, newSeed: added }))
  for (const failure of failures) t.fail(failure)
  t.ok(sums.schedules >= GOAL, `${sums.schedules} schedules of ${GOAL}`)
  writeFigures({
    lane: 'simulation',
    seconds,
    seed,
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

/** What a process answers; where it ends instead, a failure that names the seeds. */
async function asked(child: ChildProcess, part: { first: number; most: number; seconds: number }): Promise<SeedSums> {
  const over = new AbortController()
  const { signal } = over
  const answer = once(child, 'message', { signal }).then(([sums]) => sums as SeedSums)
  const end = once(child, 'exit', { signal }).then(([status, by]): SeedSums => {
    const failure = `the process that ran the ${part.most} seeds from ${part.first} on ended with ${by ?? status}`
    return { seeds: 0, schedules: 0, crashesInRecovery: 0, changes: 0, failedAt: part.first, failures: [failure] }
  })
  child.send(part)
  try {
    return await Promise.race([answer, end])
  } finally {
    over.abort()
    await Promise.allSettled([answer, end])
  }
}
