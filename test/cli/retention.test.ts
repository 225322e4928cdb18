/** `heartwood retain` and `delete-records`: what is printed is what then happens. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { reasonOf } from '../../lib/cli/retention-reasons.ts'
import { Store } from '../../lib/store/store.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { run } from '../helpers/cli.ts'
import { numbered } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'
import { brokersDirectory, photograph } from '../store/helpers.ts'

const T0 = 1_700_000_000_000
const DAY = 86_400_000

/** Three segments of ten records, one day apart, and five records in the active one; kept for ten days. */
async function made(t: Parameters<typeof tempDir>[0], configs: Record<string, string> = {}): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('orders', { configs: { 'retention.ms': String(10 * DAY), ...configs } })
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 4; i += 1) {
    if (i > 0) await log.roll()
    const records = numbered(i === 3 ? 5 : 10, 10 * i)
    await log.append(records.map(record => ({ ...record, timestamp: T0 + i * DAY })))
  }
  await store.close()
  return dir
}

const logsIn = async (dir: string): Promise<number[]> =>
  (await readdir(join(dir, 'orders-0'))).filter(name => name.endsWith('.log')).map(name => Number.parseInt(name, 10))

/** The first millisecond in which the first two segments are older than ten days. */
const TWO_GONE = T0 + 11 * DAY + 1

t.test('what --explain says is what then happens, segment by segment', async t => {
  const dir = await made(t)
  const before = await photograph(dir)
  const args = ['retain', '--dir', dir, '--json', '--explain', '--now', String(TWO_GONE)]
  const said = await run([...args, '--dry-run'])
  t.equal(said.status, 0)
  t.same(await photograph(dir), before, 'a dry run changes not a byte')
  t.match(said.json(), [
    { partition: 'orders-0', segment: 0, decision: 'delete', rule: 'retention.ms' },
    {
      segment: 10,
      decision: 'delete',
      because: { retentionMs: 10 * DAY, largestTimestamp: T0 + DAY, now: TWO_GONE, goesAtMs: TWO_GONE, leftMs: 0 }
    },
    { segment: 20, decision: 'keep', because: { goesAtMs: TWO_GONE + DAY, leftMs: DAY } },
    { segment: 30, decision: 'keep', because: { leftMs: 2 * DAY } }
  ])
  t.same(Object.keys(said.json()[0] ?? {}), ['partition', 'segment', 'decision', 'rule', 'because'])
  const done = await run(args)
  t.same(done.json(), said.json())
  t.same(await logsIn(dir), [20, 30], 'the files are gone when the command is done')
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout.split('\n')[0], 'value-20')
})

t.test('the moment that --explain names is the moment', async t => {
  const dir = await made(t)
  const explain = await run(['retain', 'orders', '--dir', dir, '--json', '--explain', '--dry-run', '--now', String(T0)])
  for (const line of explain.json()) {
    const { goesAtMs } = line['because'] as { goesAtMs: number }
    await run(['retain', '--dir', dir, '--now', String(goesAtMs - 1)])
    t.ok((await logsIn(dir)).includes(line['segment'] as number), `${line['segment']} is there a millisecond before`)
    await run(['retain', '--dir', dir, '--now', String(goesAtMs)])
    t.notOk((await logsIn(dir)).includes(line['segment'] as number), `${line['segment']} is gone`)
  }
  t.same(await logsIn(dir), [35], 'all went, and the log goes on behind them')
})

