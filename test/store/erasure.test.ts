/** Records of a key are taken out of the files, and what is said of it is so. */
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import type { RecordInput } from '../../lib/record/record.ts'
import { Store } from '../../lib/store/store.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'
import { tempDir } from '../helpers/paths.ts'

t.setTimeout(200_000)

const SECRET = 'the address of somebody, '
const FOLDER = '/data/people-0'

/** Without a key where the topic has those. */
const recordOf = (i: number, keyed = false): RecordInput => ({
  key: i % 5 === 4 && !keyed ? null : `p${i % 5}`,
  value: i % 5 === 2 ? `${SECRET}${i}` : `somebody else, number ${i}`,
  headers: [['n', String(i)]]
})

async function made(
  configs: Record<string, string> = {}
): Promise<{ fs: MemoryFileSystem; store: Store; log: PartitionLog }> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const store = await Store.open('/data', { fs, clock: new ManualClock(), upkeep: { background: false } })
  await store.createTopic('people', { configs })
  const log = await store.openLog('people', 0)
  const keyed = configs['cleanup.policy'] === 'compact'
  for (let i = 0; i < 60; i += 1) {
    if (i === 20 || i === 40) await log.roll()
    // Some batches of one record, some of three; one that the client compressed.
    if (i % 7 === 0)
      await log.append(
        [0, 1, 2].map(j => recordOf(i + j, keyed)),
        { ownBatch: true }
      )
    else if (i % 11 === 0)
      await log.appendBatch(
        encodeBatch([recordOf(i, keyed), recordOf(i + 1, keyed)], { compression: 'gzip', now: 1_700_000_000_000 })
      )
    else await log.append([recordOf(i, keyed)], { ownBatch: true })
  }
  return { fs, store, log }
}

interface Seen {
  readonly offset: number
  readonly key: string | undefined
  readonly value: string | undefined
  readonly headers: string
  readonly timestamp: number
}

async function all(log: PartitionLog): Promise<Seen[]> {
  const seen: Seen[] = []
  for await (const { offset, key, value, headers, timestamp } of log.records())
    seen.push({
      offset,
      key: key?.toString(),
      value: value?.toString(),
      headers: headers.map(([name, bytes]) => `${name}=${bytes}`).join(),
      timestamp
    })
  return seen
}

async function filesWith(fs: MemoryFileSystem, text: string, dir = FOLDER): Promise<string[]> {
  const names: string[] = []
  for (const { name, kind } of await fs.readDirectory(dir)) {
    const path = join(dir, name)
    if (kind === 'directory') names.push(...(await filesWith(fs, text, path)))
    else if ((await readFile(fs, path)).includes(text)) names.push(name)
  }
  return names
}

const POLICIES: readonly Record<string, string>[] = [
  {},
  { 'cleanup.policy': 'compact' },
  { 'cleanup.policy': 'compact', 'compression.type': 'lz4' }
]

for (const configs of POLICIES) {
  t.test(`records of the key go, those of all others stay as they are: ${JSON.stringify(configs)}`, async t => {
    const { fs, store, log } = await made(configs)
    const before = await all(log)
    const wanted = before.filter(({ key }) => key === 'p2')
    const said = await log.eraseKey('p2', { dryRun: true })
    t.match(said, { dryRun: true, recordsFound: wanted.length, segmentsFound: 3, proof: undefined })
    t.same(await all(log), before, 'so far it was only told')
    const receipt = await log.eraseKey('p2')
    t.match(receipt, {
      recordsFound: wanted.length,
      recordsRemoved: wanted.length,
      segmentsRewritten: 3,
      tombstoneOffset: (before.at(-1) as Seen).offset + 1,
      tombstoneStaysMs: configs['cleanup.policy'] === undefined ? undefined : 86_400_000,
      proof: {
        holds: true,
        foundIn: [],
        decoded: { found: 0 },
        raw: { found: 0, values: new Set(wanted.map(({ value }) => value)).size }
      }
    })
    const after = await all(log)
    t.same(
      after.slice(0, -1),
      before.filter(({ key }) => key !== 'p2')
    )
    t.match(after.at(-1), { key: 'p2', value: undefined, offset: receipt.tombstoneOffset })
    t.same(await filesWith(fs, SECRET), [])
    t.same(
      (await fs.readDirectory(FOLDER)).filter(({ name }) => name.endsWith('.deleted')),
      []
    )
    await log.append([recordOf(0)])
    await store.close()
    t.same(await filesWith(fs, SECRET), [])
    const again = await Store.open('/data', { fs, clock: new ManualClock() })
    t.same((await all(await again.openLog('people', 0))).slice(0, -1), after)
    await again.close()
  })
}

