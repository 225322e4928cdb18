/** What a row looks like to people: the same cells for the terminal and for RESULTS.md. */
import CliTable from 'cli-table3'
import { figure, quotient, spread } from './format.ts'
import { type ContestantOutcome, isRival, type RowOutcome } from './outcome.ts'
import { figuresOf, judge, ratio, type Summary, summarize, type Verdict } from './statistics.ts'

export interface Table {
  readonly head: readonly string[]
  readonly lines: readonly (readonly string[])[]
}

/** A line for each contestant that was measured; who was not is in `absences`. */
export function rowTable(row: RowOutcome): Table {
  const measured = row.contestants.filter(({ state }) => state === 'measured')
  const extras = [
    ...new Set(measured.flatMap(({ rounds }) => rounds.flatMap(round => Object.keys(round.extras ?? {}))))
  ]
  const heartwood = measured.find(({ name }) => name === 'heartwood')
  const compared = heartwood !== undefined && measured.length > 1
  const head = ['contestant', row.unit, 'spread', ...(compared ? ['heartwood / it'] : []), ...extras]
  const lines = row.contestants.map(contestant => {
    if (contestant.state !== 'measured')
      return [contestant.name, shortReason(contestant), ...head.slice(2).map(() => '')]
    const main = summarize(figuresOf(contestant))
    const quotients = compared ? [contestant === heartwood ? '' : median(ratio(heartwood, contestant), quotient)] : []
    const further = extras.map(name => median(summarize(figuresOf(contestant, name)), figure))
    return [contestant.name, median(main, figure), main === undefined ? '' : spread(main), ...quotients, ...further]
  })
  return { head, lines }
}

export function renderTable({ head, lines }: Table): string {
  const table = new CliTable({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right'))
  })
  for (const line of lines) table.push([...line])
  return table.toString()
}

/** `P1 >= 0.8 x ceiling: reached, 0.91 (0.88 to 0.93)`. */
export function describeVerdict(verdict: Verdict, { few: tooFew }: { readonly few: boolean }): string {
  const { stands, measured } = verdict
  const few = tooFew && measured !== undefined ? '; a goal is judged by five rounds or more' : ''
  const result = measured === undefined ? '' : `, ${measuredText(verdict, measured)}`
  return `${verdict.goal.name} ${aim(verdict)}: ${stands}${result}${few}`
}

export function measuredText({ goal }: Verdict, measured: Summary): string {
  // Limits of figures may have three digits: one more shows on which side of it a figure is.
  const format = goal.against === undefined ? (value: number): string => figure(value, 4) : quotient
  return `${format(measured.median)} (${spread(measured, format)})`
}

/** What is asked: `>= 0.8 x ceiling`, `<= 20 ms`, `p99 us <= 2 x best rival (lmdb)`. */
export function aim({ goal, better, against, unit }: Verdict): string {
  const who = goal.against === 'best rival' && against !== undefined ? `best rival (${against})` : goal.against
  const of = goal.of === undefined || goal.of === 'heartwood' ? '' : `${goal.of} `
  const what = goal.figure === undefined ? '' : `${goal.figure} `
  const limit = `${goal.limit.toLocaleString('en')}${unit === undefined ? '' : ` ${unit}`}`
  return `${of}${what}${better === 'more' ? '>=' : '<='} ${limit}${who === undefined ? '' : ` x ${who}`}`
}

/** Under the table: goals, settings with versions, notes, and who is not there and why. */
export function footLines(question: string, row: RowOutcome, rounds: number): string[] {
  // A row that asks for fewer rounds is judged by those.
  const few = rounds < Math.min(5, Number(row.params['rounds'] ?? 5))
  const lines = row.goals.map(goal => describeVerdict(judge(question, row, goal), { few }))
  for (const contestant of row.contestants) {
    const { name, version, settings, notes, state, reason } = contestant
    const title = version === undefined ? name : `${name} ${version}`
    if (state === 'failed') lines.push(`${name} failed: ${reason}`)
    if (state === 'missing') lines.push(`${name} is left out: ${reason}`)
    if (settings !== undefined) lines.push(`${title}: ${settings}`)
    else if (version !== undefined) lines.push(title)
    for (const note of notes) lines.push(`${name}: ${note}`)
  }
  return lines
}

/** Rivals that were left out because their package is not there. */
export function missingRivals(rows: readonly RowOutcome[]): string[] {
  const missing = rows.flatMap(row => row.contestants.filter(({ state, name }) => state === 'missing' && isRival(name)))
  return [...new Set(missing.map(({ name }) => name))]
}

function shortReason({ state, reason = '' }: ContestantOutcome): string {
  if (state === 'missing') return 'not installed'
  const first = reason.split('\n')[0] ?? ''
  return `failed: ${first.length > 60 ? `${first.slice(0, 59)}…` : first}`
}

function median(summary: Summary | undefined, format: (value: number) => string): string {
  return summary === undefined ? '' : format(summary.median)
}
