/** Outcomes of runs that never were, for tests of what is worked out from them. */
import type { ContestantOutcome, RowOutcome, Section } from '../../bench/harness/outcome.ts'
import type { Goal } from '../../bench/harness/question.ts'

export function measured(name: string, values: readonly number[], extras?: Record<string, number>): ContestantOutcome {
  const rounds = values.map((value, index) => ({
    round: index + 1,
    value,
    ...(extras === undefined ? {} : { extras })
  }))
  return { name, state: 'measured', rounds, notes: [] }
}

export function absent(name: string, state: 'failed' | 'missing', reason: string): ContestantOutcome {
  return { name, state, reason, rounds: [], notes: [] }
}

export function row(contestants: readonly ContestantOutcome[], goals: readonly Goal[] = [], id = '100B'): RowOutcome {
  return { id, title: '100 B records', unit: 'records/s', better: 'more', params: {}, goals, contestants }
}

export function section(question: string, rows: readonly RowOutcome[], curve?: Section['curve']): Section {
  return {
    question,
    asks: `How fast is ${question}?`,
    about: 'Limited by nothing: it is made up.',
    scale: 'full',
    rounds: 5,
    date: '2026-01-02T03:04:05.000Z',
    facts: {
      machine: {
        cpu: 'Abacus',
        cpus: 1,
        memoryBytes: 2 ** 30,
        kernel: 'Linux 1.0',
        node: 'v20.19.0',
        isVirtual: false
      },
      volume: { fileSystem: 'ext4', kind: 'local' },
      version: '0.1.0',
      commit: 'abcdef'
    },
    rows,
    ...(curve === undefined ? {} : { curve })
  }
}
