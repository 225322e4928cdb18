import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { RivalMissing, requireRival } from '../../bench/engines/load.ts'
import { renderChart } from '../../bench/harness/charts.ts'
import { figure, quotient } from '../../bench/harness/format.ts'
import { reasonFor, reasonWarnings } from '../../bench/harness/reasons.ts'
import { merge, writeResults } from '../../bench/harness/results.ts'
import { resultsPage } from '../../bench/harness/results-page.ts'
import { verdictsOf } from '../../bench/harness/statistics.ts'
import { rowTable } from '../../bench/harness/table.ts'
import { tempDir } from '../helpers/paths.ts'
import { absent, measured, row, section } from './outcomes.ts'

const GOALS = [
  { name: 'P1', against: 'ceiling', limit: 0.8 },
  { name: 'P1', against: 'best rival', limit: 5 }
]
const ROW = row(
  [
    measured('heartwood', [9e6, 8e6, 7e6], { 'p99 us': 3 }),
    measured('ceiling', [9e6, 8e6, 7e6]),
    measured('lmdb', [3e6, 4e6, 7e6]),
    absent('better-sqlite3', 'missing', 'better-sqlite3 is not installed'),
    absent('json-lines', 'failed', 'Error: a | b\n    at somewhere')
  ],
  GOALS
)

t.test('figures have three digits, and ratios as many as their limits have', async t => {
  const figures = [0, 0.0123, 5, 12.34, 999.4, 1234.5, 9_999.4, 9_999.6, 812_345, 999_600, 7_943_210, 1.234e9]
  const shown = ['0', '0.0123', '5', '12.3', '999', '1,235', '9,999', '10 k', '812 k', '1 M', '7.94 M', '1.23 G']
  t.same(
    figures.map(value => figure(value)),
    shown
  )
  t.equal(figure(111.36, 4), '111.4')
  t.same([0.797, 2, 12.34, 1234].map(quotient), ['0.797', '2.00', '12.3', '1,234'])
})

t.test('a table has a line for everybody, also for those who failed or are not installed', async t => {
  const { head, lines } = rowTable(ROW)
  t.same(head, ['contestant', 'records/s', 'spread', 'heartwood / it', 'p99 us'])
  t.same(lines[0], ['heartwood', '8 M', '7 M to 9 M', '', '3'])
  t.same(lines[2], ['lmdb', '4 M', '3 M to 7 M', '2.00', ''])
  t.same(lines[3]?.slice(0, 2), ['better-sqlite3', 'not installed'])
  t.same(lines[4]?.slice(0, 2), ['json-lines', 'failed: Error: a | b'])
  for (const line of lines) t.equal(line.length, head.length)
})

t.test('the page opens with all goals, those without a figure too', async t => {
  const page = resultsPage([section('append', [ROW])], { reasons: { 'P1 append': 'because' }, charts: new Set() })
  const table = page.slice(page.indexOf('## Where the goals stand'), page.indexOf('## append'))
  t.match(table, /\| >= 0\.8 x ceiling \| 1\.00 \(1\.00 to 1\.00\) \| reached \| {2}\|/)
  t.match(table, /\| >= 5 x best rival \(lmdb\) \| 2\.00 \(1\.00 to 3\.00\) \| \*\*missed\*\* \| because \|/)
  t.match(table, /\*\*P12\*\* compaction.*not measured yet/)
  t.match(table, /\*\*P13\*\*.*not measured yet/)
  t.match(table, '2 comparisons: 1 reached, 1 missed, 0 not measured.')
})

t.test('a section says where, when and from which commit, and a bar in a text does not end a cell', async t => {
  const page = resultsPage([section('append', [ROW])], { reasons: {}, charts: new Set(['append']) })
  t.match(page, '2026-01-02, 5 interleaved rounds')
  t.match(page, 'CPU: Abacus, 1 core')
  t.match(page, 'commit abcdef')
  t.match(page, '![append](charts/append.svg)')
  t.match(page, 'failed: Error: a \\| b')
  const rare = resultsPage([section('append', [{ ...ROW, params: { rounds: 1 } }])], { reasons: {}, charts: new Set() })
  t.match(rare, 'more is better, 1 round)', 'a row that is measured less often than the others says so')
  t.match(page, 'none is written down', 'a goal that is missed without a reason')
})

