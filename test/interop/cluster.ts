/**
 * One data directory that a broker and heartwood take turns on, with what every partition in it must hold.
 * This is the broker's half; `heartwood.ts` has the other.
 */
import { join } from 'node:path'
import { Agent, type PartitionName, type Produced, type TestRecord } from './agent.ts'
import { Broker } from './broker.ts'
import { startComplaints } from './broker-log.ts'
import { dumpComplaints } from './dump.ts'
import type { KafkaVersion } from './kafka.ts'
import { type Fate, PartitionModel } from './model.ts'
import { CODECS, testRecords } from './workload.ts'

const NO_IDEMPOTENCE = { 'enable.idempotence': 'false' }
/** A producer whose transaction a SIGKILL leaves open; nothing but its return may end that. */
const LEFT_OPEN = { 'transactional.id': 'left-open', 'transaction.timeout.ms': '900000' }
/** Soon after its broker is gone a producer gives up. */
const IMPATIENT = { 'delivery.timeout.ms': '3000', 'request.timeout.ms': '2000', 'linger.ms': '0' }

/** Topic settings, by the name of the topic. */
function topicSettings(version: KafkaVersion): Record<string, { partitions: number; configs: Record<string, string> }> {
  const segmentBytes = version.startsWith('3.') ? 'segment.bytes' : 'internal.segment.bytes'
  return {
    plain: { partitions: 2, configs: {} },
    codecs: { partitions: 1, configs: {} },
    idempotent: { partitions: 1, configs: {} },
    transactions: { partitions: 1, configs: {} },
    segments: { partitions: 1, configs: { [segmentBytes]: '32768', 'index.interval.bytes': '512' } },
    stamped: { partitions: 1, configs: { 'message.timestamp.type': 'LogAppendTime' } }
  }
}

export class Cluster {
  readonly dir: string
  readonly version: KafkaVersion
  readonly agent: Agent
  readonly models: readonly PartitionModel[]
  #broker: Broker | undefined
  #transactionOpen = false

  private constructor(dir: string, version: KafkaVersion, agent: Agent) {
    this.dir = dir
    this.version = version
    this.agent = agent
    this.models = Object.entries(topicSettings(version)).flatMap(([topic, { partitions }]) =>
      Array.from({ length: partitions }, (_, partition) => new PartitionModel({ topic, partition }))
    )
  }

  /** A new directory with the lane's topics in it; the broker runs. */
  static async create(dir: string, version: KafkaVersion): Promise<Cluster> {
    const cluster = new Cluster(dir, version, await Agent.start(version))
    try {
      await cluster.start()
      for (const [topic, { partitions, configs }] of Object.entries(topicSettings(version))) {
        await cluster.agent.createTopic(cluster.broker.bootstrap, topic, partitions, configs)
      }
    } catch (problem) {
      await cluster.end()
      throw problem
    }
    return cluster
  }

  get data(): string {
    return join(this.dir, 'data')
  }

