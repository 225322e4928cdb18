/** What heartwood made and a broker takes over: topics handed to it, and backups of a directory it owns. */
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../lib/index.ts'
import { tempDir } from '../helpers/paths.ts'
import { Broker } from './broker.ts'
import { startComplaints } from './broker-log.ts'
import { Cluster } from './cluster.ts'
import { dumpComplaints } from './dump.ts'
import { HeartwoodWriter, toInput } from './heartwood.ts'
import { interopSkip, KAFKA_VERSIONS } from './kafka.ts'
import { PartitionModel } from './model.ts'
import { CODECS, testRecords } from './workload.ts'

for (const version of KAFKA_VERSIONS) {
  t.test(`a topic of ours is handed over to Kafka ${version}`, { skip: interopSkip() }, async t => {
    const cluster = await Cluster.create(await tempDir(t), version)
    t.teardown(() => cluster.end())
    await cluster.agent.createTopic(cluster.broker.bootstrap, 'ours', 2, {})
    await cluster.stop()

    const ours = join(await tempDir(t), 'ours')
    const models = await fillTopic(ours)
    const report = await Store.handOver('ours', ours, cluster.data)
    t.equal(report.partitions.length, 2)
    t.same(await cluster.dumpComplaints(), [])

    t.same(await cluster.start(), [], 'the broker opens it as its own, without recovery')
    for (const model of models) {
      for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
        const seen = await cluster.agent.consume(cluster.broker.bootstrap, model.name, isolation)
        t.same(model.differences(seen, isolation), [])
      }
      const records = testRecords(`after-${model.label}`, 20)
      const { offsets } = await cluster.agent.produce(cluster.broker.bootstrap, { ...model.name, records, batch: 6 })
      model.add(records, offsets)
      const seen = await cluster.agent.consume(cluster.broker.bootstrap, model.name, 'read_committed')
      t.same(model.differences(seen, 'read_committed'), [], 'and goes on where heartwood ended')
    }
    await cluster.stop()
    t.same(await cluster.dumpComplaints(), [])
  })

  t.test(`a backup, made while appends go on, serves Kafka ${version}`, { skip: interopSkip() }, async t => {
    const cluster = await Cluster.create(await tempDir(t), version)
    t.teardown(() => cluster.end())
    await cluster.produce('before')
    await cluster.stop()

    const store = await Store.open(cluster.data)
    const writer = new HeartwoodWriter(cluster)
    t.same(await writer.append(store, 'heartwood'), [])
    const copy = join(await tempDir(t), 'copy')
    const late = testRecords('late', 50)
    const log = await store.openLog('plain', 0)
    const [, offsets] = await Promise.all([
      store.backup(copy),
      Promise.all(late.map(async record => (await log.append([toInput(record)])).baseOffset))
    ])
    await store.close()

    t.same(await dumpComplaints(cluster.agent, copy), [])
    const broker = await Broker.start({ version, dir: await tempDir(t), data: copy })
    t.teardown(() => broker.stop('SIGKILL'))
    t.same(startComplaints(broker.log), [], 'the copy is a cleanly closed directory')
    // Of what was appended meanwhile, the copy may have a beginning.
    cluster.model('plain').add(
      late,
      late.map(() => undefined)
    )
    for (const model of cluster.models) {
      for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
        const seen = await cluster.agent.consume(broker.bootstrap, model.name, isolation)
        t.same(model.differences(seen, isolation), [])
        if (model.label !== 'plain-0') continue
        const caught = seen.filter(({ offset }) => offset >= offsets[0]!)
        t.same(
          caught.map(({ offset }) => offset),
          offsets.slice(0, caught.length)
        )
      }
    }
    await broker.stop()
  })
}

/** A topic in a new directory of ours: plain and compressed records, transactions, several segments. */
async function fillTopic(dir: string): Promise<PartitionModel[]> {
  const store = await Store.open(dir)
  const models = [0, 1].map(partition => new PartitionModel({ topic: 'ours', partition }))
  await store.createTopic('ours', { partitions: 2 })
  for (const model of models) {
    const log = await store.openLog('ours', model.name.partition, { segmentBytes: 32_768 })
    for (const compression of CODECS) {
      for (let batch = 0; batch < 10; batch += 1) {
        const records = testRecords(`${model.label}-${compression}-${batch}`, 20)
        const { baseOffset } = await log.append(records.map(toInput), { compression })
        model.add(
          records,
          records.map((_, index) => baseOffset + index)
        )
      }
    }
    for (const [index, type] of (['commit', 'abort'] as const).entries()) {
      const records = testRecords(`${model.label}-${type}`, 10, { now: true })
      const identity = { producerId: 800_000 + index, producerEpoch: 0 }
      const { baseOffset } = await log.append(records.map(toInput), {
        ...identity,
        baseSequence: 0,
        transactional: true
      })
      await log.appendEndTransaction({ type, ...identity })
      const offsets = records.map((_, index) => baseOffset + index)
      model.add(records, offsets, type === 'commit' ? 'committed' : 'aborted')
    }
  }
  await store.close()
  return models
}
