/** What a failure prints: seed, commit, what is wrong, the shrunken schedule and the command that runs it again. */
import { execFileSync } from 'node:child_process'
import type { Schedule } from './schedule.ts'
import { type SimulationResult, simulate } from './simulation.ts'

/** `0,4-7` for the numbers 0, 4, 5, 6 and 7. */
export function formatPath(path: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < path.length; ) {
    let end = i
    while (end + 1 < path.length && path[end + 1] === (path[end] as number) + 1) end += 1
    parts.push(end === i ? `${path[i]}` : `${path[i]}-${path[end]}`)
    i = end + 1
  }
  return parts.length === 0 ? '-' : parts.join(',')
}

export function parsePath(text: string): number[] {
  if (text === '-') return []
  return text.split(',').flatMap(part => {
    const [from, to = from] = part.split('-').map(Number) as [number, number?]
    return Array.from({ length: (to as number) - from + 1 }, (_, i) => from + i)
  })
}

/**
 * The fewest operations that still fail, found by leaving out halves, quarters, and so on down to single ones.
 *
 * @param fails - whether a schedule of these operations fails.
 */
export async function shrink(
  path: readonly number[],
  fails: (path: readonly number[]) => Promise<boolean>,
  budget = 400
): Promise<number[]> {
  let best = [...path]
  let left = budget
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length && left > 0; ) {
      const without = [...best.slice(0, at), ...best.slice(at + size)]
      left -= 1
      if (await fails(without)) best = without
      else at += size
    }
  }
  return best
}

export async function report(
  schedule: Schedule,
  result: SimulationResult,
  path: readonly number[] = schedule.operations.map((_, number) => number)
): Promise<string> {
  const shrunken = await shrink(path, async part => (await simulate(schedule, { path: part })).failure !== undefined)
  const last = await simulate(schedule, { path: shrunken })
  const shown = last.failure === undefined ? result : last
  return [
    `seed ${schedule.seed}, commit ${commit()}: ${shown.failure?.stack}`,
    `at ${shown.where}`,
    `topics ${JSON.stringify(schedule.topics)}${schedule.background ? ', upkeep by itself' : ''}`,
    ...shrunken.map(number => `  ${number} ${JSON.stringify(schedule.operations[number])}`),
    `again: node dist/test/simulation/replay.js ${schedule.seed} ${formatPath(shrunken)}`
  ].join('\n')
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore']
    }).trim()
  } catch {
    return 'unknown'
  }
}
