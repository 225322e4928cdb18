/**
 * Tries what is named, one after the other, until the checker sees something wrong:
 * `node dist/test/simulation/mutant.child.js WHAT…`, each `seed N`, `story N`,
 * `stories`, `point WORKLOAD WAY CALL`, `points WORKLOAD WAY FROM STRIDE SECONDS` or `search FIRST_SEED SECONDS`. Prints one line of JSON, `{}` when nothing was wrong.
 */
import { crashPoint, WAYS, type Way, WORKLOADS, type Workload } from './crash-points.ts'
import type { MutantRun } from './mutant-copy.ts'
import { scheduleOf } from './schedule.ts'
import { simulate } from './simulation.ts'
import { STORIES, type Story, scheduleOfStory } from './stories.ts'

let stray: Error | undefined
process.on('unhandledRejection', error => {
  stray ??= error instanceof Error ? error : new Error(String(error))
})

for (const what of process.argv.slice(2)) {
  const found = await tried(what)
  if (found === undefined) continue
  process.stdout.write(`${JSON.stringify(found)}\n`)
  process.exit()
}
process.stdout.write('{}\n')

async function tried(what: string): Promise<MutantRun | undefined> {
  const [kind, ...rest] = what.split(' ')
  const [a = 0, b = 0, c = 0, d = 1, e = 60] = rest.map(Number)
  switch (kind) {
    case 'seed':
      return seed(a)
    case 'story':
      return story(a)
    case 'stories': {
      for (let next = 0; next < STORIES.length; next += 1) {
        const found = await story(next)
        if (found !== undefined) return found
      }
      return undefined
    }
    case 'point':
      return (await point(a, b, c)).found
    case 'points': {
      const until = performance.now() + e * 1000
      for (let at = c; performance.now() < until; at += d) {
        const { found, isThere } = await point(a, b, at)
        if (found !== undefined || !isThere) return found
      }
      return undefined
    }
    case 'search': {
      const until = performance.now() + b * 1000
      for (let next = a; performance.now() < until; next += 1) {
        const found = await seed(next)
        if (found !== undefined) return found
      }
      return undefined
    }
    default:
      throw new Error(`what is ${what}?`)
  }
}

async function seed(number: number): Promise<MutantRun | undefined> {
  const { failure } = await simulate(scheduleOf(number))
  return runOf(`seed ${number}`, failure)
}

async function story(number: number): Promise<MutantRun | undefined> {
  const told = STORIES[number] as Story
  for (let time = 0; time < told.times; time += 1) {
    const { failure } = await simulate(scheduleOfStory(told, time))
    const found = runOf(`story ${number}`, failure)
    if (found !== undefined) return found
  }
  return undefined
}

async function point(
  workload: number,
  way: number,
  at: number
): Promise<{ found: MutantRun | undefined; isThere: boolean }> {
  const result = await crashPoint(WORKLOADS[workload] as Workload, WAYS[way] as Way, at)
  return { found: runOf(`point ${workload} ${way} ${at}`, result?.failure), isThere: result !== undefined }
}

function runOf(by: string, failure: Error | undefined): MutantRun | undefined {
  const error = failure ?? stray
  return error === undefined ? undefined : { by, says: error.message.split('\n')[0] as string }
}
