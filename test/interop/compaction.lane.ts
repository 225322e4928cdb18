/**
 * Compaction by both engines on one directory: a broker serves what heartwood compacted and goes on cleaning it, and
 * heartwood recovers from a broker that was killed while it cleaned.
 */
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Store } from '../../lib/index.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'
import { Agent, type Isolation, type SeenRecord } from './agent.ts'
import { Broker } from './broker.ts'
import { startComplaints } from './broker-log.ts'
import {
  basesIn,
  CompactedModel,
  cleanedUpTo,
  createTopics,
  leaveHalfway,
  leftOver,
  NAMES,
  produceAll,
  SEGMENT_BYTES,
  TOPICS
} from './compacted.ts'
import { dumpComplaints } from './dump.ts'
import { readLog } from './heartwood.ts'
import { interopSkip, KAFKA_VERSIONS, type KafkaVersion } from './kafka.ts'

const PATIENCE_MS = 60_000
const LEVELS = ['read_uncommitted', 'read_committed'] as const
const HALFWAY = NAMES.filter(name => name.startsWith('halfway-'))

/** A broker's cleaner looks when it starts, and then after so long: what is written meanwhile stays as it is. */
const RARELY = { 'log.cleaner.backoff.ms': '86400000' }
const OFTEN = { 'log.cleaner.backoff.ms': '200' }
/** So slow that it can be met at work. */
const SLOWLY = { 'log.cleaner.backoff.ms': '200', 'log.cleaner.io.max.bytes.per.second': '6000' }
const NEVER = { 'log.cleaner.enable': 'false' }

type Contents = Record<string, Record<Isolation, readonly SeenRecord[]>>

for (const version of KAFKA_VERSIONS) {
  t.test(`heartwood and Kafka ${version} compact the same logs`, { skip: interopSkip() }, async t => {
    const agent = await Agent.start(version)
    t.teardown(() => agent.stop())
    const lane = new Lane(version, agent, await tempDir(t))
    await lane.make()
    await t.test('heartwood compacts what the broker wrote', t => lane.compactOurs(t))
    await t.test('the broker serves that', t => lane.serveOurs(t))
    await t.test('its own cleaner goes on', t => lane.compactTheirs(t))
    await t.test('it is killed while it cleans', async t => lane.recover(t, await tempDir(t)))
  })
}

class Lane {
  readonly #version: KafkaVersion
  readonly #agent: Agent
  readonly #dir: string
  readonly #model = new CompactedModel()
  /** As heartwood read it last. */
  #contents: Contents = {}

  constructor(version: KafkaVersion, agent: Agent, dir: string) {
    this.#version = version
    this.#agent = agent
    this.#dir = dir
  }

  get #data(): string {
    return join(this.#dir, 'data')
  }

  get #before(): string {
    return join(this.#dir, 'before')
  }

