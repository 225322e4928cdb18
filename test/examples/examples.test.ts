/** The programs of examples/, run as a reader of the README runs them. */
import { spawn } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { BINARY, type Finished, finished } from '../helpers/binary.ts'
import { tempDir } from '../helpers/paths.ts'

function example(name: string, args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const path = fileURLToPath(new URL(`../../examples/${name}${import.meta.url.slice(-3)}`, import.meta.url))
  const [node, ...rest] = BINARY
  const child = spawn(node as string, [...rest.slice(0, -1), path, ...args], { env: { ...process.env, ...env } })
  return finished(child)
}

test('first use: open, append, read, follow, close', async t => {
  const dir = join(await tempDir(t), 'data')
  const { status, stdout, stderr } = await example('first-use', [dir])
  t.equal(status, 0, stderr)
  t.equal(stdout, 'offsets 0 to 1 are synced\n0 o-1 {"total":12}\n1 undefined paid\nnew: 2 shipped\n')
  t.ok((await readdir(dir)).includes('.kafka_cleanshutdown'))
})

test('config table: it is there again, and holds what was put last', async t => {
  const dir = join(await tempDir(t), 'data')
  const first = await example('config-table', [dir])
  t.equal(first.status, 0, first.stderr)
  t.equal(first.stdout, '0 settings, theme: undefined\ntheme dark offset 2\n')
  const second = await example('config-table', [dir])
  t.equal(second.stdout, '1 settings, theme: dark\ntheme dark offset 6\n', second.stderr)
})

test('npm start on a file: it goes in and comes out, and the next commands are named', async t => {
  const dir = await tempDir(t)
  await mkdir(join(dir, 'tmp'))
  const file = join(dir, 'some file.txt')
  await writeFile(file, Array.from({ length: 5000 }, (_, i) => `line ${i} – ü\n`).join(''))
  const { status, stdout, stderr } = await example('start', [file], { TMPDIR: join(dir, 'tmp') })
  t.equal(status, 0, stderr)
  t.match(stdout, /5,000 records, .* durability "batch"/)
  t.match(stdout, /in: .*records\/s.*\nout: .*records\/s.*identical/)
  t.match(stdout, 'some-file.txt-0/00000000000000000000.log')
  const next = stdout.split('\n').filter(line => /^ {2}.*main\.js /.test(line))
  t.equal(next.length, 3)
  t.match(next.join('\n'), /consume some-file\.txt --dir .*\n.*topics describe.*\n.*produce/)
})

test('npm start without a file takes real data from a package', { timeout: 110_000 }, async t => {
  const tmp = await tempDir(t)
  const { status, stdout, stderr } = await example('start', [], { TMPDIR: tmp })
  t.equal(status, 0, stderr)
  t.match(stdout, /places of the world/)
  t.match(stdout, 'identical')
})

test('npm start on a file that is not there says so in one line', async t => {
  const { status, stderr } = await example('start', ['/nowhere/at/all'])
  t.equal(status, 1)
  t.match(stderr, /^\S.*\/nowhere\/at\/all.*\n$/)
})
