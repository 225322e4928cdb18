/** The same directory, retained by a broker and by heartwood: the same segments stay, and the broker goes on with ours. */
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../lib/index.ts'
import { tempDir } from '../helpers/paths.ts'
import { Agent, type TestRecord } from './agent.ts'
import { Broker } from './broker.ts'
import { startComplaints } from './broker-log.ts'
import { dumpComplaints } from './dump.ts'
import { interopSkip, KAFKA_VERSIONS } from './kafka.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const RECORDS = 240
const PATIENCE_MS = 60_000
const NEVER = { 'log.initial.task.delay.ms': String(DAY) }
const OFTEN = { 'log.initial.task.delay.ms': '200', 'log.retention.check.interval.ms': '500' }

interface Topic {
  readonly settings: Readonly<Record<string, string>>
  /** Of a record by its number, ms before now. */
  readonly age: (number: number) => number
  /** Records before this offset are deleted through the broker. */
  readonly deleteBefore?: number
  /** How many of its segments stay: none of them but a new one, some, all. */
  readonly outcome: 'none' | 'some' | 'all'
}

/** Ages are hours apart from every limit: broker and heartwood need not look in the same second. */
const ascending = (number: number): number => (RECORDS - number) * 6 * HOUR + HOUR / 2

const TOPICS: Readonly<Record<string, Topic>> = {
  'by-time': { settings: { 'retention.ms': String(30 * DAY) }, age: ascending, outcome: 'some' },
  'by-size': { settings: { 'retention.ms': '-1', 'retention.bytes': '9000' }, age: ascending, outcome: 'some' },
  'by-both': {
    settings: { 'retention.ms': String(20 * DAY), 'retention.bytes': '15000' },
    age: ascending,
    outcome: 'some'
  },
  'to-and-fro': {
    settings: { 'retention.ms': String(30 * DAY) },
    age: number => ascending(number) + ((number * 7919) % 20) * 12 * HOUR,
    outcome: 'some'
  },
  'from-the-future': {
    settings: { 'retention.ms': '1000' },
    age: number => (number === 3 ? -HOUR / 2 : ascending(number)),
    outcome: 'all'
  },
  'all-old': { settings: { 'retention.ms': String(DAY) }, age: () => 10 * DAY, outcome: 'none' },
  'zero-bytes': { settings: { 'retention.ms': '-1', 'retention.bytes': '0' }, age: ascending, outcome: 'none' },
  trimmed: { settings: { 'retention.ms': '-1' }, age: ascending, deleteBefore: 100, outcome: 'some' },
  compacted: {
    settings: {
      'cleanup.policy': 'compact',
      'retention.ms': '1000',
      'retention.bytes': '0',
      'min.cleanable.dirty.ratio': '1'
    },
    age: ascending,
    outcome: 'all'
  }
}

const NAMES = Object.keys(TOPICS)

function records(topic: Topic, now: number): TestRecord[] {
  return Array.from({ length: RECORDS }, (_, number) => ({
    key: Buffer.from(`k${number}`).toString('hex'),
    value: Buffer.from(`value-${number}-`.padEnd(100, 'x')).toString('hex'),
    headers: [],
    timestamp: now - topic.age(number)
  }))
}

/** Base offsets of the segments in use, by topic. */
async function segmentsIn(data: string): Promise<Record<string, number[]>> {
  const found: Record<string, number[]> = {}
  for (const topic of NAMES) {
    const names = await readdir(join(data, `${topic}-0`))
    found[topic] = names.filter(name => /^\d{20}\.log$/.test(name)).map(Number.parseFloat)
  }
  return found
}

async function startsOf(agent: Agent, broker: Broker): Promise<Record<string, number>> {
  const starts: Record<string, number> = {}
  for (const topic of NAMES) {
    const name = { topic, partition: 0 }
    starts[topic] = (await agent.endOffsets(broker.bootstrap, name, 'read_uncommitted')).logStartOffset
  }
  return starts
}

