/**
 * Some 300 MB of real text, and as much of keys and values of any bytes as hex JSON, through `produce` and back out of
 * `consume`: identical, each process within 150 MB of memory. And a disk that is full (needs root, for the mount).
 *
 *     npm run test:real-input
 *
 * The text is what the machine has: sources and documents of node_modules and below /usr, over again where that is
 * not enough. The bytes are seeded: `SEED=7 npm run test:real-input`.
 */
import { isUtf8 } from 'node:buffer'
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Test, test } from 'tap'
import { BINARY, finished, start } from '../helpers/binary.ts'
import { projectRoot, tempDir } from '../helpers/paths.ts'

const MB = 1_000_000
const INPUT_BYTES = 300 * MB
const MAX_RSS_BYTES = 150 * MB
const LIMIT = { timeout: 550_000, skip: process.platform === 'linux' ? false : 'reads /proc' } as const

test('300 MB of real text come back byte for byte', LIMIT, async t => {
  const dir = await tempDir(t)
  const input = join(dir, 'input')
  await pipeline(realText(), createWriteStream(input))
  await throughAndBack(t, { dir, input, options: [] })
})

test('300 MB of keys and values of any bytes come back as hex JSON', LIMIT, async t => {
  const dir = await tempDir(t)
  const input = join(dir, 'input')
  const seed = Number(process.env['SEED'] ?? 1)
  t.comment(`SEED=${seed}`)
  await pipeline(hexLines(seed), createWriteStream(input))
  // What consume adds is taken off again, so that the two can be compared.
  const strip =
    /^\{"topic":"lines","partition":0,"offset":\d+,"leaderEpoch":0,"timestamp":\d+,"timestampType":"CreateTime",/gm
  await throughAndBack(t, { dir, input, options: ['--json', '--encoding', 'hex'], strip })
})

test('a disk that is full: what was written stays, and the log goes on when there is room', LIMIT, async t => {
  const dir = await tempDir(t)
  const disk = join(dir, 'disk')
  await mkdir(disk)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'pipe' })
  } catch {
    await t.test('full disk', { skip: 'mounting is not allowed here' }, () => {})
    return
  }
  t.teardown(() => execFileSync('umount', [disk]))
  const data = ['--dir', join(disk, 'data')]
  t.equal((await command(['topics', 'create', 'lines', ...data])).status, 0)
  const lines = Array.from({ length: 40_000 }, (_, i) => `line ${i} of a text that does not fit\n`)
  const full = await command(['produce', 'lines', ...data], lines.join(''))
  t.equal(full.status, 1)
  t.match(full.stderr, /^heartwood: NO_SPACE: .* records were written and stay.*\n$/)
  const stay = Number(/(\d+) records were written/.exec(full.stderr)?.[1])
  t.ok(stay > 1000, `${stay} records fitted in`)
  const kept = (await command(['consume', 'lines', ...data])).stdout
  t.equal(kept, lines.slice(0, stay).join(''))
  execFileSync('mount', ['-o', 'remount,size=4m', disk])
  const rest = await command(['produce', 'lines', ...data], lines.slice(stay).join(''))
  t.equal(rest.status, 0, rest.stderr)
  t.equal((await command(['consume', 'lines', ...data])).stdout, lines.join(''))
})

async function throughAndBack(
  t: Test,
  given: { dir: string; input: string; options: readonly string[]; strip?: RegExp }
): Promise<void> {
  const { dir, input, options, strip } = given
  const to = ['lines', '--dir', join(dir, 'data'), ...options]
  t.equal((await command(['topics', 'create', 'lines', '--dir', join(dir, 'data')])).status, 0)
  const { size } = await stat(input)

  let begun = performance.now()
  const producer = alone(['produce', ...to], { stdio: ['pipe', 'pipe', 'pipe'] })
  const writing = peakMemory(producer)
  const produced = finished(producer)
  await pipeline(createReadStream(input), producer.stdin as NodeJS.WritableStream)
  const { status, stderr } = await produced
  t.equal(status, 0, stderr)
  report(t, 'produce', size, begun, writing())

  begun = performance.now()
  const consumer = alone(['consume', ...to], { stdio: ['ignore', 'pipe', 'inherit'] })
  const reading = peakMemory(consumer)
  const ended = once(consumer, 'close')
  const back = createHash('sha256')
  let left = ''
  for await (const chunk of consumer.stdout as AsyncIterable<Buffer>) {
    if (strip === undefined) {
      back.update(chunk)
      continue
    }
    const text = left + chunk.toString('latin1')
    const whole = text.lastIndexOf('\n') + 1
    left = text.slice(whole)
    back.update(text.slice(0, whole).replace(strip, '{'), 'latin1')
  }
  t.equal((await ended)[0], 0)
  report(t, 'consume', size, begun, reading())
  const original = createHash('sha256')
  for await (const chunk of createReadStream(input)) original.update(chunk as Buffer)
  t.equal(back.digest('hex'), original.digest('hex'), 'identical')
}

