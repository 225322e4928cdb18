/** The command as a process: pipes, signals, slow input, a writer and readers at the same time. */
import { createHash } from 'node:crypto'
import { openSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { finished, printed, shell, start } from '../helpers/binary.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

const CLEAN = '.kafka_cleanshutdown'

async function newTopic(t: Test): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const { status, stderr } = await run(['topics', 'create', 'orders', '--dir', dir])
  if (status !== 0) throw new Error(stderr)
  return dir
}

test('a reader that has enough ends a command quietly', async t => {
  const dir = await newTopic(t)
  const { stdout, stderr, status } = await shell(
    `seq 50000 | heartwood produce orders --dir '${dir}' 2> summary
     set +o pipefail
     heartwood consume orders --dir '${dir}' | head -n 2
     heartwood consume orders --dir '${dir}' --json | head -n 1 | cut -c 1-42
     heartwood dump '${dir}' --json --records | head -n 1 | wc -l
     heartwood consume orders --dir '${dir}' | head -n 1 > /dev/null; echo "\${PIPESTATUS[0]}"`,
    await tempDir(t)
  )
  t.equal(stderr, '')
  t.equal(status, 0)
  t.equal(stdout, '1\n2\n{"topic":"orders","partition":0,"offset":0\n1\n0\n')
})

test('an output that takes nothing is a failure with one line', { skip: process.platform !== 'linux' }, async t => {
  const dir = await newTopic(t)
  await run(['produce', 'orders', '--dir', dir], 'x\n')
  const full = openSync('/dev/full', 'w')
  const { status, stderr } = await finished(
    start(['consume', 'orders', '--dir', dir], { stdio: ['ignore', full, 'pipe'] })
  )
  t.equal(status, 1)
  t.match(stderr, /^heartwood: NO_SPACE: cannot write to standard output: .*\n$/)
})

test('Ctrl-C ends produce with what it has read in the log, which is closed cleanly', async t => {
  const dir = await newTopic(t)
  const child = start(['produce', 'orders', '--dir', dir], { stdio: 'pipe' })
  const ended = finished(child)
  const follower = start(['consume', 'orders', '--dir', dir, '--follow', '--max-messages', '2'], { stdio: 'pipe' })
  const followed = finished(follower)
  child.stdin?.write('one\ntwo\nhalf a li')
  t.equal((await followed).stdout, 'one\ntwo\n', 'lines show in another process while the pipe is open')
  t.notOk((await readdir(dir)).includes(CLEAN))
  child.kill('SIGINT')
  const { status, stderr } = await ended
  t.equal(status, 130)
  t.match(JSON.parse(stderr), { records: 2, lastOffsets: { 0: 1 }, level: 'synced' })
  t.ok((await readdir(dir)).includes(CLEAN))
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, 'one\ntwo\n')
})

for (const [signal, expected] of [
  ['SIGINT', 130],
  ['SIGTERM', 143]
] as const) {
  test(`${signal} ends consume --follow at a record's end, with status ${expected}`, async t => {
    const dir = await newTopic(t)
    await run(['produce', 'orders', '--dir', dir], 'a\nb\n')
    const child = start(['consume', 'orders', '--dir', dir, '--follow', '--json'], { stdio: 'pipe' })
    const ended = finished(child)
    await printed(child, text => text.split('\n').length === 3)
    child.kill(signal)
    const { status, stdout, stderr } = await ended
    t.equal(status, expected)
    t.equal(stderr, '')
    t.ok(stdout.endsWith('}\n'))
  })
}

test('a follower beside a live writer sees each line within half a second of its writing', async t => {
  const dir = await newTopic(t)
  const writer = start(['produce', 'orders', '--dir', dir], { stdio: 'pipe' })
  const written = finished(writer)
  const reader = start(['consume', 'orders', '--dir', dir, '--follow'], { stdio: 'pipe' })
  const read = finished(reader)
  writer.stdin?.write('first\n')
  await printed(reader, text => text.includes('first'))
  const delays: number[] = []
  for (let i = 0; i < 5; i += 1) {
    const begun = performance.now()
    writer.stdin?.write(`line ${i}\n`)
    await printed(reader, text => text.includes(`line ${i}\n`))
    delays.push(performance.now() - begun)
  }
  delays.sort((a, b) => a - b)
  t.comment(`delays, ms: ${delays.map(Math.round).join(' ')}`)
  // 100 ms until a partial batch is written, one sync, and the follower's look at the file; the machine may be busy.
  t.ok((delays[2] as number) < 500, 'the median')
  writer.stdin?.end()
  t.equal((await written).status, 0)
  reader.kill('SIGINT')
  t.equal((await read).stdout, 'first\nline 0\nline 1\nline 2\nline 3\nline 4\n')
})

test('a second writer is refused, told who holds the directory, and disturbs nothing', async t => {
  const dir = await newTopic(t)
  const first = start(['produce', 'orders', '--dir', dir], { stdio: 'pipe' })
  const ended = finished(first)
  const reader = start(['consume', 'orders', '--dir', dir, '--follow', '--max-messages', '1'], { stdio: 'pipe' })
  const read = finished(reader)
  first.stdin?.write('mine\n')
  await read
  for (const args of [
    ['produce', 'orders'],
    ['topics', 'create', 'x'],
    ['topics', 'delete', 'orders']
  ]) {
    const second = start([...args, '--dir', dir], { stdio: ['pipe', 'pipe', 'pipe'] })
    second.stdin?.end('theirs\n')
    const { status, stderr } = await finished(second)
    t.equal(status, 1)
    t.match(stderr, /^heartwood: LOCKED: .*\n$/)
    t.match(stderr, String(first.pid), 'names the process')
  }
  first.stdin?.end('and mine\n')
  t.equal((await ended).status, 0)
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, 'mine\nand mine\n')
})

test('a file comes back byte for byte, and a copy through JSON of hex has the same bytes', async t => {
  const dir = await newTopic(t)
  await run(['topics', 'create', 'copy', '--dir', dir])
  const work = await tempDir(t)
  await mkdir(join(work, 'in'))
  // Every byte occurs, lines of all lengths.
  const lines = Array.from({ length: 3000 }, (_, i) =>
    createHash('sha512')
      .update(String(i))
      .digest()
      .subarray(0, i % 65)
  )
  const file = Buffer.concat(
    lines.flatMap(line => [Buffer.from(line.map(byte => (byte === 10 ? 11 : byte))), Buffer.from('\n')])
  )
  await writeFile(join(work, 'file'), file)
  const { status, stderr } = await shell(
    `heartwood produce orders --dir '${dir}' < file 2> /dev/null
     heartwood produce copy --dir '${dir}' --json --encoding hex 2> /dev/null > summary \\
       < <(heartwood consume orders --dir '${dir}' --json --encoding hex | tee json)
     heartwood consume copy --dir '${dir}' --json --encoding hex | sed 's/"topic":"copy"/"topic":"orders"/' | cmp - json`,
    work
  )
  t.equal(status, 0, stderr)
  const base64 = await run(['consume', 'orders', '--dir', dir, '--encoding', 'base64'])
  const back = base64.stdout.split('\n').slice(0, -1)
  t.equal(back.length, 3000)
  t.ok(Buffer.concat(back.flatMap(line => [Buffer.from(line, 'base64'), Buffer.from('\n')])).equals(file))
})
