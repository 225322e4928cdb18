/**
 * The lane's own instruments, tried on Kafka alone: what they hold against heartwood must not be what they hold
 * against any broker, and what is wrong must not escape them.
 */
import { closeSync, openSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '../helpers/paths.ts'
import { Cluster } from './cluster.ts'
import { interopSkip, KAFKA_VERSIONS } from './kafka.ts'

const skip = interopSkip()

for (const version of KAFKA_VERSIONS) {
  t.test(`Kafka ${version} alone, stopped and killed, gives no cause for complaint`, { skip }, async t => {
    const cluster = await Cluster.create(await tempDir(t), version)
    t.teardown(() => cluster.end())
    await cluster.produce('first')
    t.same(await cluster.differences(), [], 'a consumer sees what the producers were acknowledged')
    await cluster.stop()
    t.same(await cluster.dumpComplaints(), [], 'DumpLogSegments finds nothing')

    t.same(await cluster.start(), [], 'a clean directory is opened without recovery')
    t.same(await cluster.differences(), [])
    await cluster.produce('second')
    await cluster.kill('second')
    const complaints = await cluster.start()
    t.ok(
      complaints.some(line => line.includes('Recovering unflushed segment')),
      'recovery does not go unnoticed'
    )
    t.same(await cluster.differences(), [], 'nothing acknowledged is gone, nothing is there twice')
    await cluster.produce('third')
    t.same(await cluster.differences(), [])
    await cluster.stop()
    t.same(await cluster.dumpComplaints(), [])
  })
}

t.test('what is wrong does not escape the instruments', { skip }, async t => {
  const cluster = await Cluster.create(await tempDir(t), '4.3.1')
  t.teardown(() => cluster.end())
  await cluster.produce('only')
  const seen = await cluster.agent.consume(cluster.broker.bootstrap, cluster.model('plain').name, 'read_uncommitted')
  const differences = (records: typeof seen) => cluster.model('plain').differences(records, 'read_uncommitted')
  t.same(differences(seen), [])
  t.match(differences(seen.slice(0, -1)), [/lost: offset 39/])
  t.match(differences([...seen.slice(0, 5), ...seen.slice(6)]), [/lost: offset 5/])
  t.match(differences([...seen, { ...seen[3]!, offset: 40 }]), [/nobody wrote/])
  t.match(differences(seen.map(record => ({ ...record, value: '00' })))[0], /has changed: value/)
  await cluster.stop()

  const folder = join(cluster.data, 'segments-0')
  const indexes = readdirSync(folder).filter(name => name.endsWith('.index'))
  t.ok(indexes.length > 1, 'there is more than one segment')
  spoil(join(folder, '00000000000000000000.log'), 100)
  spoil(join(folder, indexes.sort()[1]!), 7)
  const complaints = (await cluster.dumpComplaints()).join('\n')
  t.match(complaints, /segments-0: baseOffset: 0 .*isvalid: false/)
  t.match(complaints, /Mismatches in|Exception/)
})

/** Changes one byte of a file. */
function spoil(path: string, position: number): void {
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.from([0x5a]), 0, 1, position)
  closeSync(file)
}