/** Without the test runner's loader, which it puts into every process, and which takes 20 MB of it. */
function alone(args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('env', ['--unset=NODE_OPTIONS', ...BINARY, ...args], options)
}

function report(t: Test, what: string, bytes: number, begun: number, peak: number): void {
  const seconds = (performance.now() - begun) / 1000
  const rate = `${Math.round(bytes / MB)} MB in ${seconds.toFixed(1)} s, ${Math.round(bytes / MB / seconds)} MB/s`
  t.comment(`${what}: ${rate}, at most ${Math.round(peak / MB)} MB of memory`)
  t.ok(peak > 0 && peak <= MAX_RSS_BYTES, `${what} takes at most ${MAX_RSS_BYTES / MB} MB`)
}

/** Asks the system again and again for the largest the process has been. */
function peakMemory(child: ChildProcess): () => number {
  let peak = 0
  const look = async (): Promise<void> => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0))
  }
  const timer = setInterval(look, 20)
  child.once('exit', () => clearInterval(timer))
  return () => peak
}

async function command(args: readonly string[], input = ''): Promise<Awaited<ReturnType<typeof finished>>> {
  const child = start(args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = finished(child)
  // A command that fails early does not read all of it.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return ended
}

/** Text files of the machine, in order of their names, until it is enough; ends with a line end. */
async function* realText(): AsyncGenerator<Buffer> {
  const folders = [join(projectRoot, 'node_modules'), '/usr/share', '/usr/lib']
  let bytes = 0
  while (bytes < INPUT_BYTES) {
    for (const folder of folders) {
      for await (const path of textFiles(folder)) {
        const text = await readFile(path).catch(() => Buffer.alloc(0))
        if (!isLines(text)) continue
        yield text
        if ((bytes += text.length) >= INPUT_BYTES) return
      }
    }
    if (bytes === 0) throw new Error('there is no text on this machine')
  }
}

function isLines(text: Buffer): boolean {
  if (text.length === 0 || text.length > 4 * MB || text.at(-1) !== 0x0a || !isUtf8(text)) return false
  // Longer ones do not fit into a batch.
  for (let from = 0, to = 0; from < text.length; from = to + 1) {
    to = text.indexOf(0x0a, from)
    if (to - from > 1_000_000) return false
  }
  return true
}

async function* textFiles(folder: string): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* textFiles(path)
    else if (entry.isFile() && /\.(md|txt|js|ts|json|py|xml|html|h|c|css|pl|pm|rb|java|map)$/.test(entry.name))
      yield path
  }
}

/** Lines as `consume --json --encoding hex` prints them from the key on. */
function* hexLines(seed: number): Generator<string> {
  let state = seed
  const below = (bound: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
  const noise = createHash('shake256', { outputLength: 65_536 }).update(String(seed)).digest()
  const field = (max: number): string => {
    if (below(20) === 0) return 'null'
    const length = below(max)
    const from = below(noise.length - length)
    return `"${noise.toString('hex', from, from + length)}"`
  }
  for (let bytes = 0; bytes < INPUT_BYTES; ) {
    let page = ''
    while (page.length < 65_536) {
      const headers = below(10) === 0 ? `["h",${field(30)}]` : ''
      page += `{"key":${field(40)},"value":${field(400)},"headers":[${headers}]}\n`
    }
    bytes += page.length
    yield page
  }
}
