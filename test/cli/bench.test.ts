/** `heartwood bench`: real runs, small ones, and what is said when there can be none. */
import { existsSync, statfsSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { type BenchReport, ROW_IDS } from '../../lib/disk-bench/report.ts'
import { finished, start } from '../helpers/binary.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

const SMALL = ['--quick', '--size', String(16 * 1024 * 1024)]
const isTmpfs = (dir: string): boolean => existsSync(dir) && statfsSync(dir).type === 0x01021994

function check(t: Test, report: BenchReport): void {
  t.match(report, { kind: 'heartwood-bench', version: 1, quick: true, sizeBytes: 16 * 1024 * 1024 })
  t.same(
    report.rows.map(row => row.id),
    ROW_IDS
  )
  for (const row of report.rows) {
    t.ok(row.operations > 0 && row.bytes > 0 && row.seconds > 0, `${row.id} measured something`)
    t.ok(Math.abs(row.perSecond / (row.operations / row.seconds) - 1) < 0.01, `${row.id}: rate and count agree`)
    const { latency } = row
    if (latency !== undefined) t.ok(latency.p50Us <= latency.p99Us && latency.p99Us <= latency.maxUs, row.id)
    if (row.part === 'engine') t.ok((row.limit?.ratio ?? 0) > 0, `${row.id} stands beside the disk`)
  }
  const latencies = report.rows.filter(row => row.latency !== undefined).map(row => row.id)
  t.same(
    latencies,
    ROW_IDS.filter(id => /^(random|sync|durable)/.test(id))
  )
}

test('a run measures the disk and the engine, says what it means, and leaves nothing behind', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'mine'), 'kept')
  const saved = join(await tempDir(t), 'saved.json')
  const { status, stdout, stderr } = await run(['bench', '--dir', dir, ...SMALL, '--save', saved])
  t.equal(stderr, `Saved to ${saved}.\n`)
  t.equal(status, 0)
  for (const text of ['The disk alone', 'heartwood on it', 'What it means', 'fdatasync', 'durability', '█'])
    t.ok(stdout.includes(text), text)
  t.same(await readdir(dir), ['mine'])
  const report = JSON.parse(await readFile(saved, 'utf8')) as BenchReport
  check(t, report)

  const other = join(await tempDir(t), 'other.json')
  const [first, ...rows] = report.rows
  const slower = rows.map(row => ({ ...row, perSecond: row.perSecond / 2, bytesPerSecond: row.bytesPerSecond / 2 }))
  await writeFile(other, JSON.stringify({ ...report, rows: slower }))
  const compared = await run(['bench', '--compare', saved, other, '--json'])
  t.equal(compared.status, 0)
  const [comparison] = compared.json()
  t.match(comparison, { kind: 'heartwood-bench-comparison', version: 1, files: [saved, other] })
  const figures = comparison?.['figures'] as Record<string, unknown>[]
  t.match(figures[0], { id: first?.id, values: [first?.bytesPerSecond, null], ratio: null, better: null })
  const sync = figures.filter(one => one['id'] === 'sync-append-4k')
  t.match(sync, [
    { figure: 'perSecond', ratio: 0.5, better: 'first' },
    { figure: 'p50Us', ratio: 1, better: 'equal' },
    { figure: 'p99Us', ratio: 1, better: 'equal' }
  ])
  const shown = await run(['bench', '--compare', saved, other])
  t.match(shown.stdout, /sequential write, 1 MiB, into memory .*not measured/)
  t.match(shown.stdout, /append 4 KiB and sync .*2\.00 x slower/)
})

test('JSON is the report on one line', async t => {
  const dir = await tempDir(t)
  const { status, json, stderr } = await run(['bench', '--dir', dir, ...SMALL, '--json'])
  t.equal(stderr, '')
  t.equal(status, 0)
  const lines = json()
  t.equal(lines.length, 1)
  check(t, lines[0] as unknown as BenchReport)
})

