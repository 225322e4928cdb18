/** What a run of `heartwood bench` found, for people: tables with bars, and what it means. */
import type { BenchReport, Row, RowId } from '../disk-bench/report.ts'
import { inWords, type SyncVerdict } from '../disk-bench/verdict.ts'
import { bar, deviceInWords, figure, machineInWords, megabytes, size, volumeInWords, wrapped } from './bench-format.ts'
import type { Context } from './common.ts'
import { type Alignment, printTable } from './table.ts'

/** Of paragraphs, in columns. */
export const WIDTH = 100

/** Rows that are memory's business: a bar of theirs would leave nothing of the device's. */
const MEMORY: ReadonlySet<RowId> = new Set(['sequential-write-cached', 'sequential-read-warm', 'random-read-warm'])

export const SYNC_IN_WORDS: Readonly<Record<SyncVerdict, string>> = {
  absent: 'does nothing',
  'too-fast': 'is too fast to be honest',
  undecidable: 'may be honest or not',
  plausible: 'is believable'
}

const LEVELS: Readonly<Record<BenchReport['durability']['level'], string>> = {
  batch: 'This disk can afford batch: every acknowledgement waits for its sync.',
  interval: 'This disk can afford interval: one sync a second, and a power cut takes what came since.',
  none: 'This disk can afford none only: what a power cut leaves is up to the system.'
}

function levelInWords({ sync, durability }: BenchReport): string {
  return sync.verdict === 'absent' ? 'Choose none.' : LEVELS[durability.level]
}

export async function printReport(report: BenchReport, context: Context): Promise<void> {
  const { device, machine, rows, sync, durability } = report
  const { out } = context
  const line = (name: string, text: string): void => {
    void out.write(`${name.padEnd(13)}${wrapped(text, WIDTH, ' '.repeat(13))}\n`)
  }
  line('directory', report.dir)
  line('file system', volumeInWords(device))
  line('device', deviceInWords(device))
  line('machine', machineInWords(machine))
  line('run', `${report.date}, ${size(report.sizeBytes)}, ${report.quick ? 'quick, ' : ''}${report.seconds} s`)

  const notes = new Notes()
  const disk = rows.filter(row => row.part === 'disk')
  const syncs = disk.filter(row => row.id.startsWith('sync-'))
  await out.write('\nThe disk alone, sequential beside random\n')
  await printThroughput(
    disk.filter(row => !syncs.includes(row)),
    notes,
    context
  )
  await out.write('\nThe disk alone: one fdatasync, behind an append and behind overwriting old blocks\n')
  await printSyncs(syncs, notes, context)
  await out.write('\nheartwood on it, beside what the disk does for the same work\n')
  await printEngine(
    rows.filter(row => row.part === 'engine'),
    notes,
    context
  )
  for (const note of notes.lines) await out.write(`${wrapped(note, WIDTH, '   ')}\n`)

  await out.write('\nWhat it means\n')
  line('fdatasync', [`Its sync ${SYNC_IN_WORDS[sync.verdict]}.`, ...sync.because].join(' '))
  line('durability', [levelInWords(report), ...durability.because].join(' '))
}

/** Remarks on rows, numbered where the row is named; rows with the same remark share it. */
class Notes {
  readonly #texts: string[] = []

  named(row: Row): string {
    if (row.note === undefined) return row.name
    let at = this.#texts.indexOf(row.note)
    if (at < 0) at = this.#texts.push(row.note) - 1
    return `${row.name} [${at + 1}]`
  }

  get lines(): string[] {
    return this.#texts.map((text, at) => `[${at + 1}] ${text}`)
  }
}

const NUMBERS = (before: number, numbers: number): Alignment[] => [
  ...Array<Alignment>(before).fill('left'),
  ...Array<Alignment>(numbers).fill('right')
]

async function printThroughput(rows: readonly Row[], notes: Notes, context: Context): Promise<void> {
  const most = Math.max(...rows.filter(row => !MEMORY.has(row.id)).map(row => row.bytesPerSecond))
  await printTable(
    context,
    ['', 'cache', 'MB/s', 'per s', 'p50', 'p99', 'longest', 'MB/s of the device'],
    rows.map(row => [
      notes.named(row),
      row.cache ?? '',
      megabytes(row.bytesPerSecond),
      figure(row.perSecond),
      ...latencyCells(row),
      MEMORY.has(row.id) ? '' : bar(row.bytesPerSecond / most)
    ]),
    NUMBERS(2, 5)
  )
}

async function printSyncs(rows: readonly Row[], notes: Notes, context: Context): Promise<void> {
  const most = Math.max(...rows.map(row => row.latency?.p50Us ?? 0))
  await printTable(
    context,
    ['', 'MB/s', 'syncs/s', 'p50', 'p99', 'longest', 'p50'],
    rows.map(row => [
      notes.named(row),
      megabytes(row.bytesPerSecond),
      figure(row.perSecond),
      ...latencyCells(row),
      bar((row.latency?.p50Us ?? 0) / most)
    ]),
    NUMBERS(1, 5)
  )
}

async function printEngine(rows: readonly Row[], notes: Notes, context: Context): Promise<void> {
  await printTable(
    context,
    ['', 'cache', 'MB/s', 'records/s', 'p50', 'p99', 'share', '', "of the disk's"],
    rows.map(row => [
      notes.named(row),
      row.cache ?? '',
      megabytes(row.bytesPerSecond),
      figure(row.perSecond),
      ...latencyCells(row).slice(0, 2),
      row.limit === undefined ? '' : percent(row.limit.ratio),
      row.limit === undefined ? '' : bar(row.limit.ratio, 10),
      row.limit?.name ?? ''
    ]),
    NUMBERS(2, 5)
  )
}

function percent(ratio: number): string {
  return `${ratio < 0.1 ? (ratio * 100).toFixed(1) : Math.round(ratio * 100)} %`
}

function latencyCells({ latency }: Row): [string, string, string] {
  if (latency === undefined) return ['', '', '']
  return [inWords(latency.p50Us), inWords(latency.p99Us), inWords(latency.maxUs)]
}