t.test('a reason goes with the goals that begin with its words, the one with most words first', async t => {
  const reasons = { P5: 'all', 'P5 scan': 'scans', 'P5 scan 100B-cursor against ceiling': 'this' }
  t.equal(reasonFor('P5 scan 100B-cursor against ceiling', reasons), 'this')
  t.equal(reasonFor('P5 scan 100B-lazy against ceiling', reasons), 'scans')
  t.equal(reasonFor('P5 scanner', reasons), 'all', 'words, not letters')
  t.equal(reasonFor('P51 scan', reasons), undefined)
})

t.test('a reason for a goal that is not missed is told, and so is a missed goal without one', async t => {
  const verdicts = verdictsOf([section('append', [ROW])])
  t.same(reasonWarnings(verdicts, { 'P1 append 100B against best rival': 'because' }), [])
  t.same(reasonWarnings(verdicts, { 'P1 append 100B against ceiling': 'reached by now' }), [
    "missed-goals.json: 'P1 append 100B against ceiling' is no goal that is missed",
    "missed and without a reason in missed-goals.json: 'P1 append 100B against best rival'"
  ])
})

t.test('a run replaces the sections of its questions and leaves the others', async t => {
  const old = section('append', [])
  const merged = merge([old, section('scan', [])], [section('open', []), section('append', [ROW])])
  t.same(
    merged.map(({ question, rows }) => [question, rows.length]),
    [
      ['append', 1],
      ['open', 0],
      ['scan', 0]
    ]
  )
})

t.test('results are written, replaced, and forgotten with their question', async t => {
  const folder = await tempDir(t)
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  writeResults(folder, [section('append', [ROW]), section('old', [])], ['append', 'old', 'scan'])
  t.match(read('RESULTS.md'), '## old')
  writeFileSync(join(folder, 'missed-goals.json'), JSON.stringify({ 'P1 append': 'the reason' }))
  writeResults(folder, [section('scan', [row([measured('heartwood', [1])])])], ['append', 'scan'])
  const page = read('RESULTS.md')
  t.match(page, '## append')
  t.match(page, '## scan')
  t.notMatch(page, '## old')
  t.match(page, 'the reason')
  const { sections } = JSON.parse(read('RESULTS.json')) as { sections: { question: string; rows: unknown }[] }
  t.same(sections[0]?.rows, [ROW], 'each figure of each round')
})

t.test('without the package for charts the page is written all the same, and old charts stay', async t => {
  const folder = await tempDir(t)
  mkdirSync(join(folder, 'charts'))
  writeFileSync(join(folder, 'charts', 'append.svg'), 'old')
  const warnings = writeResults(folder, [section('append', [ROW]), section('scan', [])], ['append', 'scan'], () => {
    throw new RivalMissing('echarts is not installed')
  })
  t.match(warnings[0], 'charts are left as they were: echarts is not installed')
  t.equal(readFileSync(join(folder, 'charts', 'append.svg'), 'utf8'), 'old')
  const page = readFileSync(join(folder, 'RESULTS.md'), 'utf8')
  t.match(page, 'charts/append.svg')
  t.notMatch(page, 'charts/scan.svg', 'no link to a chart that is not there')
})

function whyNoCharts(): string | undefined {
  try {
    requireRival('echarts')
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const skip = whyNoCharts() ?? false

t.test('charts have no background, name everybody, and follow the reader to the dark', { skip }, async t => {
  const bars = renderChart(section('append', [ROW]))
  for (const text of ['heartwood', 'lmdb', '8 M (7 M to 9 M)', 'not installed', 'failed', '100 B records: records/s'])
    t.match(bars, `>${text}`)
  t.match(bars, 'prefers-color-scheme: dark')
  t.match(bars, '<title>append: How fast is append?</title>')
  t.notMatch(bars, /fill="(#fff|white|rgb\(255,255,255\))/, 'nothing that shines on a dark page')
})

t.test('the chart of a curve has a line for each who has figures', { skip }, async t => {
  const points = [1, 10, 100].map(batch => ({ ...ROW, params: { batch } }))
  const lines = renderChart(section('batching', points, { x: 'batch', xTitle: 'records an append' }))
  t.match(lines, '>records an append (logarithmic)<')
  t.match(lines, '>heartwood<')
  t.notMatch(lines, '>json-lines<')
})
