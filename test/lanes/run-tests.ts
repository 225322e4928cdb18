/**
 * Runs test files, each in a process of its own, two at a time, and puts their TAP together.
 *
 *     node dist/test/lanes/run-tests.js [--jobs=N] [--timeout=SECONDS] [--output-file=FILE.tap] [FILE…]
 *
 * Without files: every `*.test.js` of `dist/test`. A line for each file, and below it what failed in it, with what was
 * found; the TAP of all goes to the output file, which `count-tap.ts` reads. The exit status is 0 when nothing failed.
 * A file fails too if it ends early, without its plan, without a test, or with an exit status.
 *
 * tap's own runner does as much, but gives each process its loaders (TypeScript, mocks, coverage, source maps), and
 * what a test starts inherits them. The files are JavaScript and need none: native-notes/development.md.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Counts, countTap } from './count-tap.ts'

/** How long a process may take to end by itself after it was told that its time is over, ms. */
const GRACE_MS = 3000

interface Outcome {
  readonly file: string
  readonly counts: Counts
  readonly tap: string
  readonly seconds: number
}

interface Ended {
  readonly tap: string
  /** What went wrong with the process itself. */
  readonly problem: string | undefined
}

const running = new Set<ChildProcess>()

/**
 * Runs one file. tap in it tells of a time limit of its own (`t.setTimeout`) through the channel, and is told there
 * when its time is over, whereupon it says what it was waiting for.
 */
function run(file: string, timeoutMs: number): Promise<Ended> {
  return new Promise(settle => {
    const key = `heartwood-${process.pid}`
    const child = spawn(process.execPath, [file], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: { ...process.env, TAP: '1', TAP_CHILD_ID: '0', TAP_CHILD_KEY: key, TAP_TIMEOUT: String(timeoutMs / 1000) }
    })
    running.add(child)
    const chunks: Buffer[] = []
    let problem: string | undefined
    let timer = setTimeout(expire, timeoutMs)
    function expire(): void {
      problem = 'time limit'
      child.send({ tapAbort: 'timeout', key, child: '0' }, () => {})
      timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
    }
    child.on('message', (message: { setTimeout?: unknown } | null) => {
      if (typeof message?.setTimeout !== 'number' || problem !== undefined) return
      clearTimeout(timer)
      timer = setTimeout(expire, message.setTimeout)
    })
    child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.on('error', error => {
      problem = error.message
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      running.delete(child)
      if (problem === undefined && (status !== 0 || signal !== null)) problem = `ended with ${signal ?? status}`
      settle({ tap: Buffer.concat(chunks).toString(), problem })
    })
  })
}

/** The TAP of one file as a subtest, and the point that closes it; of one that is skipped as a whole, the point. */
function nested(file: string, number: number, { tap, problem }: Ended, ms: number): string {
  const skip = /^1\.\.0 # (?:SKIP )?(.*)$/im.exec(tap)
  if (skip !== null && problem === undefined) return `ok ${number} - ${file} # SKIP ${skip[1]}\n`
  const lines = tap.split('\n').filter(line => line !== '' && !/^TAP version \d+$/.test(line))
  const body = `# Subtest: ${file}\n${lines.map(line => `    ${line}\n`).join('')}`
  if (problem === undefined && countTap(tap).failed === 0) return `${body}ok ${number} - ${file} # time=${ms}ms\n`
  const why = JSON.stringify(problem ?? 'a test failed, there was none, or the plan is not met')
  return `${body}not ok ${number} - ${file}\n  ---\n  message: ${why}\n  ...\n`
}

async function runOne(file: string, number: number, timeoutMs: number): Promise<Outcome> {
  const begun = performance.now()
  const ended = await run(file, timeoutMs)
  const ms = Math.round(performance.now() - begun)
  const name = relative(process.cwd(), file)
  const counts = countTap(`TAP version 14\n${nested(name, 1, ended, ms)}1..1\n`)
  return { file, tap: nested(name, number, ended, ms), counts, seconds: ms / 1000 }
}

function show({ file, counts, seconds }: Outcome): void {
  const { passed, failed, skipped } = counts
  const skips = skipped === 0 ? '' : `, ${skipped} skipped`
  const fails = failed === 0 ? '' : `, ${failed} FAILED`
  console.log(`${seconds.toFixed(1).padStart(6)} s  ${relative(process.cwd(), file)}: ${passed} passed${skips}${fails}`)
  for (const { name, found } of counts.failures) console.log(`${name}\n${found}`.replace(/^/gm, '          '))
}

async function testFiles(): Promise<string[]> {
  const top = resolve(fileURLToPath(import.meta.url), '..', '..')
  const names = await readdir(top, { recursive: true })
  return names
    .filter(name => name.endsWith('.test.js'))
    .sort()
    .map(name => join(top, name))
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      jobs: { type: 'string', default: '2' },
      timeout: { type: 'string', default: '120' },
      'output-file': { type: 'string' }
    }
  })
  const files = positionals.length === 0 ? await testFiles() : positionals.map(file => resolve(file))
  const missing = files.find(file => !existsSync(file))
  if (missing !== undefined || files.length === 0) throw new Error(`there is no ${missing ?? 'test'}`)
  const outcomes: Outcome[] = []
  const waiting = files.entries()
  const worker = async (): Promise<void> => {
    for (const [index, file] of waiting) {
      const outcome = await runOne(file, index + 1, Number(values.timeout) * 1000)
      outcomes[index] = outcome
      show(outcome)
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs) }, worker))
  const tap = `TAP version 14\n${outcomes.map(outcome => outcome.tap).join('')}1..${files.length}\n`
  if (values['output-file'] !== undefined) await writeFile(values['output-file'], tap)
  const sum = (pick: (counts: Counts) => number): number =>
    outcomes.reduce((total, { counts }) => total + pick(counts), 0)
  const failed = sum(counts => counts.failed)
  console.log(`${sum(counts => counts.passed)} passed, ${failed} failed, ${sum(counts => counts.skipped)} skipped`)
  return failed === 0 ? 0 : 1
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143]
] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGKILL')
    process.exit(status)
  })
}

process.exitCode = await main()
