/**
 * A broker's directory of which damaged segments were put into quarantine: what Kafka makes of the holes, stopped in
 * order and killed, and what heartwood still says of them when it has the directory back.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Store } from '../../lib/index.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'
import { Agent, type SeenRecord, type TestRecord } from './agent.ts'
import { Broker } from './broker.ts'
import { startComplaints } from './broker-log.ts'
import { dumpComplaints } from './dump.ts'
import { toInput, toSeen } from './heartwood.ts'
import { interopSkip, KAFKA_VERSIONS, type KafkaVersion } from './kafka.ts'
import { type Fate, PartitionModel } from './model.ts'
import { testRecords } from './workload.ts'

const TOPIC = 'pieces'
const ISOLATIONS = ['read_uncommitted', 'read_committed'] as const
/** Which segment goes of each partition: one that holds the end of an aborted transaction, the first, the last. */
const VICTIMS = ['middle', 'first', 'last'] as const

interface Hole {
  readonly from: number
  readonly to: number
}

for (const version of KAFKA_VERSIONS) {
  t.test(`Kafka ${version} on a directory with marked holes`, { skip: interopSkip() }, async t => {
    const dir = await tempDir(t)
    const agent = await Agent.start(version)
    t.teardown(() => agent.stop())
    const kafka = new Kafka(agent, { version, dir })
    t.teardown(() => kafka.stop('SIGKILL'))
    await kafka.start()
    const segmentBytes = version.startsWith('3.') ? 'segment.bytes' : 'internal.segment.bytes'
    const configs = { [segmentBytes]: '4096', 'index.interval.bytes': '256' }
    await agent.createTopic(kafka.bootstrap, TOPIC, VICTIMS.length, configs)
    const all = VICTIMS.map((victim, partition) => new Pieces(t, { kafka, victim, partition }))
    await eachOf(all, pieces => pieces.fill())
    await kafka.stop()

    await eachOf(all, pieces => pieces.quarantine())
    await eachOf(all, pieces => pieces.readWithHeartwood('heartwood tells of the hole'))

    t.same(await kafka.start(), [], 'Kafka opens what was repaired without a complaint, and recovers nothing')
    await eachOf(all, pieces => pieces.consume('a consumer gets every record on both sides'))
    await eachOf(all, pieces => pieces.produce('by Kafka', 40))
    await kafka.stop('SIGKILL')
    await kafka.start()
    await eachOf(all, pieces => pieces.consume('Kafka recovers it after it was killed, and loses nothing'))
    await kafka.stop()
    t.same(await dumpComplaints(agent, kafka.data, { gaps: true }), [])

    await eachOf(all, pieces => pieces.readWithHeartwood('the hole is still told'))
    const verified = await run(['verify', kafka.data])
    t.equal(verified.status, 0, verified.stdout)
    await eachOf(all, pieces => pieces.appendWithHeartwood('by heartwood', 20))
    await eachOf(all, pieces => pieces.readWithHeartwood('and still'))
    t.same(await kafka.start(), [])
    await eachOf(all, pieces => pieces.consume('whoever wrote'))
    await kafka.stop()
  })
}

async function eachOf(all: readonly Pieces[], work: (pieces: Pieces) => Promise<unknown>): Promise<void> {
  for (const pieces of all) await work(pieces)
}

/** The broker, which comes and goes. */
class Kafka {
  readonly agent: Agent
  readonly #where: { readonly version: KafkaVersion; readonly dir: string }
  #broker: Broker | undefined

  constructor(agent: Agent, where: { version: KafkaVersion; dir: string }) {
    this.agent = agent
    this.#where = where
  }

