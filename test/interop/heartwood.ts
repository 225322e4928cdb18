/** Heartwood's half of taking turns: the counterpart of `cluster.ts`, through the public names alone. */
import { type LazyRecord, type LogConfig, type PartitionLog, type RecordInput, Store } from '../../lib/index.ts'
import type { Isolation, SeenRecord, TestRecord } from './agent.ts'
import type { Cluster } from './cluster.ts'
import type { PartitionModel } from './model.ts'
import { CODECS, testRecords } from './workload.ts'

/** Settings of the broker's topics: a directory does not tell them. */
const TOPIC_CONFIGS: Record<string, Partial<LogConfig>> = {
  segments: { segmentBytes: 32_768, indexIntervalBytes: 512 },
  stamped: { messageTimestampType: 'LogAppendTime' }
}

export function openPartition(store: Store, topic: string, partition = 0): Promise<PartitionLog> {
  return store.openLog(topic, partition, TOPIC_CONFIGS[topic])
}

export function toInput(record: TestRecord): RecordInput {
  const bytes = (hex: string | null) => (hex === null ? null : Buffer.from(hex, 'hex'))
  const input = {
    key: bytes(record.key),
    value: bytes(record.value),
    headers: record.headers.map(([name, value]) => [name, bytes(value)] as const)
  }
  return record.timestamp === undefined ? input : { ...input, timestamp: record.timestamp }
}

export function toSeen(record: LazyRecord): SeenRecord {
  return {
    offset: record.offset,
    leaderEpoch: record.leaderEpoch,
    timestamp: record.timestamp,
    timestampType: record.timestampType,
    key: record.key?.toString('hex') ?? null,
    value: record.value?.toString('hex') ?? null,
    headers: record.headers.map(([name, value]) => [name, value?.toString('hex') ?? null] as const)
  }
}

export async function readLog(log: PartitionLog, isolation: Isolation): Promise<SeenRecord[]> {
  const seen: SeenRecord[] = []
  for await (const record of log.records({ from: 'earliest', isolation })) seen.push(toSeen(record))
  return seen
}

/** What heartwood reads that differs from what it must read; settles what a crash left unsure. */
export async function differences(store: Store, models: readonly PartitionModel[]): Promise<string[]> {
  const found: string[] = []
  for (const model of models) {
    const log = await openPartition(store, model.name.topic, model.name.partition)
    for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
      found.push(...model.differences(await readLog(log, isolation), isolation))
    }
    model.settle()
  }
  return found
}

/**
 * What heartwood, reading beside the running broker, sees that a consumer does not: records, and the answers to
 * ListOffsets.
 */
export async function differencesBeside(cluster: Cluster): Promise<string[]> {
  const store = await Store.open(cluster.data, { readOnly: true })
  try {
    const found = await differences(store, cluster.models)
    for (const { name, label } of cluster.models) {
      const log = await openPartition(store, name.topic, name.partition)
      const times = [0, 1_699_999_999_000, 1_700_000_000_000, 1_700_000_000_155, 1_700_000_001_000, 2_000_000_000_000]
      const queries = ['earliest', 'latest', ...times]
      for (const isolation of ['read_uncommitted', 'read_committed'] as const) {
        const theirs = await cluster.agent.listOffsets(cluster.broker.bootstrap, name, isolation, queries)
        const ours = await Promise.all(queries.map(query => answer(log, query, isolation)))
        // A broker looks into the first segment that has a timestamp so late, and there alone. When its records have
        // been deleted, but not yet the file, it finds nothing; that is no answer to copy.
        const wrong = ours.filter((row, index) => {
          const blind = log.logStartOffset > 0 && theirs[index]![1] === null
          return !blind && JSON.stringify(row) !== JSON.stringify(theirs[index])
        })
        if (wrong.length > 0) {
          found.push(
            `${label} ${isolation}: ListOffsets ${JSON.stringify(wrong)}, the broker ${JSON.stringify(theirs)}`
          )
        }
      }
    }
    return found
  } finally {
    await store.close()
  }
}

type Answer = [query: number | string, offset: number | null, timestamp: number | null]

async function answer(log: PartitionLog, query: number | string, isolation: Isolation): Promise<Answer> {
  if (query === 'earliest') return [query, log.logStartOffset, null]
  if (query === 'latest')
    return [query, isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark, null]
  const found = await log.offsetForTimestamp(query as number, { isolation })
  return [query, found?.offset ?? null, found?.timestamp ?? null]
}

/** A producer with an id, whose sequence goes on from turn to turn. */
interface ProducerState {
  readonly id: number
  next: number
  /** What it sent last, and where that is. */
  last: { readonly records: TestRecord[]; readonly sequence: number; readonly baseOffset: number } | undefined
}

