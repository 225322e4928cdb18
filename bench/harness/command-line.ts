/**
 * The runner: which questions, on which disk, and what becomes of the figures.
 *
 * Exit status: 0 all ran (a goal that is missed is a result, not a failure), 1 a measurement of heartwood or of a
 * ceiling failed, 2 wrong usage, 128 + number of the signal when interrupted.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { measureRows, type Plan, stepCount } from './interleave.ts'
import { type Facts, factLines, gatherFacts } from './machine.ts'
import { isRival, type Section } from './outcome.ts'
import { type Progress, showProgress } from './progress.ts'
import type { Question, Row } from './question.ts'
import { loadQuestion, moduleOf, projectRoot, questionNames } from './questions.ts'
import { writeResults } from './results.ts'
import { SCALES } from './scales.ts'
import { footLines, missingRivals, renderTable, rowTable } from './table.ts'
import { parseArguments, type Request, UsageError } from './usage.ts'

export interface Surroundings {
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WriteStream
  readonly interrupted: AbortSignal
  /** Where the modules of the questions are. */
  readonly questionFolder: string
  /** Where `--results` go: bench/ of the project. */
  readonly resultsFolder: string
}

type Selected = Plan['rows'][number]

export async function runCommandLine(args: readonly string[], around: Surroundings): Promise<number> {
  try {
    const parsed = await parseArguments(args, around.stderr.columns ?? 100)
    if ('help' in parsed) {
      around.stdout.write(`${parsed.help}\n`)
      return 0
    }
    const { request } = parsed
    if (request.list) return await list(request, around)
    const questions = await chosenQuestions(request, around.questionFolder)
    return await measure(request, select(request, questions), around)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    around.stderr.write(`bench: ${error.message}\n`)
    return 2
  }
}

async function chosenQuestions(request: Request, folder: string): Promise<Question[]> {
  const known = questionNames(folder)
  const there = `there are: ${known.join(', ')}, and all`
  if (request.questions.length === 0) throw new UsageError(`which question? ${there}`)
  for (const name of request.questions)
    if (name !== 'all' && !known.includes(name)) throw new UsageError(`no question '${name}'; ${there}`)
  const names = request.questions.includes('all') ? known : [...new Set(request.questions)]
  return Promise.all(names.map(name => loadQuestion(folder, name)))
}

async function list(request: Request, { stdout, questionFolder }: Surroundings): Promise<number> {
  const names = request.questions.length === 0 ? ['all'] : request.questions
  for (const question of await chosenQuestions({ ...request, questions: names }, questionFolder)) {
    stdout.write(`${question.name}: ${question.asks}\n`)
    for (const row of question.rows(scaleOf(request))) {
      const goals = [...new Set((row.goals ?? []).map(({ name }) => name))]
      stdout.write(`    ${row.id}  ${row.title}${goals.length === 0 ? '' : ` [${goals.join(', ')}]`}\n`)
      stdout.write(`        ${row.contestants.join(', ')}\n`)
    }
  }
  return 0
}

/** Rows and contestants that `--rows` and `--only` leave; questions without any are left out. */
function select(request: Request, questions: readonly Question[]): Map<Question, readonly Selected[]> {
  const all = questions.map(question => ({ question, rows: question.rows(scaleOf(request)) }))
  const pattern = request.rows
  const matches = pattern === undefined ? () => true : rowMatcher(pattern)
  const rowIds = all.flatMap(({ rows }) => rows.map(({ id }) => id))
  if (!rowIds.some(matches)) throw new UsageError(`no row matches '${pattern}'; there are: ${rowIds.join(', ')}`)
  const contestants = [...new Set(all.flatMap(({ rows }) => rows.flatMap(row => row.contestants)))]
  for (const name of request.only ?? [])
    if (!contestants.includes(name))
      throw new UsageError(`no contestant '${name}'; there are: ${contestants.join(', ')}`)
  const kept = (row: Row): readonly string[] =>
    row.contestants.filter(name => request.only === undefined || request.only.includes(name))
  const selected = new Map<Question, readonly Selected[]>()
  for (const { question, rows } of all) {
    const chosen = rows.filter(row => matches(row.id) && kept(row).length > 0)
    if (chosen.length > 0)
      selected.set(
        question,
        chosen.map(row => ({ row, contestants: kept(row) }))
      )
  }
  if (selected.size === 0) throw new UsageError(`none of the rows has ${request.only?.join(' or ')}`)
  return selected
}

