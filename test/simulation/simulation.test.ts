/** A fixed share of the simulator's schedules; `npm run test:simulation` runs them by the hundred thousand. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { formatPath, parsePath, shrink } from './failures.ts'

t.setTimeout(300_000)

const run = promisify(execFile)
const program = (name: string): string =>
  fileURLToPath(new URL(`./${name}${import.meta.url.slice(-3)}`, import.meta.url))

t.test('whatever a program does and however it ends, the engine keeps what it promised', async t => {
  const args = [...process.execArgv, program('many'), '1', '240', '12']
  const { stdout } = await run(process.execPath, args).catch(error => error)
  const { failures, seeds, ...sums } = JSON.parse(stdout)
  t.same(failures, [])
  t.equal(seeds, 12)
  // A simulator that never crashes anything would find nothing either.
  t.ok(sums.schedules > 150 && sums.crashesInRecovery > 25 && sums.changes > 500, stdout)
})

t.test('the same seed gives the same trace, call for call, and a part of a schedule runs by its numbers', async t => {
  const replayed = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, [...process.execArgv, program('replay'), ...args], { maxBuffer: 2 ** 27 })).stdout
  for (const args of [
    ['3', '--trace'],
    ['7', '0-3,8']
  ]) {
    const [one, other] = await Promise.all([replayed(...args), replayed(...args)])
    t.match(one, /ends checked, nothing wrong, trace [0-9a-f]{32}/)
    t.equal(one, other)
  }
  t.ok((await replayed('4', '--trace')).split('\n').length > 1000)
  const path = [0, 1, 2, 3, 8]
  t.equal(formatPath(path), '0-3,8')
  t.same(parsePath('0-3,8'), path)
  t.same(parsePath(formatPath([])), [])
})

t.test('a failing schedule is shrunken to what it takes to fail', async t => {
  const path = Array.from({ length: 40 }, (_, n) => n)
  const fails = async (part: readonly number[]): Promise<boolean> => part.includes(7) && part.includes(31)
  t.same(await shrink(path, fails), [7, 31])
  t.same(await shrink(path, async () => true), [])
})
