/** RESULTS.md as text. Pure. */
import { GOALS, LATER } from './goals.ts'
import { roundsOf } from './interleave.ts'
import { factLines } from './machine.ts'
import { isRival, type RowOutcome, type Section } from './outcome.ts'
import { type Reasons, reasonFor } from './reasons.ts'
import { type Verdict, verdictsOf } from './statistics.ts'
import { aim, footLines, measuredText, rowTable, type Table } from './table.ts'

const OPENING = `# Results of the bench suite

Written by \`npm run bench -- QUESTION... --results\`, never by hand; [RESULTS.json](RESULTS.json) has each figure of each round. How to run it on your own disk: [README.md](../README.md), "Bench suite".

A figure depends on the machine; a ratio of two that were measured side by side does so much less. So goals are ratios: in each round heartwood's figure is divided by that of the *ceiling* (a bare loop that does the same work and nothing else) or of the best rival (the one with the best median), and the median of the rounds counts. In brackets stand the least and the greatest round. Each section says on which machine, when and from which commit it was measured.
`

export interface PageParts {
  readonly reasons: Reasons
  /** Questions that have a chart in charts/. */
  readonly charts: ReadonlySet<string>
}

export function resultsPage(sections: readonly Section[], { reasons, charts }: PageParts): string {
  const parts = [OPENING, '## Where the goals stand\n', goalTable(sections, reasons)]
  for (const section of sections) parts.push(sectionText(section, charts.has(section.question)))
  return parts.join('\n')
}

function goalTable(sections: readonly Section[], reasons: Reasons): string {
  const verdicts = verdictsOf(sections)
  const lines = GOALS.flatMap(([name, says]) => {
    const own = verdicts.filter(({ goal }) => goal.name === name)
    if (own.length === 0) return [[`**${name}** ${says}`, '', '', '', LATER[name] ?? 'not measured yet', '']]
    return own.map((verdict, index) => goalLine(verdict, index === 0 ? `**${name}** ${says}` : '', reasons))
  })
  const reached = verdicts.filter(({ stands }) => stands === 'reached').length
  const missed = verdicts.filter(({ stands }) => stands === 'missed').length
  const count = `${verdicts.length} comparisons: ${reached} reached, ${missed} missed, ${verdicts.length - reached - missed} not measured.`
  return `${markdownTable({ head: ['goal', 'row', 'aim', 'measured', 'stands', 'reason'], lines }, 'left')}\n${count}\n`
}

function goalLine(verdict: Verdict, title: string, reasons: Reasons): string[] {
  const { id, stands, measured, question, row } = verdict
  const reason = stands === 'missed' ? (reasonFor(id, reasons) ?? 'none is written down') : ''
  const result = measured === undefined ? '' : measuredText(verdict, measured)
  return [
    title,
    `[${question}](#${question}) ${row}`,
    aim(verdict),
    result,
    stands === 'missed' ? '**missed**' : stands,
    reason
  ]
}

function sectionText(section: Section, hasChart: boolean): string {
  const { question, asks, about, date, facts, rounds, scale, rows } = section
  const machine = factLines(facts).map(([what, fact]) => `${what}: ${fact}`)
  const parts = [
    `## ${question}\n\n${asks} ${about}\n`,
    `*${date.slice(0, 10)}, ${rounds} interleaved rounds${scale === 'quick' ? ', a quick run' : ''}. ${machine.join('; ')}.*\n`
  ]
  if (hasChart) parts.push(`![${question}](charts/${question}.svg)\n`)
  for (const row of rows) parts.push(rowText(question, row, rounds))
  return parts.join('\n')
}

function rowText(question: string, row: RowOutcome, rounds: number): string {
  const table = rowTable(row)
  const notes = footLines(question, row, rounds).map(line => `- ${inline(line.split('\n')[0] ?? '')}`)
  const left = row.contestants.some(({ name, state }) => state === 'missing' && isRival(name))
  const more = left
    ? '\n\nNot installed on the machine that was measured: `npm ci --prefix bench` installs all rivals.'
    : ''
  const foot =
    notes.length === 0
      ? ''
      : `\n<details><summary>goals, settings, notes</summary>\n\n${notes.join('\n')}${more}\n\n</details>\n`
  const own = roundsOf(row, rounds)
  const fewer = own === rounds ? '' : `, ${own} ${own === 1 ? 'round' : 'rounds'}`
  return `### ${row.id}\n\n${row.title} (${row.unit}, ${row.better} is better${fewer})\n\n${markdownTable(table)}${foot}`
}

/** The first column to the left, the others, which are figures, to the right; or all to the left. */
export function markdownTable({ head, lines }: Table, align: 'left' | 'right' = 'right'): string {
  const cells = (line: readonly string[]): string => `| ${line.map(inline).join(' | ')} |`
  const rule = `|${head.map((_, column) => (column === 0 || align === 'left' ? '---' : '---:')).join('|')}|`
  return `${[cells(head), rule, ...lines.map(cells)].join('\n')}\n`
}

/** Neither a bar that ends the cell nor a `<` that begins a tag. */
function inline(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\s+/g, ' ')
}
