/** `heartwood erase`: told first, done with --yes, and the receipt. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'
import { photograph } from '../store/helpers.ts'

const SECRET = 'something that must be forgotten'

async function made(t: Parameters<typeof tempDir>[0]): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('people', { partitions: 2 })
  for (const partition of [0, 1]) {
    const log = await store.openLog('people', partition)
    for (let i = 0; i < 9; i += 1) {
      const value = i % 3 === 1 && partition === 0 ? `${SECRET} ${i}` : 'of somebody else, and it stays'
      await log.append([{ key: Buffer.from([0xff, i % 3 === 1 && partition === 1 ? 9 : i % 3]), value }])
    }
  }
  await store.close()
  return dir
}

const KEY = ['--key', 'ff01', '--encoding', 'hex']

t.test('without --yes it is only told', async t => {
  const dir = await made(t)
  const before = await photograph(dir)
  const told = await run(['erase', 'people', '--dir', dir, ...KEY])
  t.equal(told.status, 0)
  t.same(told.stdout.trim().split('\n'), [
    'people-0: 3 record(s) of the key in 1 segment(s) will go',
    'people-1: 0 record(s) of the key in 0 segment(s)'
  ])
  t.match(told.stderr, '--yes does it')
  t.same(await photograph(dir), before)
})

t.test('with --yes it is done, and the receipt says so', async t => {
  const dir = await made(t)
  const done = await run(['erase', 'people', '--dir', dir, ...KEY, '--yes', '--json'])
  t.equal(done.status, 0)
  t.match(done.json(), [
    { partition: 'people-0', dryRun: true, recordsFound: 3 },
    { partition: 'people-0', dryRun: false, recordsRemoved: 3, tombstoneOffset: 9, proof: { holds: true } },
    { partition: 'people-1', dryRun: true, recordsFound: 0 },
    { partition: 'people-1', dryRun: false, recordsRemoved: 0, proof: { holds: true } }
  ])
  for (const name of await readdir(join(dir, 'people-0')))
    t.notOk((await readFile(join(dir, 'people-0', name))).includes(SECRET), name)
  const again = await run(['erase', 'people', '--dir', dir, ...KEY, '--yes', '--partition', '0'])
  t.match(again.stdout, /nothing of the key was found\.\n$/)
})

t.test('a proof that does not hold is a failure', async t => {
  const dir = await made(t)
  await writeFile(join(dir, 'people-0', 'notes.txt'), `- ${SECRET} 1`)
  const done = await run(['erase', 'people', '--dir', dir, ...KEY, '--yes'])
  t.equal(done.status, 1)
  t.match(done.stdout, 'something of the key was found in notes.txt')
})

t.test('wrong usage', async t => {
  const dir = await made(t)
  t.equal((await run(['erase', 'people', '--dir', dir])).status, 2)
  t.equal((await run(['erase', 'people', '--dir', dir, '--key', ''])).status, 2)
  t.equal((await run(['erase', 'nobody', '--dir', dir, '--key', 'k'])).status, 1)
})