t.test('for people: a table, a sentence for each segment, and the sum on standard error', async t => {
  const dir = await made(t)
  const args = ['retain', '--dir', dir, '--now', String(TWO_GONE)]
  const { stdout, stderr, status } = await run([...args, '--dry-run', '--explain'])
  t.equal(status, 0)
  t.match(
    stdout,
    /orders-0 +0 +delete +retention\.ms +its youngest record is of 2023-11-14T22:13:20.000Z; .* was over at/
  )
  t.match(stdout, /orders-0 +30 +keep +retention\.ms +.*goes at 2023-11-27T22:13:20.001Z, in 2 d/)
  t.match(stderr, /^Would delete 2 segment\(s\), \d+ bytes\.\n$/)
  const done = await run(args)
  t.match(done.stdout, /partition +segments deleted +bytes +start *\norders-0 +2 +\d+ +20/)
  t.match(done.stderr, /^Deleted 2 segment\(s\), \d+ bytes\.\n$/)
  const again = await run([...args, '--json'])
  t.match(again.json(), [
    { partition: 'orders-0', dryRun: false, logStartOffset: 20, deletedSegments: 0, deletedBytes: 0, brokenHolds: [] }
  ])
})

t.test('a hold that is broken is a line of its own', async t => {
  const dir = await made(t)
  const store = await Store.open(dir)
  await (await store.openLog('orders', 0)).hold('billing', 0)
  await store.close()
  const now = Date.now()
  const held = await run(['retain', '--dir', dir, '--json', '--explain', '--dry-run', '--now', String(now)])
  t.match(held.json()[0], { segment: 0, rule: 'hold', because: { hold: 'billing', reached: 'retention.ms' } })
  const late = ['retain', '--dir', dir, '--explain', '--now', String(now + 8 * DAY)]
  t.match(
    (await run([...late, '--dry-run'])).stdout,
    /orders-0 +break +limitMs +hold billing: \d+, more than 604800000/
  )
  const [first, second] = (await run([...late, '--json'])).json()
  t.match(first, { partition: 'orders-0', hold: 'billing', decision: 'break', rule: 'limitMs' })
  t.match(second, { segment: 0, decision: 'delete' })
})

t.test('a dry run works beside a writer; retention itself does not', async t => {
  const dir = await made(t)
  const store = await Store.open(dir)
  const args = ['retain', '--dir', dir, '--json', '--now', String(TWO_GONE)]
  t.match((await run([...args, '--dry-run'])).json(), [{ deletedSegments: 2, logStartOffset: 20 }])
  t.match(await run(args), { status: 1, stderr: /LOCKED/ })
  await store.close()
})

t.test("a broker's topic keeps everything until its settings are stated, by every command", async t => {
  const dir = await brokersDirectory(t)
  const { status, json } = await run(['retain', 'plain', '--dir', dir, '--json', '--explain', '--now', '4000000000000'])
  t.equal(status, 0)
  t.ok(json().length > 0 && json().every(({ rule }) => rule === 'unknown-settings'))
  const refused = await run(['delete-records', 'plain', '--partition', '0', '--before', '1', '--dir', dir])
  t.match(refused, { status: 1, stderr: /POLICY_VIOLATION: the settings of plain are unknown.*topics alter/ })
  await run(['topics', 'alter', 'plain', '--config', 'cleanup.policy=delete', '--dir', dir])
  const done = await run(['delete-records', 'plain', '--partition', '0', '--before', '1', '--dir', dir, '--json'])
  t.match(done, { status: 0 })
  t.same(done.json(), [{ topic: 'plain', partition: 0, logStartOffset: 1 }])
})

t.test('delete-records lets the partition begin later, once and for all', async t => {
  const dir = await made(t)
  const args = ['delete-records', 'orders', '--partition', '0', '--dir', dir, '--before']
  t.match(await run([...args, '25']), { status: 0, stdout: '', stderr: 'orders-0 begins at offset 25 now.\n' })
  t.same(await logsIn(dir), [20, 30])
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout.split('\n')[0], 'value-25')
  t.match(await run([...args, '5']), { status: 0, stderr: /begins at offset 25/ })
  t.match(await run([...args, '36']), { status: 1, stderr: /OFFSET_OUT_OF_RANGE/ })
})

