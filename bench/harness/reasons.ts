/** Why a goal is missed: bench/missed-goals.json, written by hand, shown beside the goal in RESULTS.md. Pure. */
import type { Verdict } from './statistics.ts'

/** Reasons by the words of a goal: `P5 scan 100B-cursor against ceiling`, or just its first words: `P5 scan`. */
export type Reasons = Readonly<Record<string, string>>

/** The reason with the most words of those that the goal's id begins with. */
export function reasonFor(id: string, reasons: Reasons): string | undefined {
  const keys = Object.keys(reasons).filter(key => isAbout(key, id))
  const longest = keys.sort((a, b) => b.length - a.length)[0]
  return longest === undefined ? undefined : reasons[longest]
}

/** What is wrong with the reasons, in lines for whoever writes them: goals without one, and reasons without a goal. */
export function reasonWarnings(verdicts: readonly Verdict[], reasons: Reasons): string[] {
  const missed = verdicts.filter(({ stands }) => stands === 'missed').map(({ id }) => id)
  const idle = Object.keys(reasons).filter(key => !missed.some(id => isAbout(key, id)))
  const open = missed.filter(id => reasonFor(id, reasons) === undefined)
  return [
    ...idle.map(key => `missed-goals.json: '${key}' is no goal that is missed`),
    ...open.map(id => `missed and without a reason in missed-goals.json: '${id}'`)
  ]
}

function isAbout(key: string, id: string): boolean {
  return id === key || id.startsWith(`${key} `)
}