for (const version of KAFKA_VERSIONS) {
  t.test(`what Kafka ${version} retains away heartwood does`, { skip: interopSkip() }, async t => {
    const dir = await tempDir(t)
    const data = join(dir, 'data')
    const agent = await Agent.start(version)
    t.teardown(() => agent.stop())
    await makeTopics(agent, dir, version)
    const before = await segmentsIn(data)
    const ours = join(await tempDir(t), 'data')
    await cp(data, ours, { recursive: true })

    await retainOurs(ours)
    const left = await segmentsIn(ours)
    for (const [topic, { outcome }] of Object.entries(TOPICS)) {
      const stayed = before[topic]!.filter(base => left[topic]!.includes(base)).length
      const kind = stayed === 0 ? 'none' : stayed === before[topic]!.length ? 'all' : 'some'
      t.equal(kind, outcome, `${topic}: ${stayed} of ${before[topic]!.length} stay`)
    }

    const theirs = await Broker.start({ version, dir, properties: OFTEN })
    t.teardown(() => theirs.stop('SIGKILL'))
    const giveUp = Date.now() + PATIENCE_MS
    while (JSON.stringify(await segmentsIn(data)) !== JSON.stringify(left) && Date.now() < giveUp)
      await new Promise(resolve => setTimeout(resolve, 250))
    t.same(await segmentsIn(data), left, 'the same segments stay')
    // Two looks later nothing more went.
    await new Promise(resolve => setTimeout(resolve, 1500))
    t.same(await segmentsIn(data), left)
    const starts = await startsOf(agent, theirs)
    await theirs.stop()

    t.same(await dumpComplaints(agent, ours), [])
    const broker = await Broker.start({ version, dir: await tempDir(t), data: ours, properties: NEVER })
    t.teardown(() => broker.stop('SIGKILL'))
    // Of a log without a record a broker drops the snapshot at its start, whoever wrote it: it can say nothing.
    const isEmpty = (line: string): boolean => /: no producer snapshot at the end of the log, offset 240$/.test(line)
    const complaints = startComplaints(broker.log).filter(
      line => !isEmpty(line) || TOPICS[line.replace(/-0: .*/, '')]?.outcome !== 'none'
    )
    t.same(complaints, [], 'the broker opens what heartwood retained as cleanly closed')
    t.same(await startsOf(agent, broker), starts, 'and each partition begins where it began for the broker')
    for (const topic of NAMES) {
      const name = { topic, partition: 0 }
      const seen = await agent.consume(broker.bootstrap, name, 'read_uncommitted')
      const offsets = Array.from({ length: RECORDS - starts[topic]! }, (_, i) => starts[topic]! + i)
      t.same(
        seen.map(({ offset }) => offset),
        offsets,
        topic
      )
      const { offsets: more } = await agent.produce(broker.bootstrap, {
        ...name,
        records: records(TOPICS[topic]!, Date.now()).slice(0, 2),
        batch: 2
      })
      t.same(more, [RECORDS, RECORDS + 1], `${topic} goes on where it ended`)
    }
    await broker.stop()
  })
}

/** Topics whose retention the broker has not looked at yet. */
async function makeTopics(agent: Agent, dir: string, version: string): Promise<void> {
  const broker = await Broker.start({ version: version as '4.3.1', dir, properties: NEVER })
  const segmentBytes = version.startsWith('3.') ? 'segment.bytes' : 'internal.segment.bytes'
  const now = Date.now()
  try {
    for (const [name, topic] of Object.entries(TOPICS)) {
      await agent.createTopic(broker.bootstrap, name, 1, { ...topic.settings, [segmentBytes]: '4096' })
      const produced = await agent.produce(broker.bootstrap, {
        topic: name,
        partition: 0,
        records: records(topic, now),
        batch: 6,
        config: { 'enable.idempotence': 'false' }
      })
      if (produced.problem !== undefined) throw new Error(produced.problem)
      const { deleteBefore } = topic
      if (deleteBefore !== undefined) {
        await agent.deleteRecords(broker.bootstrap, { topic: name, partition: 0 }, deleteBefore)
      }
    }
  } finally {
    await broker.stop()
  }
}

async function retainOurs(dir: string): Promise<void> {
  const store = await Store.open(dir)
  for (const [name, { settings }] of Object.entries(TOPICS)) {
    await store.alterTopic(name, { set: { 'cleanup.policy': 'delete', ...settings } })
  }
  await store.retain()
  await store.close()
}
