/**
 * bench/RESULTS.json, from which RESULTS.md and the charts are made: a section for each question, replaced when that
 * question is measured again. Nothing of it is edited by hand but missed-goals.json, which says why a goal is missed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderChart } from './charts.ts'
import type { Section } from './outcome.ts'
import { type Reasons, reasonWarnings } from './reasons.ts'
import { resultsPage } from './results-page.ts'
import { verdictsOf } from './statistics.ts'

/**
 * @param folder - bench/ of the project.
 * @param measured - replace the sections of their questions.
 * @param questions - names of all questions there are: sections of others are dropped.
 * @param draw - throws `RivalMissing` where the package for charts is not installed: old charts stay then.
 * @returns what the person at the terminal has to know: charts that could not be drawn, reasons that fit no goal.
 */
export function writeResults(
  folder: string,
  measured: readonly Section[],
  questions: readonly string[],
  draw: (section: Section) => string = renderChart
): string[] {
  const sections = merge(readSections(folder), measured).filter(({ question }) => questions.includes(question))
  const reasons = readReasons(folder)
  writeFileSync(join(folder, 'RESULTS.json'), `${JSON.stringify({ sections }, null, 1)}\n`)
  const warnings = writeCharts(join(folder, 'charts'), sections, draw)
  const charts = new Set(sections.map(({ question }) => question).filter(name => existsSync(chartFile(folder, name))))
  writeFileSync(join(folder, 'RESULTS.md'), resultsPage(sections, { reasons, charts }))
  return [...warnings, ...reasonWarnings(verdictsOf(sections), reasons)]
}

/** Sorted by name. */
export function merge(before: readonly Section[], measured: readonly Section[]): Section[] {
  const byName = new Map([...before, ...measured].map(section => [section.question, section]))
  return [...byName.values()].sort((a, b) => (a.question < b.question ? -1 : 1))
}

function readSections(folder: string): Section[] {
  const path = join(folder, 'RESULTS.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { sections: Section[] }).sections : []
}

function readReasons(folder: string): Reasons {
  const path = join(folder, 'missed-goals.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Reasons) : {}
}

function chartFile(folder: string, question: string): string {
  return join(folder, 'charts', `${question}.svg`)
}

function writeCharts(folder: string, sections: readonly Section[], draw: (section: Section) => string): string[] {
  let charts: [string, string][]
  try {
    charts = sections.map(section => [`${section.question}.svg`, draw(section)])
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'RivalMissing') throw error
    return [`charts are left as they were: ${error.message}`]
  }
  mkdirSync(folder, { recursive: true })
  const wanted = new Set(charts.map(([name]) => name))
  for (const name of readdirSync(folder)) if (!wanted.has(name)) rmSync(join(folder, name))
  for (const [name, svg] of charts) writeFileSync(join(folder, name), svg)
  return []
}
