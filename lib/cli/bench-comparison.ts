/** Two saved runs of `heartwood bench` side by side, for people. */
import type { BenchReport } from '../disk-bench/report.ts'
import type { ComparedFigure } from '../disk-bench/saved.ts'
import { inWords } from '../disk-bench/verdict.ts'
import { deviceInWords, figure, machineInWords, megabytes, size, wrapped } from './bench-format.ts'
import { SYNC_IN_WORDS, WIDTH } from './bench-report.ts'
import type { Context } from './common.ts'
import { printTable } from './table.ts'

const NOT_MEASURED = 'not measured'

export async function printComparison(
  files: readonly [string, string],
  reports: readonly [BenchReport, BenchReport],
  figures: readonly ComparedFigure[],
  context: Context
): Promise<void> {
  const [first, second] = reports
  const { out } = context
  for (const [at, report] of reports.entries()) {
    await out.write(`${'AB'[at]}  ${files[at]}\n`)
    for (const [name, value] of facts(report))
      await out.write(`   ${name.padEnd(12)}${wrapped(value, WIDTH, ' '.repeat(15))}\n`)
  }
  if (first.sizeBytes !== second.sizeBytes || first.quick !== second.quick)
    await out.write('The two runs were of different lengths; small differences mean nothing.\n')
  await out.write('\n')
  await printTable(
    context,
    ['', '', 'A', 'B', 'B against A'],
    figures.map(one => [
      one.name,
      unitOf(one),
      shown(one, one.values[0]),
      shown(one, one.values[1]),
      `${inComparison(one)}${one.caches === undefined ? '' : ` (${one.caches.join(' against ')})`}`
    ]),
    ['left', 'left', 'right', 'right', 'left']
  )
}

function facts(report: BenchReport): [string, string][] {
  const { date, dir, sizeBytes, quick, device, machine, sync, durability } = report
  return [
    ['run', `${date}, ${size(sizeBytes)}${quick ? ', quick' : ''}`],
    ['directory', `${dir} (${device.fileSystem})`],
    ['device', deviceInWords(device)],
    ['machine', machineInWords(machine)],
    ['fdatasync', `it ${SYNC_IN_WORDS[sync.verdict] ?? sync.verdict}`],
    ['durability', durability.level]
  ]
}

function unitOf({ figure: name, counts }: ComparedFigure): string {
  if (name === 'bytesPerSecond') return 'MB/s'
  if (name === 'perSecond') return `${counts}/s`
  return name === 'p50Us' ? 'p50' : 'p99'
}

function shown({ figure: name }: ComparedFigure, value: number | null): string {
  if (value === null) return NOT_MEASURED
  if (name === 'bytesPerSecond') return megabytes(value)
  return name === 'perSecond' ? figure(value) : inWords(value)
}

/** Of rates and of times alike: how many times as fast B is, or as slow. */
function inComparison({ ratio, better }: ComparedFigure): string {
  if (ratio === null || better === null || ratio === 0) return ''
  const times = Math.max(ratio, 1 / ratio)
  if (better === 'equal' || times < 1.005) return 'the same'
  return `${figure(times)} x ${better === 'second' ? 'faster' : 'slower'}`
}