  get broker(): Broker {
    if (this.#broker === undefined) throw new Error('the broker is stopped')
    return this.#broker
  }

  model(topic: string, partition = 0): PartitionModel {
    const found = this.models.find(({ name }) => name.topic === topic && name.partition === partition)
    if (found === undefined) throw new Error(`no model of ${topic}-${partition}`)
    return found
  }

  /** Starts the broker; gives what its log complains about, as if the directory had been closed cleanly. */
  async start(): Promise<string[]> {
    this.#broker = await Broker.start({ version: this.version, dir: this.dir })
    return startComplaints(this.#broker.log)
  }

  async stop(): Promise<void> {
    await this.#broker?.stop('SIGTERM')
    this.#broker = undefined
  }

  /** Kills the broker while a transaction is open and an idempotent producer is at work. */
  async kill(label: string): Promise<void> {
    const transaction = testRecords(`${label}-open`, 5)
    await this.#produce('transactions', transaction, { batch: 2, config: LEFT_OPEN, end: 'open' }, 'open')
    this.#transactionOpen = true
    const records = testRecords(`${label}-killed`, 3_000)
    const broker = this.broker
    const name = { topic: 'plain', partition: 1 }
    const produced = await this.agent.produce(
      broker.bootstrap,
      { ...name, records, batch: 5, config: IMPATIENT },
      count => {
        if (count === 200) void broker.stop('SIGKILL')
      }
    )
    if (produced.problem === undefined) throw new Error('the broker was to be killed before the last record')
    await broker.stop('SIGKILL')
    this.#broker = undefined
    this.model('plain', 1).add(records, produced.offsets)
    await this.agent.abandon()
  }

  /** What a real consumer sees differently from what it must see; settles what a crash left unsure. */
  async differences(): Promise<string[]> {
    const differences: string[] = []
    for (const model of this.models) {
      for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
        const seen = await this.agent.consume(this.broker.bootstrap, model.name, isolation)
        differences.push(...model.differences(seen, isolation))
      }
      model.settle()
    }
    return differences
  }

  /** Writes to every topic in every way that Kafka's producer has. */
  async produce(label: string): Promise<void> {
    const plain = { batch: 7, config: NO_IDEMPOTENCE }
    await this.#produce('plain', testRecords(`${label}-plain`, 40), plain)
    await this.#produce('plain', testRecords(`${label}-other`, 10), plain, 'committed', 1)
    for (const codec of CODECS) {
      const config = { ...NO_IDEMPOTENCE, 'compression.type': codec }
      await this.#produce('codecs', testRecords(`${label}-${codec}`, 50), { batch: 20, config })
    }
    await this.#produce('idempotent', testRecords(`${label}-idempotent`, 60, { now: true }), { batch: 8 })
    await this.#produce('segments', testRecords(`${label}-segments`, 300), {
      batch: 10,
      config: { 'compression.type': 'none' }
    })
    await this.#produce('stamped', testRecords(`${label}-stamped`, 20), { batch: 6 })
    await this.#transactions(label)
  }

  /** Has the broker delete the first hundred records that are still there. */
  async trim(): Promise<void> {
    const model = this.model('segments')
    const before = model.expected('read_uncommitted')[100]!.offset
    model.startAt(await this.agent.deleteRecords(this.broker.bootstrap, model.name, before))
  }

  async #transactions(label: string): Promise<void> {
    if (this.#transactionOpen) {
      // By coming back, the producer has its earlier transaction aborted.
      await this.#produce('transactions', testRecords(`${label}-back`, 5), {
        batch: 2,
        config: LEFT_OPEN,
        end: 'commit'
      })
      this.model('transactions').endTransaction('aborted')
      this.#transactionOpen = false
    }
    const one = { batch: 3, config: { 'transactional.id': 'one' } }
    const two = { batch: 3, config: { 'transactional.id': 'two', 'compression.type': 'snappy' } }
    await this.#produce('transactions', testRecords(`${label}-commit`, 10), { ...one, end: 'commit' })
    await this.#produce('transactions', testRecords(`${label}-abort`, 10), { ...two, end: 'abort' }, 'aborted')
    await this.#produce('transactions', testRecords(`${label}-between`, 5), { batch: 2, config: NO_IDEMPOTENCE })
    await this.#produce('transactions', testRecords(`${label}-again`, 10), { ...two, end: 'commit' })
  }

  /** What DumpLogSegments complains about; nobody may have the directory open. */
  dumpComplaints(): Promise<string[]> {
    return dumpComplaints(this.agent, this.data)
  }

  async end(): Promise<void> {
    await this.#broker?.stop('SIGKILL')
    await this.agent.stop()
  }

  async #produce(
    topic: string,
    records: readonly TestRecord[],
    how: { batch: number; config?: Record<string, string>; end?: 'commit' | 'abort' | 'open' },
    fate: Fate = 'committed',
    partition = 0
  ): Promise<Produced> {
    const name: PartitionName = { topic, partition }
    const produced = await this.agent.produce(this.broker.bootstrap, { ...name, records, ...how })
    if (produced.problem !== undefined) throw new Error(`producing to ${topic}: ${produced.problem}`)
    // A log that stamps records itself makes no difference between the times the producer gave them.
    const stamped = topic === 'stamped' ? records.map(record => ({ ...record, timestamp: undefined })) : records
    this.model(topic, partition).add(stamped, produced.offsets, fate)
    return produced
  }
}
