/**
 * `npm run bench:check`: has a change made the engine slower?
 *
 * Ratios against the bare loop, taken in turns within this process, and counts that noise cannot move. What falls short
 * of its threshold is measured once more, for the machine may have been busy; what falls short twice is a failure.
 * It takes about a minute. The figures of RESULTS.md come from elsewhere (`npm run bench`): here rounds are
 * short, and the only question is whether something became worse.
 *
 *     npm run bench:check                 exit status 0, or 1 with a line for each that fell short
 *     npm run bench:check -- --print      the table below, from what is measured now
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { COUNTS } from './harness/check-counts.ts'
import { PAIRS } from './harness/check-ratios.ts'
import { type CheckKind, checkLine, type Limits, limitsText, meets, unmatched } from './harness/check-rules.ts'
import { summarize } from './harness/statistics.ts'

/**
 * Rate of the engine by that of the bare loop, at least: a quarter or so below what was reached on a quiet machine, so
 * that other work beside it is no failure and a twofold loss cannot hide.
 */
const LEAST_RATIOS: Limits = {
  'append 100B x1000': 0.36,
  'append 100B x1': 0.42,
  'append 1KiB x100': 0.46,
  'durable, 64 writers': 0.58,
  'scan, cursor': 0.52,
  'scan, lazy': 0.74,
  'scan, eager': 0.8,
  'point read': 0.49,
  recovery: 0.48
}

/** At most: 20 % above what was reached. */
const MOST_COUNTS: Limits = {
  'heap bytes a record, append x1000': 5,
  'heap bytes an append of one record': 2500,
  'heap bytes a record, cursor': 1.7,
  'heap bytes a record, lazy': 140,
  'calls a MB written, append x1000': 13,
  'calls a MB written, append x10, 64 at a time': 23,
  'calls a MB read, scan': 1.4
}

const ROUNDS = 7
/** Before them, for what has to be compiled. */
const WARM_ROUNDS = 2

interface Group {
  readonly kind: CheckKind
  readonly names: readonly string[]
  readonly limits: Limits
  /** @param directory - empty, to be removed afterwards. */
  measure(name: string, directory: string): Promise<number>
}

const GROUPS: readonly Group[] = [
  { kind: 'ratio', names: Object.keys(PAIRS), limits: LEAST_RATIOS, measure: medianRatio },
  {
    kind: 'count',
    names: Object.keys(COUNTS),
    limits: MOST_COUNTS,
    measure: (name, directory) => COUNTS[name]!(directory)
  }
]

/** Of the rates, in turns; who begins changes from round to round. */
async function medianRatio(name: string, directory: string): Promise<number> {
  const pair = await PAIRS[name]!(directory)
  const ratios: number[] = []
  try {
    for (let round = -WARM_ROUNDS; round < ROUNDS; round += 1) {
      const first = round % 2 === 0 ? await pair.ours() : await pair.ceiling()
      const second = round % 2 === 0 ? await pair.ceiling() : await pair.ours()
      if (round >= 0) ratios.push(round % 2 === 0 ? second / first : first / second)
    }
  } finally {
    await pair.close()
  }
  return summarize(ratios)!.median
}

async function measureIn(group: Group, name: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'heartwood-bench-check-'))
  try {
    return await group.measure(name, directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** @returns a line for each check that fell short twice. */
async function check(group: Group): Promise<string[]> {
  const failures: string[] = []
  for (const name of group.names) {
    const limit = group.limits[name]!
    const figure = await measureIn(group, name)
    console.log(checkLine(name, group.kind, figure, limit))
    if (meets(group.kind, figure, limit)) continue
    const again = await measureIn(group, name)
    console.log(checkLine(`${name}, again`, group.kind, again, limit))
    if (!meets(group.kind, again, limit)) failures.push(checkLine(name, group.kind, again, limit))
  }
  return failures
}

async function print(): Promise<void> {
  const tables: string[] = []
  for (const [group, constant] of [
    [GROUPS[0]!, 'LEAST_RATIOS'],
    [GROUPS[1]!, 'MOST_COUNTS']
  ] as const) {
    const figures = new Map<string, number>()
    for (const name of group.names) {
      const figure = await measureIn(group, name)
      console.log(checkLine(name, group.kind, figure, undefined))
      figures.set(name, figure)
    }
    tables.push(limitsText(constant, group.kind, figures))
  }
  console.log(`\n${tables.join('\n\n')}`)
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length > 0 && (args.length > 1 || args[0] !== '--print')) {
    console.error('usage: npm run bench:check [-- --print]')
    return 2
  }
  if (args.length > 0) {
    await print()
    return 0
  }
  const wrong = GROUPS.flatMap(({ names, limits }) => unmatched(names, limits))
  if (wrong.length > 0) {
    console.error(`bench:check: the tables of limits are not complete: ${wrong.join('; ')}`)
    return 2
  }
  const failures: string[] = []
  for (const group of GROUPS) failures.push(...(await check(group)))
  if (failures.length === 0) return 0
  console.error(
    `\nbench:check: ${failures.length} of what is measured became worse, and stayed so when measured again:`
  )
  for (const line of failures) console.error(`  ${line}`)
  return 1
}

process.exitCode = await main(process.argv.slice(2))
