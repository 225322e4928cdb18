/** `heartwood compact`: what Kafka's own cleaner left of the same logs; what is said, and what then happens. */
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { reasonFor } from '../../lib/cli/compaction-reasons.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { Store } from '../../lib/store/store.ts'
import { run } from '../helpers/cli.ts'
import { GOLDEN_VERSIONS } from '../helpers/golden.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { photograph } from '../store/helpers.ts'

t.setTimeout(200_000)

/** Of the topics, as the README of the golden directories has them; whether their bytes are Kafka's, uncompressed. */
const TOPICS: readonly (readonly [topic: string, deleteRetentionMs: number, sameBytes: boolean])[] = [
  ['compacted', 2 ** 50, true],
  ['compacted-codecs', 2 ** 50, false],
  ['compacted-tombstones', 0, true],
  ['compacted-transactions', 0, true]
]
const COMPARED = /^\d{20}\.(?:log|index|timeindex|txnindex)$/

async function filesOf(dir: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for (const name of (await readdir(dir)).filter(each => COMPARED.test(each)).sort())
    files.set(name, await readFile(join(dir, name)))
  return files
}

/** When Kafka's cleaner worked: it is in every delete horizon that it set. */
function momentOf(files: ReadonlyMap<string, Buffer>, retention: number): number {
  for (const [name, bytes] of files) {
    if (!name.endsWith('.log')) continue
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      if (batch.deleteHorizonMs !== undefined) return batch.deleteHorizonMs - retention
      at = batch.end
    }
  }
  throw new Error('no delete horizon in any batch')
}

for (const version of GOLDEN_VERSIONS) {
  t.test(`a directory of ${version} as Kafka's own cleaner leaves it`, async t => {
    const dir = join(await tempDir(t), 'data')
    await cp(fixture('golden', version, 'clean'), dir, { recursive: true })
    for (const [topic, retention, sameBytes] of TOPICS) {
      const theirs = await filesOf(fixture('golden', version, 'compacted', `${topic}-0`))
      const now = String(momentOf(theirs, retention))
      // Kafka's cleaner knew the producers, which have been silent for longer than a day since.
      const remembered = `heartwood.producer.id.expiration.ms=${2 ** 40}`
      const stated = ['cleanup.policy=compact', 'segment.bytes=16384', `delete.retention.ms=${retention}`, remembered]
      if (topic === 'compacted') {
        const untouched = await run(['compact', topic, '--dir', dir, '--json', '--force', '--now', now])
        t.match(untouched.json(), [{ decision: 'keep', rule: 'unknown-settings' }], 'nobody has stated its settings')
      }
      await run(['topics', 'alter', topic, '--dir', dir, ...stated.flatMap(each => ['--config', each])])
      const before = await photograph(dir)
      const said = await run(['compact', topic, '--dir', dir, '--json', '--dry-run', '--now', now])
      t.equal(said.status, 0, said.stderr)
      t.same(await photograph(dir), before, 'a dry run changes not a byte')
      const done = await run(['compact', topic, '--dir', dir, '--json', '--now', now])
      t.equal(done.status, 0, done.stderr)
      const [{ stats, endOffset }] = done.json() as unknown as [{ stats: object; endOffset: number }]
      t.match(said.json(), [{ decision: 'clean', rule: 'ratio', dryRun: true, stats, endOffset }])
      const ours = await filesOf(join(dir, `${topic}-0`))
      if (sameBytes) {
        t.same([...ours.keys()], [...theirs.keys()])
        for (const [name, bytes] of theirs) t.ok(ours.get(name)?.equals(bytes), `${topic} ${name}`)
      }
      const checkpoint = await readFile(join(dir, 'cleaner-offset-checkpoint'), 'utf8')
      t.match(checkpoint, `\n${topic} 0 ${endOffset}\n`)
    }
    const again = await run(['compact', 'compacted', '--dir', dir, '--json', '--force'])
    t.match(again.json(), [{ decision: 'keep', rule: 'nothing-dirty' }])
  })
}

/** Two sealed segments of twenty records of four keys, and an active one. */
async function made(t: Parameters<typeof tempDir>[0], configs: Record<string, string> = {}): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  await store.createTopic('prices', { configs: { 'cleanup.policy': 'compact', ...configs } })
  const log = await store.openLog('prices', 0)
  for (let i = 0; i < 41; i += 1) {
    if (i > 0 && i % 20 === 0) await log.roll()
    await log.append([{ key: `k${i % 4}`, value: `v${i}` }], { ownBatch: true })
  }
  await store.close()
  return dir
}

