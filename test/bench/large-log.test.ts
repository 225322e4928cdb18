import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LargeLog } from '../../bench/harness/large-log.ts'
import { Store } from '../../lib/index.ts'

const plan = {
  records: Array.from({ length: 100 }, (_, i) => ({ key: `key-${i % 10}`, value: 'v'.repeat(90) })),
  segmentBytes: 400_000,
  closedSegments: 3,
  activeBatches: 30,
  samplesPerSegment: 2,
  firstTimestamp: Date.UTC(2026, 0, 1)
}

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'heartwood-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test('a log that is filled in has the indexes that the engine writes for the same batches', async t => {
  const large = new LargeLog(plan)
  const [filledIn, written] = [await folder(t), await folder(t)]
  await large.create(filledIn, 'log')

  const store = await Store.open(written, { defaults: { durability: 'none', segmentBytes: plan.segmentBytes } })
  await store.createTopic('log')
  const log = await store.openLog('log', 0)
  const batches = plan.closedSegments * large.batchesPerSegment + plan.activeBatches
  for (let n = 0; n < batches; n += 1) await log.appendAsFollower(large.batch(n))
  await store.close()

  const names = (await readdir(join(written, 'log-0'))).filter(name => name !== 'heartwood-manifest')
  t.equal(names.filter(name => name.endsWith('.log')).length, plan.closedSegments + 1)
  t.same(await readdir(join(filledIn, 'log-0')), names)
  for (const name of names.filter(name => name.endsWith('index'))) {
    const bytes = await readFile(join(filledIn, 'log-0', name))
    t.ok(bytes.length > 0, `${name} has entries`)
    t.same(bytes, await readFile(join(written, 'log-0', name)), name)
  }
  for (const name of names.filter(name => name.endsWith('.log'))) {
    const [bytes, real] = await Promise.all([filledIn, written].map(dir => readFile(join(dir, 'log-0', name))))
    t.equal(bytes!.length, real!.length, `${name} is as long`)
    for (let at = 0; at < bytes!.length; at += large.batchBytes) {
      const batch = bytes!.subarray(at, at + large.batchBytes)
      if (batch.some(byte => byte !== 0)) t.same(batch, real!.subarray(at, at + large.batchBytes), `${name} at ${at}`)
    }
  }
})

t.test('what samples point at can be read by offset and by time, and opening takes the log for clean', async t => {
  const large = new LargeLog(plan)
  const dir = await folder(t)
  await large.create(dir, 'log')
  const store = await Store.open(dir)
  const log = await store.openLog('log', 0)
  t.equal(log.recovery.clean, true)
  const samples = large.samples()
  t.equal(samples.length, plan.samplesPerSegment * (plan.closedSegments + 1))
  for (const { offset, baseOffset, timestamp } of samples) {
    const { batches, baseOffset: found } = await log.read(offset, { maxBytes: 1 })
    t.equal(found, baseOffset)
    t.equal(batches.length, large.batchBytes)
    t.match(await log.offsetForTimestamp(timestamp), { offset: baseOffset, timestamp })
  }
  await store.close()
})

t.test('batches that are too small for an index entry each are refused', t => {
  t.throws(() => new LargeLog({ ...plan, records: plan.records.slice(0, 10) }), TypeError)
  t.end()
})
