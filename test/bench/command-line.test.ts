/** The runner from its arguments to its tables, with questions whose figures are made up. */
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { rowMatcher, runCommandLine } from '../../bench/harness/command-line.ts'
import { rotated } from '../../bench/harness/interleave.ts'
import type { Section } from '../../bench/harness/outcome.ts'
import { tempDir } from '../helpers/paths.ts'

const questionFolder = join(dirname(fileURLToPath(import.meta.url)), 'questions')

interface Run {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function bench(t: Tap, args: readonly string[], signal = new AbortController().signal): Promise<Run> {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const status = await runCommandLine(args, {
    stdout,
    stderr: stderr as unknown as NodeJS.WriteStream,
    interrupted: signal,
    questionFolder,
    resultsFolder: await tempDir(t)
  })
  return { status, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
}

type Tap = Parameters<typeof tempDir>[0]

function sectionOf(path: string): Section {
  const { sections } = JSON.parse(readFileSync(path, 'utf8')) as { sections: Section[] }
  return sections[0] as Section
}

t.test('wrong usage is told in a line, with what there is', async t => {
  const folder = await tempDir(t)
  const file = fileURLToPath(import.meta.url)
  const cases: [string[], RegExp][] = [
    [[], /which question\? there are: small, toy, and all/],
    [['nonsense'], /no question 'nonsense'; there are: small, toy, and all/],
    [['toy', '--rows', 'nonsense'], /no row matches 'nonsense'; there are: sound, troubled, broken/],
    [['toy', '--only', 'nobody'], /no contestant 'nobody'; there are: heartwood, ceiling-toy/],
    [['toy', '--rows', 'sound', '--only', 'hangs'], /none of the rows has hangs/],
    [['toy', '--nonsense'], /nonsense/],
    [['toy', '--rounds', '0'], /--rounds wants a whole number from 1/],
    [['toy', '--rounds', '1.5'], /--rounds wants a whole number/],
    [['toy', '--time-limit', 'x'], /--time-limit wants a whole number/],
    [['toy', '--dir', join(folder, 'nowhere')], /does not exist/],
    [['toy', '--dir', file], /is no folder/],
    [['toy', '--json', join(folder, 'nowhere', 'x')], /cannot be written/],
    [['toy', '--results', '--quick'], /--results wants whole questions/],
    [['toy', '--results', '--rounds', '4'], /--results wants whole questions/]
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await bench(t, args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, message)
    t.equal(stderr.trim().split('\n').length, 1)
    t.equal(stdout, '')
  }
})

t.test('the list has each question with its rows, their goals and contestants', async t => {
  const { status, stdout } = await bench(t, ['--list'])
  t.equal(status, 0)
  t.match(stdout, 'toy: Does the runner work?')
  t.match(stdout, 'sound  everybody answers [P1]')
  t.match(stdout, 'heartwood, ceiling-toy, steady, slow')
})

t.test('a row is chosen by a part of its name, or by a pattern that fits all of it', async t => {
  const rows = ['100B-x1', '100B-x100', '1KiB-x100']
  t.same(rows.filter(rowMatcher('x100')), ['100B-x100', '1KiB-x100'])
  t.same(rows.filter(rowMatcher('100B*')), ['100B-x1', '100B-x100'])
  t.same(rows.filter(rowMatcher('*x1')), ['100B-x1'])
  t.same(rows.filter(rowMatcher('.')), [], 'no regular expression')
})

t.test('rounds are interleaved, and a different one begins each', async t => {
  t.same(
    [0, 1, 2, 3].map(by => rotated(['a', 'b', 'c'], by).join('')),
    ['abc', 'bca', 'cab', 'abc']
  )
  const { stderr } = await bench(t, ['toy', '--rows', 'sound', '--only', 'heartwood,steady', '--rounds', '2'])
  const order = [...stderr.matchAll(/round (\d)\/2 (\w+)/g)].map(match => `${match[1]} ${match[2]}`)
  t.same(order, ['1 heartwood', '1 steady', '2 steady', '2 heartwood'])
})

t.test('every figure of every round is in the JSON, and nothing is left on the disk', async t => {
  const dir = await tempDir(t)
  const json = join(await tempDir(t), 'out.json')
  const { status, stdout } = await bench(t, ['toy', '--rows', 'sound', '--rounds', '3', '--dir', dir, '--json', json])
  t.equal(status, 0)
  t.same(readdirSync(dir), [])
  const { rows, rounds, facts, question } = sectionOf(json)
  t.same([question, rounds], ['toy', 3])
  const heartwood = rows[0]?.contestants.find(({ name }) => name === 'heartwood')
  t.same(
    heartwood?.rounds,
    [1, 2, 3].map(round => ({ round, value: 100 * round, extras: { 'p99 us': round } }))
  )
  t.equal(heartwood?.settings, 'settings of heartwood')
  t.match(heartwood?.version, /^\d/)
  t.same(heartwood?.notes, ['made up'], 'once, not once a round')
  t.match(facts.machine.kernel, /./)
  // 100 / 125 in each round, and 100 / 50.
  t.match(stdout, /P1 >= 0\.8 x ceiling-toy: reached, 0\.800/)
  t.match(stdout, /P1 >= 2\.5 x best rival \(steady\): missed, 2\.00.*a goal is judged by five rounds/)
})

t.test('a row goes on without those who fail, hang or are not installed', async t => {
  const json = join(await tempDir(t), 'out.json')
  const args = ['toy', '--rows', 'troubled', '--rounds', '2', '--time-limit', '3', '--json', json]
  const { status, stdout } = await bench(t, args)
  t.equal(status, 0, 'rivals may fail')
  const outcomes = Object.fromEntries(
    (sectionOf(json).rows[0]?.contestants ?? []).map(({ name, state, reason }) => [name, [state, reason]])
  )
  t.same(outcomes['heartwood'], ['measured', undefined])
  t.match(outcomes['throws'], ['failed', /no such luck/])
  t.match(outcomes['dies'], ['failed', /SIGKILL/])
  t.match(outcomes['hangs'], ['failed', 'took longer than 3 s'])
  t.match(outcomes['garbles'], ['failed', /without an answer/])
  t.match(outcomes['late'], ['failed', /tired/])
  t.match(outcomes['absent'], ['missing', /npm ci --prefix bench/])
  t.match(stdout, /not installed: absent \(npm ci --prefix bench/)
})

t.test('when a measurement of ours fails, the run has failed', async t => {
  t.equal((await bench(t, ['toy', '--rows', 'broken', '--rounds', '1'])).status, 1)
})

t.test('an interruption ends the measurement that runs and removes the scratch folder', async t => {
  const dir = await tempDir(t)
  const interruption = new AbortController()
  const args = ['toy', '--rows', 'troubled', '--only', 'hangs', '--rounds', '1', '--dir', dir]
  const running = bench(t, args, interruption.signal)
  while (!existsSync(join(dir, readdirSync(dir)[0] ?? 'none yet', 'run', 'left behind')))
    await new Promise(resolve => setTimeout(resolve, 20))
  interruption.abort()
  t.equal((await running).status, 130)
  t.same(readdirSync(dir), [])
})

t.test('results are written where they belong', async t => {
  const stdout = new PassThrough()
  const folder = mkdtempSync(join(await tempDir(t), 'results-'))
  const status = await runCommandLine(['small', '--results'], {
    stdout,
    stderr: new PassThrough() as unknown as NodeJS.WriteStream,
    interrupted: new AbortController().signal,
    questionFolder,
    resultsFolder: folder
  })
  t.equal(status, 0)
  const page = readFileSync(join(folder, 'RESULTS.md'), 'utf8')
  t.match(page, '## small')
  t.match(page, 'failed: Error: no such luck')
})