t.test('a key that is not there leaves the log as it is', async t => {
  const { store, log } = await made()
  const before = await all(log)
  t.match(await log.eraseKey('nobody'), { recordsFound: 0, tombstoneOffset: undefined, proof: { holds: true } })
  t.same(await all(log), before)
  await store.close()
})

t.test('what another key has as well proves nothing, and what a file of somebody holds is told', async t => {
  const { fs, store, log } = await made()
  await log.append([
    { key: 'p2', value: 'a value that both of them have' },
    { key: 'p3', value: 'a value that both of them have' }
  ])
  const handle = await fs.open(join(FOLDER, 'notes.txt'), 'create')
  await handle.write(Buffer.from(`- ${SECRET}2 -`), 0)
  await handle.close()
  t.match(await log.eraseKey('p2'), { proof: { holds: false, raw: { found: 1 }, foundIn: ['notes.txt'] } })
  await fs.unlink(join(FOLDER, 'notes.txt'))
  t.match(await log.eraseKey('p2'), { recordsFound: 0, proof: { holds: true } }, 'asked again')
  await store.close()
})

t.test('quarantine is purged, and a hold is in nobody’s way', async t => {
  const { fs, store, log } = await made()
  await fs.makeDirectory(join(FOLDER, 'quarantine'))
  const handle = await fs.open(join(FOLDER, 'quarantine', '0-tail-1.bin'), 'create')
  await handle.write(Buffer.from(`${SECRET}2`), 0)
  await handle.close()
  await log.hold('billing', 0)
  t.match(await log.eraseKey('p2'), { quarantinePurged: 1, proof: { holds: true } })
  t.same(await filesWith(fs, SECRET), [])
  await store.close()
})

t.test('an open transaction stands in the way, and is named', async t => {
  const { store, log } = await made()
  const producer = { producerId: 9, producerEpoch: 0 }
  const { baseOffset } = await log.append([{ key: 'p2', value: `${SECRET}in a transaction` }], {
    ...producer,
    baseSequence: 0,
    transactional: true
  })
  const before = await all(log)
  await t.rejects(log.eraseKey('p2'), { code: 'INVALID_TXN_STATE', details: { lastStableOffset: baseOffset } })
  t.same(await all(log), before)
  await log.appendEndTransaction({ ...producer, type: 'abort', coordinatorEpoch: 0 })
  const { recordsRemoved, recordsFound, proof } = await log.eraseKey('p2')
  t.equal(recordsRemoved, recordsFound)
  t.match(proof, { holds: true }, 'those of an aborted transaction too')
  await store.close()
})

t.test('a log without a store says so', async t => {
  const log = await openLog(await tempDir(t))
  await t.rejects(log.eraseKey('k'), { code: 'INVALID_REQUEST' })
  await log.close()
})

t.test('cut short anywhere, it can be done again', async t => {
  let isOver = false
  let interrupted = 0
  for (let n = 1; !isOver; n += 5) {
    const { fs, log } = await made()
    const before = (await all(log)).filter(({ key }) => key !== 'p2')
    let calls = 0
    fs.onCall = ({ operation }) => {
      if (['read', 'stat', 'fstat', 'readDirectory'].includes(operation)) return
      calls += 1
      if (calls >= n) throw Object.assign(new Error('stopped'), { code: 'EIO' })
    }
    const done = await log.eraseKey('p2').then(
      () => true,
      () => false
    )
    isOver = calls < n
    if (!done) interrupted += 1
    fs.onCall = undefined
    if (n % 2 === 0) fs.powerCut()
    else fs.powerCut({ name: () => true, sector: () => 'keep', length: ({ present }) => present })
    const again = await Store.open('/data', { fs, clock: new ManualClock(), upkeep: { background: false } })
    const reopened = await again.openLog('people', 0)
    t.match(await reopened.eraseKey('p2'), { proof: { holds: true } }, `after call ${n}`)
    t.same(
      (await all(reopened)).filter(({ key }) => key !== 'p2'),
      before
    )
    t.same(await filesWith(fs, SECRET), [])
    await again.close()
  }
  t.ok(interrupted > 5, `${interrupted} times`)
})