  get data(): string {
    return join(this.#where.dir, 'data')
  }

  get bootstrap(): string {
    if (this.#broker === undefined) throw new Error('the broker is stopped')
    return this.#broker.bootstrap
  }

  /** @returns what its log complains about, as if the directory had been closed cleanly. */
  async start(): Promise<string[]> {
    this.#broker = await Broker.start(this.#where)
    return startComplaints(this.#broker.log)
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.#broker?.stop(signal)
    this.#broker = undefined
  }
}

/** A partition, and what is in it whoever has it. */
class Pieces {
  readonly #t: Test
  readonly #kafka: Kafka
  readonly #victim: (typeof VICTIMS)[number]
  readonly #name: { readonly topic: string; readonly partition: number }
  readonly #model: PartitionModel
  #hole: Hole | undefined
  /** Where the marker of the aborted transaction is. */
  #marker = 0

  constructor(t: Test, given: { kafka: Kafka; victim: (typeof VICTIMS)[number]; partition: number }) {
    this.#t = t
    this.#kafka = given.kafka
    this.#victim = given.victim
    this.#name = { topic: TOPIC, partition: given.partition }
    this.#model = new PartitionModel(this.#name)
  }

  async fill(): Promise<void> {
    await this.produce('before', 30)
    this.#marker = await this.produce('aborted', 30, 'aborted')
    await this.produce('behind', 72)
    await this.produce('last', 12)
  }

  /** @returns the offset behind the last of them, where the marker is. */
  async produce(label: string, count: number, fate: Fate = 'committed'): Promise<number> {
    const records = small(testRecords(label, count))
    const config = { 'transactional.id': 'writer' }
    const end = fate === 'aborted' ? 'abort' : 'commit'
    const command = { ...this.#name, records, config, batch: 3, end } as const
    const { offsets, problem } = await this.#kafka.agent.produce(this.#kafka.bootstrap, command)
    this.#t.equal(problem, undefined)
    this.#model.add(records, offsets, fate)
    return (offsets.at(-1) as number) + 1
  }

  async consume(message: string): Promise<void> {
    for (const isolation of ISOLATIONS) {
      const seen = await this.#kafka.agent.consume(this.#kafka.bootstrap, this.#name, isolation)
      this.#t.same(this.#model.differences(seen, isolation), [], `${this.#victim}: ${message}`)
    }
  }

  /** Damages a segment and has it put away, as somebody would by hand. */
  async quarantine(): Promise<void> {
    const { data } = this.#kafka
    const bases = basesOf(join(data, this.#model.label))
    const middle = bases.findLast(base => base <= this.#marker) as number
    this.#t.ok(middle > 30 && middle < (bases.at(-1) as number), `of ${bases.join()} the marker is in ${middle}`)
    const base = { middle, first: 0, last: bases.at(-1) as number }[this.#victim]
    const file = `${this.#model.label}/${String(base).padStart(20, '0')}.log`
    const bytes = readFileSync(join(data, file))
    // Not in what Kafka's format has no checksum of, and with sound batches behind it.
    bytes[100] = (bytes[100] as number) ^ 0x20
    writeFileSync(join(data, file), bytes)
    const found = await run(['verify', data])
    this.#t.equal(found.status, 1, 'the damage is found')
    this.#t.match(found.stdout, file)
    const { status, stdout, stderr } = await run(['verify', data, '--repair', `quarantine=${file}`, '--yes'])
    this.#t.equal(status, 0, stdout + stderr)
    await using store = await Store.open(data, { readOnly: true })
    const log = await store.openLog(TOPIC, this.#name.partition)
    this.#hole = await lossAt(log.get(base))
    this.#t.equal(this.#hole.from, base)
    this.#t.equal(this.#hole.to, bases.find(other => other > base) ?? log.logEndOffset)
    this.#model.lose(this.#hole.from, this.#hole.to)
  }

  async readWithHeartwood(message: string): Promise<void> {
    await using store = await Store.open(this.#kafka.data, { readOnly: true })
    const log = await store.openLog(TOPIC, this.#name.partition)
    for (const isolation of ISOLATIONS) {
      const [seen, holes] = [[] as SeenRecord[], [] as Hole[]]
      for (let from: number | undefined = log.logStartOffset; from !== undefined; ) {
        try {
          for await (const record of log.records({ from, isolation })) seen.push(toSeen(record))
          from = undefined
        } catch (error) {
          const hole = await lossAt(Promise.reject(error))
          holes.push(hole)
          from = hole.to
        }
      }
      this.#t.same(this.#model.differences(seen, isolation), [], `${this.#victim}: heartwood reads, ${isolation}`)
      this.#t.same(holes, [this.#hole], `${this.#victim}: ${message}`)
    }
  }

  async appendWithHeartwood(label: string, count: number): Promise<void> {
    await using store = await Store.open(this.#kafka.data)
    const log = await store.openLog(TOPIC, this.#name.partition)
    const records = small(testRecords(label, count))
    const { baseOffset } = await log.append(records.map(toInput))
    this.#model.add(
      records,
      records.map((_, index) => baseOffset + index)
    )
  }
}

function basesOf(folder: string): number[] {
  const names = readdirSync(folder).filter(name => name.endsWith('.log'))
  return names.map(name => Number.parseInt(name, 10)).sort((a, b) => a - b)
}

async function lossAt(reading: Promise<unknown>): Promise<Hole> {
  try {
    await reading
  } catch (error) {
    if (!isLogError(error, 'DATA_LOSS')) throw error
    return { from: Number(error.details['from']), to: Number(error.details['to']) }
  }
  throw new Error('nothing is lost there')
}

/** As many segments as there can be: a value of twenty kilobytes is one by itself. */
function small(records: readonly TestRecord[]): TestRecord[] {
  return records.map(record => ({ ...record, value: record.value?.slice(0, 400) ?? null }))
}