/** `*` stands for anything; without one, a part of the name is enough. */
export function rowMatcher(pattern: string): (id: string) => boolean {
  const wild = pattern.includes('*') ? pattern : `*${pattern}*`
  const escaped = wild.split('*').map(part => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  const expression = new RegExp(`^${escaped.join('.*')}$`, 'i')
  return id => expression.test(id)
}

async function measure(
  request: Request,
  selected: Map<Question, readonly Selected[]>,
  around: Surroundings
): Promise<number> {
  if (request.json !== undefined) await touch(request.json)
  const parent = resolve(request.dir ?? tmpdir())
  const scratch = await mkdtemp(join(parent, 'heartwood-bench-'))
  try {
    const facts = gatherFacts(scratch, projectRoot)
    if (request.dir === undefined)
      around.stderr.write(`no --dir: measuring ${parent}, which is on ${facts.volume.fileSystem}\n`)
    around.stdout.write(
      `${factLines(facts)
        .map(([what, fact]) => `${what}: ${fact}\n`)
        .join('')}\n`
    )
    const plans = [...selected].map(([question, rows]) => planFor(request, question, rows, scratch, around))
    const sections = await runPlans(plans, facts, around)
    if (request.json !== undefined) await writeFile(request.json, `${JSON.stringify({ sections }, null, 2)}\n`)
    if (around.interrupted.aborted) return 130
    if (request.results) report(around, sections)
    return sections.some(failed) ? 1 : 0
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Before measuring for minutes, see that the figures can be kept. */
async function touch(path: string): Promise<void> {
  try {
    await writeFile(path, '', { flag: 'a' })
  } catch (error) {
    throw new UsageError(`--json ${path} cannot be written: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function report({ stdout, stderr, questionFolder, resultsFolder }: Surroundings, sections: readonly Section[]): void {
  const warnings = writeResults(resultsFolder, sections, questionNames(questionFolder))
  for (const warning of warnings) stderr.write(`${warning}\n`)
  stdout.write(`written: ${join(resultsFolder, 'RESULTS.md')}\n`)
}

function planFor(
  request: Request,
  question: Question,
  rows: readonly Selected[],
  scratch: string,
  { questionFolder, interrupted }: Surroundings
): Plan {
  const module = moduleOf(questionFolder, question.name)
  const { rounds, timeLimitMs } = request
  return { question, module, rows, scale: scaleOf(request), rounds, scratch, timeLimitMs, interrupted }
}

async function runPlans(plans: readonly Plan[], facts: Facts, around: Surroundings): Promise<Section[]> {
  const sections: Section[] = []
  for (const plan of plans) {
    if (around.interrupted.aborted) break
    const progress: Progress = showProgress(around.stderr, stepCount(plan))
    const date = new Date().toISOString()
    const rows = await measureRows(plan, progress).finally(() => progress.stop())
    const { name, asks, about, curve } = plan.question
    const { scale, rounds } = plan
    const shape = curve === undefined ? {} : { curve }
    const section = { question: name, asks, about, ...shape, scale: scale.name, rounds, date, facts, rows }
    sections.push(section)
    if (!around.interrupted.aborted) around.stdout.write(describeSection(section))
  }
  return sections
}

function describeSection({ question, asks, rows, rounds }: Section): string {
  const lines = [`${question}: ${asks}`, '']
  for (const row of rows) {
    lines.push(`${row.id}: ${row.title} (${row.unit}, ${row.better} is better)`, renderTable(rowTable(row)))
    lines.push(...footLines(question, row, rounds).map(line => `  ${line}`), '')
  }
  const missing = missingRivals(rows)
  if (missing.length > 0)
    lines.push(`not installed: ${missing.join(', ')} (npm ci --prefix bench installs all rivals)`, '')
  return `${lines.join('\n')}\n`
}

/** Ours must not fail; a rival may. */
function failed({ rows }: Section): boolean {
  return rows.some(row => row.contestants.some(({ name, state }) => state !== 'measured' && !isRival(name)))
}

function scaleOf(request: Request): (typeof SCALES)['full'] {
  return request.quick ? SCALES.quick : SCALES.full
}
