/** What a run leaves behind: the shapes of `--json` and of RESULTS.json. Everything else is worked out from these. */
import type { Facts } from './machine.ts'
import type { Goal, Measurement, Question, Row } from './question.ts'

/** One contestant's figure in one round. */
export interface RoundFigure {
  /** Counted from 1. */
  readonly round: number
  readonly value: number
  readonly extras?: Readonly<Record<string, number>>
}

export interface ContestantOutcome {
  readonly name: string
  /** `missing`: a rival whose package is not installed. `failed`: the row went on without it. */
  readonly state: 'measured' | 'failed' | 'missing'
  /** Why it failed or what to install. */
  readonly reason?: string
  readonly rounds: readonly RoundFigure[]
  readonly version?: string
  readonly settings?: string
  readonly notes: readonly string[]
}

export interface RowOutcome extends Pick<Row, 'id' | 'title' | 'unit' | 'better' | 'params'> {
  readonly goals: readonly Goal[]
  readonly contestants: readonly ContestantOutcome[]
}

/** One question's answer, with all that is needed to judge it: where, when, and what code. */
export interface Section extends Pick<Question, 'asks' | 'about' | 'curve'> {
  readonly question: string
  readonly scale: 'quick' | 'full'
  readonly rounds: number
  /** ISO 8601, when the section's first measurement began. */
  readonly date: string
  readonly facts: Facts
  readonly rows: readonly RowOutcome[]
}

/** What a child process prints, as one line of JSON. */
export type Answer =
  | { readonly measurement: Measurement; readonly version?: string }
  | { readonly prepared: true }
  | { readonly missing: string }
  | { readonly error: string }

/** What a child process is asked, as its one argument. */
export interface Task {
  readonly task: 'prepare' | 'measure'
  /** URL of the question's module. */
  readonly module: string
  readonly row: string
  readonly contestant: string
  readonly scale: 'quick' | 'full'
  readonly round: number
  readonly directory: string
  readonly kept: string
}

/** heartwood and the bare loops are ours; all others are rivals. */
export function isRival(contestant: string): boolean {
  return !contestant.startsWith('heartwood') && !contestant.startsWith('ceiling')
}
