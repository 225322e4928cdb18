/** Ten rounds in which a broker and heartwood take turns on one data directory, each of them killed now and then. */
import t, { type Test } from 'tap'
import { Store } from '../../lib/index.ts'
import { tempDir } from '../helpers/paths.ts'
import { Program } from './child.ts'
import { Cluster } from './cluster.ts'
import { differences, differencesBeside, HeartwoodWriter } from './heartwood.ts'
import { interopSkip, type KafkaVersion } from './kafka.ts'
import { testRecords } from './workload.ts'

const ROUNDS = 10
/** Rounds in which the broker is killed, so that heartwood recovers what it left. */
const BROKER_KILLED = [2, 5, 8]
/** Rounds in which heartwood is killed and the broker finds the directory so. */
const HEARTWOOD_KILLED = [3, 5]
/** Rounds in which heartwood is killed and recovers by itself, before the broker has its turn. */
const HEARTWOOD_RECOVERS = [6, 8]
/** Rounds in which both delete records at the beginning; the broker makes that durable only by a clean stop. */
const TRIMMED = [1, 4, 7]

export function takingTurns(version: KafkaVersion): void {
  t.test(`heartwood and Kafka ${version} take turns on one directory`, { skip: interopSkip() }, async t => {
    const cluster = await Cluster.create(await tempDir(t), version)
    t.teardown(() => cluster.end())
    const writer = new HeartwoodWriter(cluster)
    for (let round = 0; round < ROUNDS; round += 1) {
      await t.test(`round ${round}: the broker`, t => brokerTurn(t, cluster, round))
      await t.test(`round ${round}: heartwood`, t => heartwoodTurn(t, cluster, writer, round))
    }
    await t.test('the broker has the last word', async t => {
      await brokerTurn(t, cluster, ROUNDS)
      t.ok(
        cluster.models.every(model => model.size > 100),
        'there was something in every partition'
      )
    })
  })
}

async function brokerTurn(t: Test, cluster: Cluster, round: number): Promise<void> {
  if (round > 0) {
    const complaints = await cluster.start()
    if (!HEARTWOOD_KILLED.includes(round - 1)) t.same(complaints, [], 'a directory of ours is opened without recovery')
    t.same(await cluster.differences(), [], 'a consumer reads everything in order')
  }
  await cluster.produce(`broker-${round}`)
  t.same(await differencesBeside(cluster), [], 'heartwood reads beside the running broker')
  if (TRIMMED.includes(round)) await cluster.trim()
  if (BROKER_KILLED.includes(round)) {
    await cluster.kill(`broker-${round}`)
    return
  }
  await cluster.stop()
  t.same(await cluster.dumpComplaints(), [], 'DumpLogSegments has nothing to say')
}

async function heartwoodTurn(t: Test, cluster: Cluster, writer: HeartwoodWriter, round: number): Promise<void> {
  const store = await Store.open(cluster.data)
  try {
    t.same(store.status().failed, [], 'every log opens')
    t.same(await differences(store, cluster.models), [], 'heartwood reads everything in order')
    t.same(await writer.append(store, `heartwood-${round}`), [])
    if (TRIMMED.includes(round)) await writer.trim(store)
    t.same(await differences(store, cluster.models), [], 'and what it has added')
  } finally {
    await store.close()
  }
  if (HEARTWOOD_KILLED.includes(round) || HEARTWOOD_RECOVERS.includes(round)) {
    await killedAppending(t, cluster, 'plain', 1, `killed-${round}-plain`)
    await killedAppending(t, cluster, 'segments', 0, `killed-${round}-segments`)
  }
  if (HEARTWOOD_RECOVERS.includes(round)) {
    const again = await Store.open(cluster.data)
    t.same(await differences(again, cluster.models), [], 'what was acknowledged is there after the crash')
    await again.close()
  }
  if (!HEARTWOOD_KILLED.includes(round))
    t.same(await cluster.dumpComplaints(), [], 'DumpLogSegments has nothing to say')
}

/** Lets heartwood append in a process of its own and kills that in the middle. */
async function killedAppending(
  t: Test,
  cluster: Cluster,
  topic: string,
  partition: number,
  label: string
): Promise<void> {
  const offsets: (number | undefined)[] = []
  const levels = new Set<string>()
  let acknowledged = 0
  const program = new Program('appender', [cluster.data, topic, String(partition), label], line => {
    const { index, offset, level } = line as { index: number; offset: number; level: string }
    offsets[index] = offset
    levels.add(level)
    acknowledged += 1
    if (acknowledged === 500) program.kill()
  })
  t.equal(await program.ended(), 'SIGKILL', program.stderr)
  t.same([...levels], ['synced'])
  // What was under way when it died may be there: more than it had at once.
  const sent = testRecords(label, offsets.length + 100)
  cluster.model(topic, partition).add(
    sent,
    Array.from(sent, (_, index) => offsets[index])
  )
}
