/**
 * Counts the tests in TAP, for `.ci/run`.
 *
 *     node --import tsx test/lanes/count-tap.ts FILE.tap…
 *
 * prints `PASSED FAILED SKIPPED` and, on stderr, one line for each test that failed or was skipped, and below that what
 * was found.
 *
 * What is counted is the innermost `test()`, once, whatever the number of its assertions: it passed when
 * nothing in it failed. Each point that says SKIP or TODO is one skipped, and never a passed one. A file or
 * an outer test that failed although everything counted in it passed (a time limit, an exit status, a plan
 * that was not met, a missing file) is one failure more. TAP that ends early, or that is not TAP, is a failure.
 */
import { readFileSync } from 'node:fs'
import { Parser, type Result } from 'tap-parser'

const MOST_LINES_FOUND = 12

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly failures: readonly Failure[]
  readonly skips: readonly { readonly name: string; readonly reason: string }[]
}

/** One `test()`, or the whole document. */
interface Level {
  readonly name: string
  readonly children: Level[]
  /** Assertions, and tests that were skipped as a whole; not the points that close the children. */
  readonly points: Point[]
  /** The verdict its parent gave it; `undefined` for the document, and for what the TAP breaks off in. */
  verdict?: Point
}

interface Failure {
  /** Outermost test first. */
  readonly name: string
  /** What was found, in a few lines. */
  readonly found: string
}

interface Point {
  readonly name: string
  readonly found: string
  readonly ok: boolean
  /** Why it was not run; empty when no reason was given; `undefined` when it was run. */
  readonly reason: string | undefined
}

/** Counts the tests in one TAP document. */
export function countTap(tap: string): Counts {
  const top: Level = { name: '', children: [], points: [] }
  const parser = new Parser({ strict: false })
  let sound = true
  parser.on('complete', (results: { ok: boolean }) => {
    sound = results.ok
  })
  listen(parser, top)
  parser.end(tap)
  const total = count(top)
  // The parser's own verdict also covers what no point shows: no plan, a count below the plan, a bail-out.
  const empty = total.passed + total.failed + total.skipped === 0
  if ((sound && !empty) || total.failed > 0) return total
  return {
    ...total,
    failed: 1,
    failures: [{ name: 'the TAP itself', found: 'it is empty, ends early, or its plan is not met' }]
  }
}

function listen(parser: Parser, level: Level): void {
  let open: Level | undefined
  parser.on('child', (child: Parser) => {
    open = { name: child.name, children: [], points: [] }
    level.children.push(open)
    listen(child, open)
  })
  parser.on('assert', (result: Result) => {
    const skip = result.skip === false ? result.todo : result.skip
    const reason = skip === false ? undefined : skip === true ? '' : skip
    const point = { name: result.name, ok: result.ok, reason, found: excerpt(result.diag) }
    // The first point after a child is the one that closes it.
    if (open === undefined) level.points.push(point)
    else open.verdict = point
    open = undefined
  })
}

/** The part of a failure's diagnostics that says what differed, and where. */
function excerpt(diagnostics: unknown): string {
  const { diff, stack, error, message } = (diagnostics ?? {}) as Record<string, unknown>
  const lines = [message, error, diff, stack].flatMap(part =>
    typeof part === 'string' ? part.trimEnd().split('\n') : []
  )
  return lines.slice(0, MOST_LINES_FOUND).join('\n')
}

function count(level: Level): Counts {
  const below = level.children.map(child => count(child))
  const skips = level.points.filter(point => point.reason !== undefined)
  const broken = level.points.filter(point => point.reason === undefined && !point.ok)
  const innermost = level.children.length === 0 && level.points.length > skips.length
  let passed = innermost && broken.length === 0 ? 1 : 0
  let failed = innermost ? Math.min(broken.length, 1) : broken.length
  for (const counts of below) {
    passed += counts.passed
    failed += counts.failed
  }
  const failures = [...below.flatMap(counts => counts.failures), ...broken]
  if (failed === 0 && level.verdict !== undefined && !level.verdict.ok && level.verdict.reason === undefined) {
    failed = 1
    if (innermost) passed = 0
    failures.push({ name: 'failed as a whole', found: level.verdict.found })
  }
  const prefix = (name: string) => (level.name === '' ? name : `${level.name} > ${name}`)
  return {
    passed,
    failed,
    skipped: below.reduce((total, counts) => total + counts.skipped, skips.length),
    failures: failures.map(({ name, found }) => ({ name: prefix(name), found })),
    skips: [...below.flatMap(counts => counts.skips), ...skips].map(skip => ({
      name: prefix(skip.name),
      reason: skip.reason ?? ''
    }))
  }
}

function main(files: readonly string[]): void {
  const counts = files.map(file => countTap(readFileSync(file, 'utf8')))
  for (const { name, found } of counts.flatMap(one => one.failures)) {
    console.error(`failed: ${name}${found.replace(/^/gm, '    ').replace(/^ {4}/, '\n    ')}`)
  }
  for (const skip of counts.flatMap(one => one.skips)) console.error(`skipped: ${skip.name} # ${skip.reason}`)
  const sum = (pick: (one: Counts) => number) => counts.reduce((total, one) => total + pick(one), 0)
  console.log(`${sum(one => one.passed)} ${sum(one => one.failed)} ${sum(one => one.skipped)}`)
}

if (process.argv[1]?.includes('count-tap') === true && process.argv.length > 2) main(process.argv.slice(2))
