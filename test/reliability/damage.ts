/** Damages small data directories, in processes of their own, and sums up what opening and reading them said. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { finished } from '../helpers/binary.ts'

export interface DamageCounts {
  /** Answers that were wrong without a word, errors without a type, and the like. */
  readonly wrong: number
  /** By kind of file and damage, then by outcome. */
  readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** What the processes said of what was wrong. */
  readonly said: string
}

/** @param step - of the places only every step-th is damaged. */
export async function damageAll({ seed, processes, step }: { seed: number; processes: number; step: number }) {
  const path = fileURLToPath(new URL(`./damage.child${import.meta.url.slice(-3)}`, import.meta.url))
  const counts: Record<string, Record<string, number>> = {}
  const said: string[] = []
  let wrong = 0
  await Promise.all(
    Array.from({ length: processes }, async (_, part) => {
      const args = [path, seed, part, processes, step].map(String)
      const { stdout, stderr } = await finished(spawn(process.execPath, [...process.execArgv, ...args]))
      said.push(stderr)
      // A process that broke off says nothing here, and that is wrong too.
      const found = JSON.parse(stdout || '{ "wrong": 1, "counts": {} }') as DamageCounts
      wrong += found.wrong
      for (const [kind, outcomes] of Object.entries(found.counts)) {
        const sums = (counts[kind] ??= {})
        for (const [outcome, count] of Object.entries(outcomes)) sums[outcome] = (sums[outcome] ?? 0) + count
      }
    })
  )
  return { wrong, counts, said: said.join('') } satisfies DamageCounts
}

/** Of all kinds of files, or of those whose kind ends so. */
export function sumOf({ counts }: DamageCounts, outcome?: string, damage = ''): number {
  return Object.entries(counts)
    .filter(([kind]) => kind.endsWith(damage))
    .flatMap(([, outcomes]) => Object.entries(outcomes))
    .filter(([name]) => outcome === undefined || name === outcome)
    .reduce((sum, [, count]) => sum + count, 0)
}
