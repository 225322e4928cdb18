/** Runs the schedules of neighbouring seeds and adds up what they did. */
import { report } from './failures.ts'
import { scheduleOf } from './schedule.ts'
import { simulate } from './simulation.ts'

export interface SeedSums {
  readonly seeds: number
  /** Ends that were recovered and checked. */
  readonly schedules: number
  readonly crashesInRecovery: number
  /** Calls that changed a disk. */
  readonly changes: number
  /** The first seed of which something was wrong. */
  readonly failedAt: number | undefined
  readonly failures: readonly string[]
}

/** What failed without anybody waiting for it, from now on. The process goes on. */
export function strayFailures(): string[] {
  const strays: string[] = []
  process.on('unhandledRejection', error => strays.push(`unhandled rejection: ${(error as Error)?.stack}`))
  return strays
}

/**
 * @param most - seeds, from `first` on.
 * @param bounds.until - in ms of `performance.now()`; no seed is begun later.
 * @param bounds.isFirstOnly - ends at the first failure, which is not shrunken, else at the third.
 */
export async function runSeeds(
  first: number,
  most: number,
  { until, isFirstOnly, strays }: { until: number; isFirstOnly: boolean; strays: string[] }
): Promise<SeedSums> {
  const sums = { seeds: 0, schedules: 0, crashesInRecovery: 0, changes: 0 }
  const failures: string[] = []
  let failedAt: number | undefined
  const wanted = isFirstOnly ? 1 : 3
  const { stackTraceLimit } = Error
  for (let seed = first; seed < first + most && performance.now() < until && failures.length < wanted; seed += 1) {
    const schedule = scheduleOf(seed)
    // Most errors of a schedule are those that it provokes; to write down where costs more than to run again what fails.
    Error.stackTraceLimit = 0
    const result = await simulate(schedule, { isTraced: false })
    Error.stackTraceLimit = stackTraceLimit
    sums.seeds += 1
    sums.schedules += result.schedules
    sums.crashesInRecovery += result.crashesInRecovery
    sums.changes += result.changes
    if (result.failure !== undefined)
      failures.push(isFirstOnly ? result.failure.message : await report(schedule, result))
    failures.push(...strays.splice(0))
    if (failures.length > 0) failedAt ??= seed
  }
  return { ...sums, failedAt, failures }
}
