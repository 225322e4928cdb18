/**
 * Runs the rows of a question: for each row, for each round, each contestant once, in an order that rotates by round.
 *
 * A machine that is slow for ten seconds is then slow for everybody, and nobody is always first.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runTask } from './child-process.ts'
import type { Answer, ContestantOutcome, RoundFigure, RowOutcome, Task } from './outcome.ts'
import type { Question, Row, Scale } from './question.ts'

export interface Plan {
  readonly question: Question
  /** URL of its module, for the children. */
  readonly module: string
  readonly rows: readonly { readonly row: Row; readonly contestants: readonly string[] }[]
  readonly scale: Scale
  readonly rounds: number
  /** On the disk under test; ours to fill and empty. */
  readonly scratch: string
  readonly timeLimitMs: number
  readonly interrupted: AbortSignal
}

/** Told of each step before it starts and of each figure when it is there. */
export interface Observer {
  started(step: Step): void
  ended(step: Step, answer: Answer): void
}

export interface Step {
  readonly question: string
  readonly row: Row
  readonly contestant: string
  /** `undefined` for a preparation. */
  readonly round: number | undefined
  readonly rounds: number
}

/** How many steps `measureRows` takes if nothing fails. */
export function stepCount(plan: Plan): number {
  const preparations = plan.question.prepare === undefined ? 0 : 1
  const stepsOf = (row: Row): number => roundsOf(row, plan.rounds) + preparations
  return plan.rows.reduce((sum, { row, contestants }) => sum + contestants.length * stepsOf(row), 0)
}

/** A row may say in its parameters that fewer rounds do: where nothing varies, or one takes minutes. */
export function roundsOf({ params }: Pick<Row, 'params'>, rounds: number): number {
  return Math.min(rounds, Number(params['rounds'] ?? rounds))
}

/** Rotates to the left: in round 1 nothing, in round 2 the second comes first. */
export function rotated<T>(items: readonly T[], by: number): T[] {
  const first = items.length === 0 ? 0 : by % items.length
  return [...items.slice(first), ...items.slice(0, first)]
}

export async function measureRows(plan: Plan, observer: Observer): Promise<RowOutcome[]> {
  const outcomes: RowOutcome[] = []
  for (const { row, contestants } of plan.rows) {
    if (plan.interrupted.aborted) break
    const runs = contestants.map(name => new ContestantRun(plan, row, name, observer))
    try {
      for (const run of runs) await run.prepare()
      for (let round = 1; round <= roundsOf(row, plan.rounds); round++)
        for (const run of rotated(runs, round - 1)) await run.measure(round)
    } finally {
      for (const run of runs) await run.removeKept()
    }
    const { id, title, unit, better, params, goals = [] } = row
    outcomes.push({ id, title, unit, better, params, goals, contestants: runs.map(run => run.outcome()) })
  }
  return outcomes
}

/** One contestant in one row, from its preparation to its last round. */
class ContestantRun {
  readonly #plan: Plan
  readonly #row: Row
  readonly #name: string
  readonly #observer: Observer
  readonly #directory: string
  readonly #kept: string
  #state: ContestantOutcome['state'] = 'measured'
  #reason: string | undefined
  #version: string | undefined
  #settings: string | undefined
  readonly #rounds: RoundFigure[] = []
  readonly #notes = new Set<string>()

  constructor(plan: Plan, row: Row, name: string, observer: Observer) {
    this.#plan = plan
    this.#row = row
    this.#name = name
    this.#observer = observer
    this.#directory = join(plan.scratch, 'run')
    this.#kept = join(plan.scratch, 'kept', name)
  }

  async prepare(): Promise<void> {
    await mkdir(this.#kept, { recursive: true })
    if (this.#plan.question.prepare !== undefined) await this.#run('prepare', undefined)
  }

  async measure(round: number): Promise<void> {
    if (this.#state !== 'measured') return
    const answer = await this.#run('measure', round)
    if (!('measurement' in answer)) return
    const { value, extras, settings, note } = answer.measurement
    this.#rounds.push({ round, value, ...(extras === undefined ? {} : { extras }) })
    this.#version = answer.version
    this.#settings = settings
    if (note !== undefined) this.#notes.add(note)
  }

  removeKept(): Promise<void> {
    return rm(this.#kept, { recursive: true, force: true })
  }

  outcome(): ContestantOutcome {
    return {
      name: this.#name,
      state: this.#state,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      rounds: this.#rounds,
      ...(this.#version === undefined ? {} : { version: this.#version }),
      ...(this.#settings === undefined ? {} : { settings: this.#settings }),
      notes: [...this.#notes]
    }
  }

  async #run(task: Task['task'], round: number | undefined): Promise<Answer> {
    const { question, module, scale, timeLimitMs, interrupted } = this.#plan
    const rounds = roundsOf(this.#row, this.#plan.rounds)
    const step: Step = { question: question.name, row: this.#row, contestant: this.#name, round, rounds }
    this.#observer.started(step)
    await mkdir(this.#directory)
    const names = { row: this.#row.id, contestant: this.#name, scale: scale.name, round: round ?? 0 }
    const folders = { directory: this.#directory, kept: this.#kept }
    const answer = await runTask({ task, module, ...names, ...folders }, { timeLimitMs, interrupted })
    await rm(this.#directory, { recursive: true, force: true })
    if ('missing' in answer) this.#giveUp('missing', answer.missing)
    if ('error' in answer) this.#giveUp('failed', answer.error)
    this.#observer.ended(step, answer)
    return answer
  }

  #giveUp(state: 'missing' | 'failed', reason: string): void {
    this.#state = state
    this.#reason = reason
  }
}