/** Writes to the broker's topics in every way that heartwood has. One for a directory; it goes from turn to turn. */
export class HeartwoodWriter {
  readonly #cluster: Cluster
  readonly #idempotent: ProducerState = { id: 900_001, next: 0, last: undefined }
  readonly #committing: ProducerState = { id: 900_002, next: 0, last: undefined }
  readonly #aborting: ProducerState = { id: 900_003, next: 0, last: undefined }

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** @returns what came out differently than it should. */
  async append(store: Store, label: string): Promise<string[]> {
    await this.#plain(store, label)
    await this.#codecs(store, label)
    const wrong = [...(await this.#readyMade(store)), ...(await this.#idempotence(store, label))]
    await this.#transactions(store, label)
    return wrong
  }

  /** Deletes the first thirty records that are still there. */
  async trim(store: Store): Promise<void> {
    const model = this.#cluster.model('plain')
    const log = await openPartition(store, 'plain')
    model.startAt(await log.deleteRecordsBefore(model.expected('read_uncommitted')[30]!.offset))
  }

  /** Many appends at once, whose offsets are in the order of the calls. */
  async #plain(store: Store, label: string): Promise<void> {
    for (const [topic, partition, count] of [
      ['plain', 0, 40],
      ['plain', 1, 20],
      ['segments', 0, 200],
      ['stamped', 0, 20]
    ] as const) {
      const log = await openPartition(store, topic, partition)
      const records = testRecords(`${label}-${topic}-${partition}`, count, { stamped: topic === 'stamped' })
      const appends: Promise<{ baseOffset: number }>[] = []
      const groups: TestRecord[][] = []
      for (let at = 0, size = 1; at < records.length; at += size, size = (size % 9) + 1) {
        const group = records.slice(at, at + size)
        groups.push(group)
        appends.push(log.append(group.map(toInput)))
      }
      const results = await Promise.all(appends)
      for (const [index, group] of groups.entries()) this.#add(topic, partition, group, results[index]!.baseOffset)
    }
  }

  async #codecs(store: Store, label: string): Promise<void> {
    const log = await openPartition(store, 'codecs')
    for (const compression of CODECS) {
      const records = testRecords(`${label}-${compression}`, 50)
      const { baseOffset } = await log.append(records.map(toInput), { compression })
      this.#add('codecs', 0, records, baseOffset)
    }
  }

  /** Batches that are there already, the broker's own among them, once more, as a client would send them. */
  async #readyMade(store: Store): Promise<string[]> {
    const log = await openPartition(store, 'codecs')
    const model = this.#cluster.model('codecs')
    const end = log.logEndOffset
    const wrong: string[] = []
    for (let at = Math.max(log.logStartOffset, end - 500); at < end; ) {
      const { batches, nextOffset } = await log.read(at, { maxBytes: 1 })
      const base = Number(batches.readBigInt64BE(0))
      const held = model.expected('read_uncommitted').filter(({ offset }) => offset >= base && offset < nextOffset)
      const copy = Buffer.from(batches)
      copy.writeBigInt64BE(0n, 0)
      const { baseOffset } = await log.appendBatch(copy)
      model.add(
        held.map(({ record }) => record),
        held.map(({ offset }) => baseOffset + offset - base)
      )
      const stored = (await log.read(baseOffset, { maxBytes: 1 })).batches
      // Base offset and leader epoch are the log's; everything from the magic byte on is the client's.
      if (!stored.subarray(16).equals(copy.subarray(16)))
        wrong.push(`the batch at ${base} came out changed at ${baseOffset}`)
      at = nextOffset
    }
    return wrong
  }

  /** The batch of the last turn again, which is a duplicate whoever had the directory since; then new ones. */
  async #idempotence(store: Store, label: string): Promise<string[]> {
    const log = await openPartition(store, 'idempotent')
    const producer = this.#idempotent
    const wrong: string[] = []
    if (producer.last !== undefined) {
      const { records, sequence, baseOffset } = producer.last
      const options = { producerId: producer.id, producerEpoch: 0, baseSequence: sequence }
      const result = await log.append(records.map(toInput), options)
      if (!result.duplicate || result.baseOffset !== baseOffset) {
        wrong.push(`idempotent: sequence ${sequence} was given offset ${result.baseOffset}, after ${baseOffset} before`)
        if (!result.duplicate) this.#add('idempotent', 0, records, result.baseOffset)
      }
    }
    for (let batch = 0; batch < 7; batch += 1) {
      await this.#appendFrom(log, producer, testRecords(`${label}-pid-${batch}`, 6, { now: true }))
    }
    return wrong
  }

  async #transactions(store: Store, label: string): Promise<void> {
    const log = await openPartition(store, 'transactions')
    const outcomes = [
      [this.#committing, 'commit', 'committed'],
      [this.#aborting, 'abort', 'aborted']
    ] as const
    // Both are open at once, and their batches interleave.
    for (let batch = 0; batch < 3; batch += 1) {
      for (const [producer, type, fate] of outcomes) {
        const records = testRecords(`${label}-${type}-${batch}`, 4, { now: true })
        await this.#appendFrom(log, producer, records, { transactional: true, fate })
      }
      const plain = testRecords(`${label}-between-${batch}`, 2)
      this.#add('transactions', 0, plain, (await log.append(plain.map(toInput))).baseOffset)
    }
    for (const [producer, type] of outcomes) {
      await log.appendEndTransaction({ type, producerId: producer.id, producerEpoch: 0 })
    }
  }

  async #appendFrom(
    log: PartitionLog,
    producer: ProducerState,
    records: TestRecord[],
    how: { transactional?: boolean; fate?: 'committed' | 'aborted' } = {}
  ): Promise<void> {
    const sequence = producer.next
    const identity = { producerId: producer.id, producerEpoch: 0, baseSequence: sequence }
    const options = how.transactional === true ? { ...identity, transactional: true } : identity
    const { baseOffset } = await log.append(records.map(toInput), options)
    producer.next += records.length
    producer.last = { records, sequence, baseOffset }
    this.#add(log.topic, log.partition, records, baseOffset, how.fate)
  }

  #add(
    topic: string,
    partition: number,
    records: readonly TestRecord[],
    baseOffset: number,
    fate: 'committed' | 'aborted' = 'committed'
  ): void {
    const offsets = records.map((_, index) => baseOffset + index)
    this.#cluster.model(topic, partition).add(records, offsets, fate)
  }
}