t.test('a log that cannot be opened is told, the others are retained, and the status is 1', async t => {
  const dir = await made(t)
  const store = await Store.open(dir)
  await store.createTopic('broken', { configs: { 'retention.ms': '1' } })
  await store.close()
  const body = Buffer.from('heartwood-holds 2\n')
  const crc = crc32c(body, 0, body.length).toString(16).padStart(8, '0')
  await writeFile(join(dir, 'broken-0', 'heartwood-holds'), `${body}crc ${crc}\n`)
  const { status, json } = await run(['retain', '--dir', dir, '--json', '--now', String(TWO_GONE)])
  t.equal(status, 1)
  t.match(json(), [
    { partition: 'orders-0', deletedSegments: 2 },
    { partition: 'broken-0', error: { code: 'UNSUPPORTED_VERSION' } }
  ])
  t.match(await run(['retain', '--dir', dir]), { status: 1, stderr: /^heartwood: broken-0: UNSUPPORTED_VERSION: /m })
})

t.test('every rule has its sentence', async t => {
  const table: [Parameters<typeof reasonOf>[0], RegExp][] = [
    [{ segment: 0, decision: 'delete', rule: 'log-start-offset', because: { logStartOffset: 7 } }, /offset 7$/],
    [
      { segment: 0, decision: 'delete', rule: 'retention.bytes', because: { retentionBytes: 5, bytesBehind: 6 } },
      /^6 bytes lie behind it, retention\.bytes=5$/
    ],
    [
      {
        segment: 0,
        decision: 'keep',
        rule: 'heartwood.retention.records',
        because: { retentionRecords: 5, offsetsBehind: 4 }
      },
      /^only 4 offsets lie behind it/
    ],
    [
      {
        segment: 0,
        decision: 'keep',
        rule: 'retention.ms',
        because: { modifiedMs: T0, goesAtMs: 1e300, leftMs: 90_000, retentionBytes: 5, bytesBehind: 1 }
      },
      /^it has no timestamps and was written at 2023.*goes at 1e\+300 ms, in 1 min 30 s, or sooner: only 1 bytes lie/
    ],
    [{ segment: 0, decision: 'keep', rule: 'no-limit', because: {} }, /neither retention\.ms/],
    [
      { segment: 0, decision: 'keep', rule: 'cleanup.policy', because: { cleanupPolicy: 'compact' } },
      /is compact, not/
    ],
    [
      {
        segment: 9,
        decision: 'keep',
        rule: 'segment-in-front',
        because: { reached: 'retention.ms', segmentInFront: 3, itsRule: 'retention.ms', waitsMs: 93_600_000 }
      },
      /segment 3 in front of it stays \(retention\.ms\), for 1 d 2 h more$/
    ],
    [
      {
        segment: 0,
        decision: 'keep',
        rule: 'high-watermark',
        because: { reached: 'retention.bytes', nextBaseOffset: 9, highWatermark: 5 }
      },
      /ends at 9, above the high watermark 5$/
    ],
    [
      {
        segment: 0,
        decision: 'keep',
        rule: 'open-transaction',
        because: { reached: 'retention.bytes', lastStableOffset: 4 }
      },
      /open from offset 4 on$/
    ],
    [
      { segment: 0, decision: 'keep', rule: 'clock-jump', because: { reached: 'retention.ms', clockJumpMs: 400 } },
      /jumped ahead by 400 ms$/
    ],
    [
      {
        segment: 0,
        decision: 'delete',
        rule: 'heartwood.disk.budget.bytes',
        because: { usedBytes: 9, allowedBytes: 8, topicBytes: 7, shareBytes: 4 }
      },
      /take up 9 bytes and may take up 8; the topic has 7, its share is 4$/
    ],
    [{ segment: 0, decision: 'keep', rule: 'empty-active-segment', because: {} }, /empty/]
  ]
  for (const [decision, sentence] of table) t.match(reasonOf(decision), sentence)
})