  async make(): Promise<void> {
    const broker = await this.#start(this.#dir, this.#data, RARELY)
    try {
      await createTopics(this.#agent, broker, this.#version)
      await produceAll(this.#agent, broker, this.#model)
    } finally {
      await broker.stop()
    }
  }

  async compactOurs(t: Test): Promise<void> {
    const args = ['--dir', this.#data, '--json']
    for (const [topic, { configs }] of Object.entries(TOPICS)) {
      const stated = { 'cleanup.policy': 'compact', 'segment.bytes': String(3 * SEGMENT_BYTES), ...configs }
      const settings = Object.entries(stated).flatMap(([key, value]) => ['--config', `${key}=${value}`])
      const altered = await run(['topics', 'alter', topic, ...args, ...settings])
      t.equal(altered.status, 0, altered.stderr)
    }
    const done = await run(['compact', ...NAMES, ...args])
    t.equal(done.status, 0, done.stderr)
    for (const line of done.json()) {
      t.match(line, { decision: 'clean', rule: 'ratio' })
      const { stats } = line as unknown as { stats: { recordsRead: number; recordsKept: number } }
      t.ok(stats.recordsKept < stats.recordsRead / 2, `${line['partition']}: ${stats.recordsKept} records stay`)
    }
    this.#contents = await this.#read(t, this.#data)
    this.#check(t, this.#contents)
    t.same(await leftOver(this.#data), [])
    t.same(await dumpComplaints(this.#agent, this.#data, { gaps: true }), [], 'DumpLogSegments finds nothing wrong')
  }

  /** Then more is written over the same keys, which the broker's cleaner does not see yet. */
  async serveOurs(t: Test): Promise<void> {
    const broker = await this.#start(this.#dir, this.#data, RARELY)
    try {
      t.same(startComplaints(broker.log), [], 'the broker opens what heartwood compacted as cleanly closed')
      t.same(await this.#consume(broker), this.#contents, 'and serves the same records')
      await produceAll(this.#agent, broker, this.#model)
    } finally {
      await broker.stop()
    }
    t.same(cleanerComplaints(broker.log), [])
    await cp(this.#data, this.#before, { recursive: true })
  }

  async compactTheirs(t: Test): Promise<void> {
    const broker = await this.#start(this.#dir, this.#data, OFTEN)
    let seen: Contents
    try {
      for (const topic of NAMES) {
        const active = (await basesIn(this.#data, topic)).at(-1)
        const cleaned = await eventually(() => cleanedUpTo(this.#data)[topic] === active)
        t.ok(cleaned, `${topic} is clean up to ${active}`)
      }
      seen = await this.#consume(broker)
    } finally {
      await broker.stop()
    }
    t.same(cleanerComplaints(broker.log), [], 'without complaint')
    this.#check(t, seen)
    t.same(await dumpComplaints(this.#agent, this.#data, { gaps: true }), [])
    t.same(await this.#read(t, this.#data), seen, 'heartwood reads what the broker served')
  }

  /** One log is met while the broker cleans it; others are left as a kill at other moments leaves them. */
  async recover(t: Test, dir: string): Promise<void> {
    const ours = join(dir, 'ours')
    await cp(this.#before, ours, { recursive: true })
    for (const topic of HALFWAY) await rm(join(ours, `${topic}-0`), { recursive: true })
    const cleaning = await this.#start(dir, ours, SLOWLY)
    const isMet = await eventually(async () => (await leftOver(ours)).some(name => name.endsWith('.cleaned')), 5)
    await cleaning.stop('SIGKILL')
    t.ok(isMet, 'the cleaner was at work')
    t.comment(`left over: ${(await leftOver(ours)).join(' ')}`)

    const groups = new Map<string, readonly number[]>()
    for (const topic of HALFWAY) {
      const folder = `${topic}-0`
      await rm(join(ours, folder), { recursive: true, force: true })
      await cp(join(this.#before, folder), join(ours, folder), { recursive: true })
      groups.set(topic, await leaveHalfway(ours, this.#data, topic))
    }
    const theirs = join(dir, 'theirs')
    await cp(ours, theirs, { recursive: true })

    const contents = await this.#read(t, ours)
    this.#check(t, contents)
    t.same(await leftOver(ours), [], 'nothing is left over')
    for (const [topic, sources] of groups) {
      const bases = await basesIn(ours, topic)
      const stay = topic === 'halfway-cleaned' ? sources : sources.slice(0, 1)
      t.same(
        sources.filter(base => bases.includes(base)),
        stay,
        topic
      )
    }
    t.same(await dumpComplaints(this.#agent, ours, { gaps: true }), [])
    const broker = await this.#start(dir, theirs, NEVER)
    try {
      t.same(await this.#consume(broker), contents, 'the broker recovers the same records')
    } finally {
      await broker.stop()
    }
    for (const topic of NAMES) t.same(await basesIn(ours, topic), await basesIn(theirs, topic), `${topic}: segments`)
  }

  #start(dir: string, data: string, properties: Readonly<Record<string, string>>): Promise<Broker> {
    return Broker.start({ version: this.#version, dir, data, properties })
  }

  async #read(t: Test, data: string): Promise<Contents> {
    const store = await Store.open(data, { upkeep: { background: false } })
    const contents: Contents = {}
    for (const topic of NAMES) {
      const log = await store.openLog(topic, 0)
      t.equal(log.recovery.truncatedBytes, 0, `${topic}: nothing is cut off`)
      const read: Partial<Record<Isolation, SeenRecord[]>> = {}
      for (const level of LEVELS) read[level] = await readLog(log, level)
      contents[topic] = read as Contents[string]
    }
    t.same(store.status().failed, [])
    await store.close()
    return contents
  }

  async #consume(broker: Broker): Promise<Contents> {
    const contents: Contents = {}
    for (const topic of NAMES) {
      const consume = (level: Isolation) => this.#agent.consume(broker.bootstrap, { topic, partition: 0 }, level)
      contents[topic] = {
        read_uncommitted: await consume('read_uncommitted'),
        read_committed: await consume('read_committed')
      }
    }
    return contents
  }

  #check(t: Test, contents: Contents): void {
    for (const topic of NAMES)
      t.same(this.#model.differences(topic, contents[topic]!.read_committed), [], `${topic}: the latest of each key`)
  }
}

/** What a broker's log says about its cleaner beyond what it always says. */
function cleanerComplaints(log: string): string[] {
  return log.split('\n').filter(line => / (WARN|ERROR) .*clean/i.test(line) || /uncleanable|^\S*Exception/.test(line))
}

async function eventually(isSo: () => boolean | Promise<boolean>, everyMs = 100): Promise<boolean> {
  const giveUp = performance.now() + PATIENCE_MS
  for (;;) {
    if (await isSo()) return true
    if (performance.now() > giveUp) return false
    await sleep(everyMs)
  }
}