if (isTmpfs('/dev/shm')) {
  test('tmpfs: nothing is cold, and its sync is known to do nothing', async t => {
    const [report] = (await run(['bench', '--dir', '/dev/shm', ...SMALL, '--json'])).json()
    const { rows, sync, durability } = report as unknown as BenchReport
    t.same([sync.verdict, durability.level], ['absent', 'none'])
    t.same([...new Set(rows.flatMap(row => row.cache ?? []))], ['warm'])
    t.match(rows.find(row => row.id === 'sequential-read-cold')?.note, /memory is all the device it has/)
  })
}

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143]
] as const) {
  test(`${signal} ends a run with status ${expected} and nothing left`, async t => {
    const dir = await tempDir(t)
    // A whole run at this size takes seconds: the signal comes while it measures.
    const child = start(['bench', '--dir', dir, '--size', String(64 * 1024 * 1024)], { stdio: 'pipe' })
    const ended = finished(child)
    while ((await readdir(dir)).length === 0 && child.exitCode === null) await new Promise(done => setTimeout(done, 20))
    child.kill(signal)
    const { status, stdout, stderr } = await ended
    t.same({ status, stdout, stderr }, { status: expected, stdout: '', stderr: '' })
    t.same(await readdir(dir), [])
  })
}

test('what cannot be measured is refused with a code, and nothing is made', async t => {
  const dir = await tempDir(t)
  const file = join(dir, 'file')
  await writeFile(file, '{"kind":"something else"}')
  const later = join(dir, 'later.json')
  await writeFile(later, '{"kind":"heartwood-bench","version":2}')
  const empty = join(dir, 'empty.json')
  await writeFile(empty, '{"kind":"heartwood-bench","version":1}')
  const before = (await readdir(dir)).sort()
  const cases: [string[], RegExp][] = [
    [['--dir', `${dir}/none`], /INVALID_REQUEST: there is no directory .*\/none: name one on the disk/],
    [['--dir', file], /INVALID_REQUEST: .*\/file is not a directory/],
    [['--dir', dir, '--size', String(2 ** 52)], /NO_SPACE: .* MiB free and \d+ MiB are needed: .*--size or --quick/],
    [['--dir', dir, '--save', `${dir}/none/a.json`], /INVALID_REQUEST: there is no directory .*\/none to save to/],
    [['--dir', dir, '--save', dir], /INVALID_REQUEST: --save .* is a directory/],
    [['--compare', file, file], /INVALID_REQUEST: .*\/file is not a file that "heartwood bench --save" wrote/],
    [['--compare', dir, file], /INVALID_REQUEST: .* is not a file that/],
    [['--compare', later, later], /UNSUPPORTED_VERSION: .*later.json is a report of version 2, .*reads version 1/],
    [['--compare', empty, empty], /INVALID_REQUEST: .*empty.json lacks fields/],
    [['--compare', `${dir}/none`, file], /INVALID_REQUEST: there is no file .*none/]
  ]
  for (const [args, line] of cases) {
    const { status, stdout, stderr } = await run(['bench', ...args])
    t.equal(status, 1, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, line)
    t.match(stderr, /^heartwood: .*\n$/, 'one line')
  }
  t.same((await readdir(dir)).sort(), before)
})

test('wrong usage is status 2', async t => {
  const cases: [string[], RegExp][] = [
    [[], /bench takes one --dir to measure, or --compare and two files/],
    [['--dir', 'a', '--dir', 'b'], /bench takes one --dir/],
    [['--dir', '.', '--size', '8388607'], /--size takes a whole number from 8388608 on, not "8388607"/],
    [['--compare', 'a'], /--compare takes two files, not 1/],
    [['--compare', 'a', 'b', 'c'], /--compare takes two files, not 3/],
    [['--compare', 'a', 'b', '--dir', '.'], /--compare shows two saved files and measures nothing/],
    [['--compare', 'a', 'b', '--quick'], /--compare shows two saved files/]
  ]
  for (const [args, line] of cases) {
    const { status, stderr } = await run(['bench', ...args])
    t.equal(status, 2, args.join(' '))
    t.match(stderr, line)
  }
})

// Root may write everywhere.
if (process.getuid?.() !== 0) {
  test('a directory that may not be written is refused', async t => {
    const dir = join(await tempDir(t), 'closed')
    await mkdir(dir)
    await chmod(dir, 0o500)
    const { status, stderr } = await run(['bench', '--dir', dir, ...SMALL])
    t.equal(status, 1)
    t.match(stderr, /^heartwood: PERMISSION_DENIED: cannot make a folder in /)
  })
}

test('what a killed run left is named, and stays', async t => {
  const dir = await tempDir(t)
  await mkdir(join(dir, 'heartwood-bench-aB3dE6'))
  const { status, stderr } = await run(['bench', '--dir', dir, ...SMALL, '--json'])
  t.equal(status, 0)
  t.match(stderr, /^heartwood: heartwood-bench-aB3dE6 in .*left by one that was killed.*\n$/)
  t.same(await readdir(dir), ['heartwood-bench-aB3dE6'])
})
