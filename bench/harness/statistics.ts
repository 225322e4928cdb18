/** Medians, ratios taken round by round, and whether a goal is reached. Pure. */
import { type ContestantOutcome, isRival, type RoundFigure, type RowOutcome, type Section } from './outcome.ts'
import type { Goal } from './question.ts'

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** `undefined` for no values. The median of an even count is the mean of the middle two. */
export function summarize(values: readonly number[]): Summary | undefined {
  if (values.length === 0) return undefined
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted[sorted.length - 1]! }
}

/** A contestant's values of one figure, in the order of rounds; `value` or absent is the main one. */
export function figuresOf(contestant: ContestantOutcome, figure = 'value'): number[] {
  if (contestant.state !== 'measured') return []
  return contestant.rounds.map(round => figureIn(round, figure)).filter(value => value !== undefined)
}

/**
 * Summary of `of / against`, a quotient for each round that both have: what slows the machine down for a round slows
 * both, so the quotients scatter less than the figures do.
 */
export function ratio(of: ContestantOutcome, against: ContestantOutcome, figure = 'value'): Summary | undefined {
  if (of.state !== 'measured' || against.state !== 'measured') return undefined
  const quotients: number[] = []
  for (const round of of.rounds) {
    const other = against.rounds.find(candidate => candidate.round === round.round)
    const top = figureIn(round, figure)
    const bottom = other === undefined ? undefined : figureIn(other, figure)
    if (top !== undefined && bottom !== undefined && bottom !== 0) quotients.push(top / bottom)
  }
  return summarize(quotients)
}

/** The rival with the best median of a figure; `undefined` where none was measured. */
export function bestRival(row: RowOutcome, figure = 'value', better = row.better): ContestantOutcome | undefined {
  let best: { contestant: ContestantOutcome; median: number } | undefined
  for (const contestant of row.contestants.filter(({ name }) => isRival(name))) {
    const median = summarize(figuresOf(contestant, figure))?.median
    if (median === undefined) continue
    if (best === undefined || (better === 'more' ? median > best.median : median < best.median))
      best = { contestant, median }
  }
  return best?.contestant
}

export interface Verdict {
  readonly goal: Goal
  readonly question: string
  /** Its id. */
  readonly row: string
  /** Names the goal in bench/missed-goals.json: `P5 scan 100B-cursor against ceiling`. */
  readonly id: string
  readonly stands: 'reached' | 'missed' | 'not measured'
  /** Of the quotients, or of the figure itself where the goal has no `against`. */
  readonly measured?: Summary
  /** Who stood on the other side: for `best rival`, which one it was. */
  readonly against?: string
  readonly better: 'more' | 'less'
  /** Of a limit on the row's main figure; further figures have theirs in their names, ratios have none. */
  readonly unit?: string
}

export function judge(question: string, row: RowOutcome, goal: Goal): Verdict {
  const better = goal.better ?? row.better
  const of = row.contestants.find(({ name }) => name === (goal.of ?? 'heartwood'))
  const other =
    goal.against === 'best rival'
      ? bestRival(row, goal.figure, better)
      : row.contestants.find(({ name }) => name === goal.against)
  let measured: Summary | undefined
  if (of !== undefined && goal.against === undefined) measured = summarize(figuresOf(of, goal.figure))
  else if (of !== undefined && other !== undefined) measured = ratio(of, other, goal.figure)
  const id = goalId(question, row.id, goal)
  const base = {
    goal,
    question,
    row: row.id,
    id,
    better,
    ...(other === undefined ? {} : { against: other.name }),
    ...(goal.against === undefined && goal.figure === undefined ? { unit: row.unit } : {})
  }
  if (measured === undefined) return { ...base, stands: 'not measured' }
  const reached = better === 'more' ? measured.median >= goal.limit : measured.median <= goal.limit
  return { ...base, stands: reached ? 'reached' : 'missed', measured }
}

export function verdictsOf(sections: readonly Section[]): Verdict[] {
  return sections.flatMap(({ question, rows }) =>
    rows.flatMap(row => row.goals.map(goal => judge(question, row, goal)))
  )
}

export function goalId(question: string, row: string, goal: Goal): string {
  const of = goal.of === undefined || goal.of === 'heartwood' ? '' : ` of ${goal.of}`
  const figure = goal.figure === undefined ? '' : ` ${goal.figure}`
  const against = goal.against === undefined ? '' : ` against ${goal.against}`
  return `${goal.name} ${question} ${row}${figure}${of}${against}`
}

function figureIn(round: RoundFigure, figure: string): number | undefined {
  return figure === 'value' ? round.value : round.extras?.[figure]
}
