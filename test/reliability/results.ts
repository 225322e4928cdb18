/**
 * Makes test/reliability/RESULTS.md out of what the lanes measured.
 *
 *     node dist/test/reliability/results.js [FOLDER]
 *
 * FOLDER is what $HEARTWOOD_RELIABILITY was when the lanes ran. Their figures are gathered in RESULTS.json first, with
 * the versions, the date and the commit; without FOLDER the page is made again from there.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { projectRoot } from '../helpers/paths.ts'
import type { LaneFigures } from './figures.ts'

export const HERE = join(projectRoot, 'test', 'reliability')

export interface Results {
  readonly date: string
  readonly commit: string
  readonly node: string
  readonly kernel: string
  readonly cores: number
  readonly lanes: readonly LaneFigures[]
}

export interface Defect {
  readonly what: string
  /** How to see it again where chance found it; null where a plain test does. */
  readonly seed: string | null
  readonly since: string
  /** Commit. */
  readonly mended: string
  readonly test: string
}

/** How each lane is run; one that is not named here, by the script of its name's first word. */
const COMMANDS: Readonly<Record<string, string>> = {
  'crash-points': 'npm run test:reliability',
  'power-cuts-ext4': 'npm run test:reliability',
  'power-cuts-xfs': 'npm run test:reliability',
  faults: 'npm run test:reliability',
  damage: 'npm run test:reliability',
  'fs-comparison': 'npm run test:reliability',
  'fuzz-decoders': 'npm run test:fuzz-decoders',
  mutants: 'npm run test:simulation',
  'simulated-crash-points': 'npm run test:simulation',
  soak: 'npm run soak -- --minutes 2'
}

const HOW_TO_READ = [
  'What is tried: a store is written to, and something ends it, at every kind of moment: its process is killed, the power goes, the disk fails, a file is damaged. Then it is opened again, and held against a list, kept elsewhere, of what had been acknowledged, and how safely. A line of the first table says how often that was done in one run, the second one what was found wrong (nothing, or the lane fails, and with it the run). The third table has what was found wrong before, and mended.',
  '',
  'Three kinds of evidence stand beside each other. In the **simulator** the compiled engine runs on a disk in memory that forgets, fails and lies by a seed: many histories, each to be seen again, but only as true as its disk; so that disk is compared with a real one (`fs-comparison`), and the simulator is shown engines with one fault each, all of which it has to find (`mutants`). **Real processes on real file systems** are killed and cut off: fewer, but nothing is imagined. **Damage and hostile input** is put into files byte by byte.',
  '',
  'Not tried: disks that lie about a finished sync on real hardware (in the simulator they are: what they lose is beyond anybody), other file systems than ext4, XFS and tmpfs, other systems than Linux, and many months of use.'
]

export function pageOf(results: Results, defects: readonly Defect[]): string {
  const { date, commit, node, kernel, cores, lanes } = results
  const lines = [
    '# What was tried, and what was found',
    '',
    'Made by `test/reliability/results.ts` from what the lanes measured; nothing here is typed by hand.',
    '',
    ...HOW_TO_READ,
    '',
    `Run on ${date} at commit ${commit}: Node ${node}, Linux ${kernel}, ${cores} cores. All of it is part of \`.ci/run\`; to measure again:`,
    '',
    '```sh',
    'HEARTWOOD_RELIABILITY=$PWD/figures .ci/run reliability simulation fuzz-decoders',
    'node dist/test/reliability/results.js figures',
    '```',
    '',
    '| | goal | found | what the figure means | run by |',
    '|---|---:|---:|---|---|'
  ]
  for (const lane of lanes) {
    const command = COMMANDS[lane.lane] ?? `npm run test:${lane.lane.split('-')[0]}`
    for (const { name, goal, found, unit, meaning } of lane.figures)
      lines.push(`| ${name} | ${amount(goal, unit)} | ${amount(found, unit)} | ${cell(meaning)} | \`${command}\` |`)
  }
  lines.push('', '| lane | seconds | seed | found wrong |', '|---|---:|---:|---:|')
  for (const { lane, seconds, seed, defects } of lanes) lines.push(`| ${lane} | ${seconds} | ${seed} | ${defects} |`)
  lines.push(
    '',
    'A goal is for one run of the lanes. Where there is none, the figure says how much was looked at.',
    '',
    '## Defects',
    '',
    'Found by these lanes and by the tests before them, each with the test that fails without its mending; `open` is what is known and not mended. There was no release yet, so that none of them has reached anybody.',
    '',
    '| what | seed | since | mended in | test |',
    '|---|---|---|---|---|'
  )
  for (const { what, seed, since, mended, test } of defects)
    lines.push(`| ${cell(what)} | ${seed ?? 'a plain test shows it'} | ${since} | ${mended} | \`${test}\` |`)
  return `${lines.join('\n')}\n`
}

function amount(value: number | null, unit: string): string {
  if (value === null) return ''
  const digits = value.toLocaleString('en-US')
  return unit === '' ? digits : `${digits} ${unit}`
}

const cell = (text: string): string => text.replaceAll('|', '\\|')

function gather(folder: string): Results {
  const names = readdirSync(folder).filter(name => name.endsWith('.json'))
  const lanes = names.sort().map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')) as LaneFigures)
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: projectRoot, encoding: 'utf8' }).trim()
  const date = new Date().toISOString().slice(0, 10)
  return {
    date,
    commit,
    node: process.version,
    kernel: /^[\d.]+/.exec(os.release())?.[0] ?? os.release(),
    cores: os.availableParallelism(),
    lanes
  }
}

export function readResults(): { results: Results; defects: readonly Defect[]; page: string } {
  const text = (name: string): string => readFileSync(join(HERE, name), 'utf8')
  return {
    results: JSON.parse(text('RESULTS.json')),
    defects: JSON.parse(text('defects.json')),
    page: text('RESULTS.md')
  }
}

function main(folder: string | undefined): void {
  const json = join(HERE, 'RESULTS.json')
  if (folder !== undefined) writeFileSync(json, `${JSON.stringify(gather(folder), undefined, 2)}\n`)
  const results = JSON.parse(readFileSync(json, 'utf8')) as Results
  const defects = JSON.parse(readFileSync(join(HERE, 'defects.json'), 'utf8')) as Defect[]
  writeFileSync(join(HERE, 'RESULTS.md'), pageOf(results, defects))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(process.argv[2])