t.test('what --explain says is what then happens', async t => {
  const dir = await made(t)
  const args = ['compact', 'prices', '--dir', dir, '--json', '--explain']
  const said = await run([...args, '--dry-run'])
  const done = await run(args)
  const because = { firstDirtyOffset: 0, firstUncleanableOffset: 40, heldBackBy: 'active-segment', dirtyRatio: 1 }
  for (const lines of [said.json(), done.json()])
    t.match(lines, [
      { partition: 'prices-0', decision: 'clean', rule: 'ratio', because },
      { stats: { recordsRead: 40, recordsKept: 4, superseded: 36 } }
    ])
  t.same((await run(['consume', 'prices', '--dir', dir])).stdout.trim().split('\n'), [
    'v36',
    'v37',
    'v38',
    'v39',
    'v40'
  ])
  t.notOk(
    (await readdir(join(dir, 'prices-0'))).some(name => name.endsWith('.deleted')),
    'the files are gone'
  )
  t.match((await run(args)).json(), [{ decision: 'keep', rule: 'nothing-dirty' }])
})

t.test('what holds a log back is named', async t => {
  const dir = await made(t, { 'min.cleanable.dirty.ratio': '1', 'min.compaction.lag.ms': '0' })
  const explain = async (...more: string[]) =>
    (await run(['compact', 'prices', '--dir', dir, '--json', '--explain', ...more])).json()[0]
  t.match(await explain(), { decision: 'keep', rule: 'below-ratio', because: { minCleanableDirtyRatio: 1 } })
  const alter = (config: string) => run(['topics', 'alter', 'prices', '--dir', dir, '--config', config])
  await alter('min.compaction.lag.ms=3600000')
  t.match(await explain('--force'), {
    decision: 'keep',
    rule: 'held-back',
    because: { heldBackBy: 'min-compaction-lag' }
  })
  await alter('min.compaction.lag.ms=0')
  t.match(await explain('--force'), { decision: 'clean', rule: 'force' })
  await alter('cleanup.policy=delete')
  t.match(await explain('--force'), { decision: 'keep', rule: 'not-compacted' })
})

t.test('people get a table and sentences', async t => {
  const dir = await made(t)
  const said = await run(['compact', '--dir', dir, '--dry-run', '--explain'])
  t.match(
    said.stdout,
    /prices-0 +clean +ratio +\d+ bytes, 100\.0 %, are dirty, more than min\.cleanable\.dirty\.ratio=0\.5/
  )
  t.match(said.stderr, 'Would clean 1 partition(s) and take 36 record(s) out.')
  const done = await run(['compact', '--dir', dir])
  t.match(done.stdout, /prices-0 +40 +4 /)
  t.match(done.stderr, /Cleaned 1 partition\(s\): 36 record\(s\), \d+ bytes less\./)
  const described = await run(['topics', 'describe', 'prices', '--dir', dir])
  t.match(described.stdout, /clean up to offset 40/)
})

t.test('damage is told with its place, and nothing is touched', async t => {
  const dir = await made(t)
  const path = join(dir, 'prices-0', '00000000000000000000.log')
  const bytes = await readFile(path)
  bytes[70] = (bytes[70] as number) ^ 1
  await writeFile(path, bytes)
  const done = await run(['compact', '--dir', dir])
  t.equal(done.status, 1)
  t.match(done.stderr, /prices-0: CORRUPT_LOG: .*00000000000000000000\.log/)
  t.ok((await readFile(path)).equals(bytes))
  t.notOk((await readdir(join(dir, 'prices-0'))).some(name => /\.(?:cleaned|swap)$/.test(name)))
})

t.test('every reason has its sentence', async t => {
  const numbers = {
    due: false,
    firstDirtyOffset: 1,
    firstUncleanableOffset: 2,
    checkpointIsInvalid: false,
    cleanBytes: 3,
    cleanableBytes: 4,
    uncleanableBytes: 5,
    heldBackBytes: 6,
    dirtyRatio: 0.25,
    minCleanableDirtyRatio: 0.5,
    overdueMs: 7,
    dueAtMs: undefined
  }
  const reasons = [
    'unknown-settings',
    'not-compacted',
    'nothing-dirty',
    'held-back',
    'below-ratio',
    'ratio',
    'max-lag'
  ] as const
  const bounds = ['active-segment', 'last-stable-offset', 'hold', 'min-compaction-lag'] as const
  const said = reasons.flatMap(reason =>
    bounds.map(heldBackBy =>
      reasonFor({ topic: 't', partition: 0, judgement: { ...numbers, reason, heldBackBy }, cleaned: undefined })
    )
  )
  t.equal(new Set(said).size, reasons.length + bounds.length - 1)
  for (const each of said) t.notMatch(each, /undefined|NaN/)
})
