import { spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { projectRoot, tempDir } from '../helpers/paths.ts'
import { countTap } from './count-tap.ts'

const isSource = import.meta.url.endsWith('.ts')
const runner = fileURLToPath(new URL(`./run-tests.${isSource ? 'ts' : 'js'}`, import.meta.url))
const TAP = JSON.stringify(import.meta.resolve('tap'))

const FILES: Readonly<Record<string, string>> = {
  sound: `import t from ${TAP}; t.test('one', async t => t.pass()); t.test('two', async t => t.same([1], [1]))`,
  wrong: `import t from ${TAP}; t.test('one', async t => t.pass()); t.test('bad', async t => t.equal(1, 2))`,
  'ends-early': `import t from ${TAP}; t.test('one', async t => { t.pass(); process.exit(0) })`,
  'ends-with-a-status': `import t from ${TAP}; t.test('one', async t => t.pass()); t.teardown(() => { process.exitCode = 7 })`,
  'has-no-test': `export {}`,
  hangs: `import t from ${TAP}; t.test('one', () => new Promise(() => setInterval(() => {}, 1000)))`,
  'spins for ever': `for (;;) {}`,
  patient: `import t from ${TAP}; t.setTimeout(90_000); t.test('slow', async t => { await new Promise(r => setTimeout(r, 5000)); t.pass() })`,
  'is-skipped': `import t from ${TAP}; t.plan(0, 'not here')`
}

t.setTimeout(115_000)

async function run(
  t: Parameters<typeof tempDir>[0],
  names: readonly string[],
  ...options: string[]
): Promise<{ status: number | null; stdout: string; counts: ReturnType<typeof countTap> }> {
  const dir = join(await tempDir(t), 'tests')
  await mkdir(dir)
  const files = names.map(name => join(dir, `${name}.test.mjs`))
  for (const [index, name] of names.entries()) await writeFile(files[index]!, FILES[name]!)
  const output = join(dir, 'out.tap')
  const loader = isSource ? ['--import', import.meta.resolve('tsx')] : []
  const args = [...loader, runner, `--output-file=${output}`, ...options, ...files]
  const { status, stdout } = await finished(spawn(process.execPath, args, { cwd: projectRoot }))
  return { status, stdout, counts: countTap(await readFile(output, 'utf8')) }
}

t.test('what passes is counted, a file that is skipped as a whole too', async t => {
  const { status, stdout, counts } = await run(t, ['sound', 'is-skipped'])
  t.match(counts, { passed: 2, failed: 0, skipped: 1, skips: [{ reason: 'not here' }] })
  t.equal(status, 0)
  t.match(stdout, /sound\.test\.mjs: 2 passed\n/)
  t.match(stdout, '2 passed, 0 failed, 1 skipped')
})

t.test('every way in which a file can fail is a failure, and the others are counted', async t => {
  const names = ['wrong', 'ends-early', 'ends-with-a-status', 'has-no-test', 'sound']
  const { status, stdout, counts } = await run(t, names)
  t.equal(status, 1)
  t.match(counts, { passed: 4, failed: 4, skipped: 0 })
  for (const name of names.slice(0, 4)) t.match(stdout, new RegExp(`${name}\\.test\\.mjs: .*FAILED`))
  t.match(stdout, /bad > should be equal/)
})

t.test('a file over its time is ended and says what it waited for, unless it asked for more', async t => {
  const { status, stdout, counts } = await run(t, ['hangs', 'spins for ever', 'patient'], '--timeout=4', '--jobs=3')
  t.equal(status, 1)
  t.match(counts, { passed: 1, failed: 2 })
  t.match(stdout, /patient\.test\.mjs: 1 passed\n/)
  t.match(stdout, /time limit/)
  t.match(stdout, /hangs\.test\.mjs > one/)
})
