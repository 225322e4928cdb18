/**
 * Searches every decoder, led by coverage, each in a process of its own, two at a time.
 *
 *     HEARTWOOD_FUZZ_SECONDS=60 HEARTWOOD_SEED=7 npm run test:fuzz-decoders
 *
 * 60 seconds a decoder unless said otherwise. What it kept of a search goes to $HEARTWOOD_FUZZ_CORPUS, a folder, if that
 * is set; copy what is new there to `test/fixtures/fuzz`.
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { SEED } from '../helpers/seed.ts'
import { writeFigures } from '../reliability/figures.ts'
import type { Report } from './guided.child.ts'
import { TARGETS } from './targets.ts'

const SECONDS = Number(process.env['HEARTWOOD_FUZZ_SECONDS'] ?? 60)
/** Processes at the same time. */
const JOBS = 2
const corpusFolder = process.env['HEARTWOOD_FUZZ_CORPUS']
const program = fileURLToPath(new URL(`./guided.child${extname(import.meta.url)}`, import.meta.url))

t.jobs = JOBS
t.setTimeout((TARGETS.length * (SECONDS + 60) + 60) * 1000)

const reports: Report[] = []
const begun = performance.now()

for (const { name } of TARGETS) {
  t.test(`${name}: ${SECONDS} s without a defect (seed ${SEED})`, { buffered: true }, async t => {
    const args = [...process.execArgv, program, name, String(SECONDS), String(SEED)]
    if (corpusFolder !== undefined) mkdirSync(corpusFolder, { recursive: true })
    const child = spawn(process.execPath, corpusFolder === undefined ? args : [...args, corpusFolder])
    const { status, stdout, stderr } = await finished(child)
    t.equal(status, 0, stderr.slice(-2000))
    const report = JSON.parse(stdout) as Report
    reports.push(report)
    t.comment(JSON.stringify({ ...report, defects: report.defects.length }))
    t.ok(report.runs > 0 && report.reached > 0)
    t.same(report.defects, [])
  })
}

t.teardown(() => {
  const sum = (pick: (report: Report) => number): number => reports.reduce((total, report) => total + pick(report), 0)
  writeFigures({
    lane: 'fuzz-decoders',
    seconds: Math.round((performance.now() - begun) / 1000),
    seed: SEED,
    figures: [
      {
        name: 'decoders searched for defects, led by coverage',
        goal: TARGETS.length,
        found: reports.length,
        unit: '',
        meaning: 'Batch, record, each codec, indexes, snapshot, checkpoints, side-cars, input of the command line.'
      },
      {
        name: 'search of each decoder',
        goal: 60,
        found: Math.floor(Math.min(...reports.map(({ seconds }) => seconds))),
        unit: 's',
        meaning: 'HEARTWOOD_FUZZ_SECONDS, two decoders at a time; .ci/run takes 30, to leave room for other lanes.'
      },
      {
        name: 'inputs tried',
        goal: null,
        found: sum(({ runs }) => runs),
        unit: '',
        meaning: 'Each was decoded or refused with an error of a known code, within the bounds on memory and time.'
      },
      {
        name: 'ranges of code reached',
        goal: null,
        found: sum(({ reached }) => reached),
        unit: '',
        meaning: 'Blocks of the decoders as V8 counts them, told apart by how often one ran.'
      }
    ],
    defects: sum(({ defects }) => defects.length)
  })
})
