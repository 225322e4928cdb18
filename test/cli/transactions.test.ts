/** `heartwood transactions`: one that nobody will end is shown, and aborted by explicit act. */
import { join } from 'node:path'
import t from 'tap'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { Store } from '../../lib/store/store.ts'
import { run } from '../helpers/cli.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

const STARTED = 1_700_000_000_000

/** A topic in which producer 7 has begun a transaction and gone away; `behind` records wait. */
async function abandoned(dir: string, behind: number): Promise<void> {
  await using store = await Store.open([dir])
  await store.createTopic('orders', {})
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'before' }])
  const options = { producerId: 7, producerEpoch: 3, baseSequence: 0, transactional: true, now: STARTED }
  await log.appendBatch(encodeBatch([{ value: 'never', timestamp: STARTED }], options))
  for (let i = 0; i < behind; i += 1) await log.append([{ value: `waits ${i}` }])
}

t.test('an abandoned transaction is listed, and aborted when that is said', async t => {
  const dir = join(await tempDir(t), 'data')
  await abandoned(dir, 4)
  const on = (...args: string[]): string[] => ['transactions', ...args, '--dir', dir, '--json']
  const expected = {
    topic: 'orders',
    partition: 0,
    producerId: 7,
    producerEpoch: 3,
    firstOffset: 1,
    startedMs: STARTED,
    lastStableOffset: 1,
    highWatermark: 6,
    waiting: 5
  }
  const [listed] = (await run(on('list'))).json()
  t.match(listed, expected)
  t.ok((listed?.['ageMs'] as number) > 0)
  t.same((await run(on('list', 'orders', '--producer-id', '8'))).json(), [])
  t.match((await run(['transactions', 'list', '--dir', dir])).stdout, /orders +0 +7 +3 +1 +\d+ +5/)

  const told = await run(on('abort', 'orders'))
  t.equal(told.status, 0)
  t.match(told.stderr, /Would abort 1 transaction/)
  t.match((await run(on('list'))).json()[0], expected, 'nothing has changed')

  t.same((await run(on('abort', '--producer-id', '7', '--yes'))).json(), [
    { topic: 'orders', partition: 0, producerId: 7, firstOffset: 1, offset: 6, lastStableOffset: 7 }
  ])
  t.same((await run(on('list'))).json(), [])
  const read = await run(['consume', 'orders', '--dir', dir, '--isolation', 'read_committed'])
  t.same(read.stdout.trim().split('\n'), ['before', 'waits 0', 'waits 1', 'waits 2', 'waits 3'])
  t.equal((await run(['verify', dir])).status, 0)
})

t.test('the marker is durable when the log says so, and an ended transaction is not aborted again', async t => {
  const dir = join(await tempDir(t), 'data')
  await abandoned(dir, 0)
  await using store = await Store.open([dir])
  const log = await store.openLog('orders', 0)
  t.match(await log.openTransactions(), [{ producerId: 7, producerEpoch: 3, firstOffset: 1, startedMs: STARTED }])
  const { level, lastOffset } = await log.abortTransaction(7)
  t.equal(level, 'synced')
  t.equal(log.durableOffset, lastOffset + 1)
  t.equal(log.lastStableOffset, log.highWatermark)
  t.same(await log.openTransactions(), [])
  await t.rejects(log.abortTransaction(7), { code: 'INVALID_TXN_STATE' })
})

for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
  t.test(`${version}: what a broker's producer left open is shown`, async t => {
    const dir = fixture('golden', version, 'clean')
    const listed = (await run(['transactions', 'list', 'open-transaction', '--dir', dir, '--json'])).json()
    t.match(listed, [{ topic: 'open-transaction', partition: 0, producerId: 23, firstOffset: 1, waiting: 2 }])
  })
}

t.test('wrong usage is status 2', async t => {
  const dir = join(await tempDir(t), 'data')
  await abandoned(dir, 0)
  for (const [args, says] of [
    [['transactions'], /transactions takes list or abort/],
    [['transactions', 'abort', '--yes', '--dir', dir], /which transactions shall be aborted/],
    [['transactions', 'list', '--producer-id', 'x', '--dir', dir], /--producer-id takes a whole number/]
  ] as const) {
    const { status, stderr } = await run(args)
    t.equal(status, 2)
    t.match(stderr, says)
  }
  t.equal((await run(['transactions', 'list', 'nope', '--dir', dir])).status, 1)
})
