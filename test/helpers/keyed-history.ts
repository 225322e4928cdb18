/** Invented histories of a keyed log, as segment files, and what plain code says of them. */
import fc from 'fast-check'
import type { LiveProducer } from '../../lib/compaction/cleaning-types.ts'
import type { CompressionName } from '../../lib/record/batch-format.ts'
import { encodeEndTransactionMarker } from '../../lib/record/control-record.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { type AbortedTransaction, TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { file } from './partition-folder.ts'

export const T0 = 1_700_000_000_000

/** One step of a history; numbers choose among few, so that keys and producers meet. */
export interface Step {
  readonly kind: 'plain' | 'idempotent' | 'transactional' | 'end' | 'roll' | 'gap' | 'epoch'
  readonly producer: number
  readonly commit: boolean
  readonly records: readonly { readonly key: number; readonly value: number; readonly time: number }[]
  readonly codec: number
  readonly appendTime: boolean
}

const CODECS: readonly CompressionName[] = ['none', 'none', 'none', 'gzip', 'snappy', 'lz4']

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom<Step['kind']>(
      ...(['plain', 'plain', 'plain', 'idempotent', 'transactional', 'transactional'] as const),
      ...(['end', 'end', 'roll', 'gap', 'epoch'] as const)
    ),
    producer: fc.nat(2),
    commit: fc.boolean(),
    // Key 0 is none; value 0 is a tombstone.
    records: fc.array(fc.record({ key: fc.nat(6), value: fc.nat(4), time: fc.nat(300) }), {
      minLength: 1,
      maxLength: 5
    }),
    codec: fc.nat(CODECS.length - 1),
    appendTime: fc.boolean()
  }),
  { minLength: 3, maxLength: 45 }
)

export interface HistoryRecord {
  readonly offset: number
  /** The batch that it is in. */
  readonly batch: HistoryBatch
  readonly key: string | undefined
  readonly value: string | undefined
}

export interface HistoryBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: number
  readonly isMarker: boolean
  fate: 'committed' | 'aborted' | 'open'
  readonly records: HistoryRecord[]
}

export interface History {
  readonly files: Record<string, Buffer>
  /** Base offsets of the segments; the last one is the active one. */
  readonly bases: readonly number[]
  readonly batches: readonly HistoryBatch[]
  readonly aborted: readonly AbortedTransaction[]
  readonly lastStableOffset: number
  readonly logEndOffset: number
  readonly producers: readonly LiveProducer[]
}

class Writer {
  offset = 0
  epoch = 0
  readonly bases = [0]
  readonly content = new Map<number, Buffer[]>([[0, []]])
  readonly batches: HistoryBatch[] = []
  readonly aborted: AbortedTransaction[] = []
  readonly #open = new Map<number, HistoryBatch[]>()
  readonly #sequences = new Map<number, number>()
  readonly producers = new Map<number, LiveProducer>()

  get lastStableOffset(): number {
    return Math.min(this.offset, ...[...this.#open.values()].map(batches => batches[0]!.baseOffset))
  }

  step(step: Step): void {
    if (step.kind === 'roll') this.roll()
    else if (step.kind === 'gap') this.offset += 1 + step.producer
    else if (step.kind === 'epoch') this.epoch += 1
    else if (step.kind === 'end') this.#end(20 + step.producer, step.commit)
    else this.#append(step)
  }

  roll(): void {
    if (this.content.get(this.bases.at(-1)!)!.length === 0) return
    this.bases.push(this.offset)
    this.content.set(this.offset, [])
  }

  #append({ kind, producer, records, codec, appendTime }: Step): void {
    const baseOffset = this.offset
    const producerId = kind === 'plain' ? -1 : (kind === 'idempotent' ? 10 : 20) + producer
    const lastOffset = baseOffset + records.length - 1
    const fate = kind === 'transactional' ? 'open' : 'committed'
    const batch: HistoryBatch = { baseOffset, lastOffset, producerId, isMarker: false, fate, records: [] }
    const inputs = records.map(({ key, value, time }, i) => {
      const offset = baseOffset + i
      const made = {
        offset,
        batch,
        key: key === 0 ? undefined : `k${key}`,
        value: value === 0 ? undefined : `v${offset}`
      }
      batch.records.push(made)
      const headers = value === 3 ? { h: String(offset) } : undefined
      const input = { key: made.key ?? null, value: made.value ?? null, timestamp: T0 + offset + time }
      return headers === undefined ? input : { ...input, headers }
    })
    const baseSequence = this.#sequences.get(producerId) ?? 0
    this.#put(
      encodeBatch(inputs, {
        now: T0 + baseOffset,
        baseOffset,
        leaderEpoch: this.epoch,
        timestampType: appendTime ? 'LogAppendTime' : 'CreateTime',
        compression: CODECS[codec]!,
        ...(producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence, transactional: fate === 'open' })
      }),
      batch
    )
    if (producerId < 0) return
    this.#sequences.set(producerId, baseSequence + records.length)
    this.producers.set(producerId, { producerId, producerEpoch: 0, lastDataOffset: lastOffset })
    if (fate === 'open') this.#open.set(producerId, [...(this.#open.get(producerId) ?? []), batch])
  }

  #end(producerId: number, commit: boolean): void {
    const baseOffset = this.offset
    const type = commit ? 'commit' : 'abort'
    const rest = { producerEpoch: 0, coordinatorEpoch: 0, leaderEpoch: this.epoch, timestamp: T0 + baseOffset }
    const fate = commit ? 'committed' : 'aborted'
    const open = this.#open.get(producerId) ?? []
    for (const batch of open) batch.fate = fate
    this.#open.delete(producerId)
    const batch: HistoryBatch = { baseOffset, lastOffset: baseOffset, producerId, isMarker: true, fate, records: [] }
    this.#put(encodeEndTransactionMarker({ type, producerId, baseOffset, ...rest }), batch)
    if (!this.producers.has(producerId)) {
      this.producers.set(producerId, { producerId, producerEpoch: 0, lastDataOffset: undefined })
    }
    const first = open[0]
    if (first === undefined || commit) return
    const { lastStableOffset } = this
    this.aborted.push({ producerId, firstOffset: first.baseOffset, lastOffset: baseOffset, lastStableOffset })
  }

  #put(bytes: Buffer, batch: HistoryBatch): void {
    this.content.get(this.bases.at(-1)!)!.push(bytes)
    this.batches.push(batch)
    this.offset = batch.lastOffset + 1
  }
}

/** @param forgotten - of the producers, a bit each: the log remembers them no more. */
export function historyOf(given: readonly Step[], forgotten: number): History {
  const writer = new Writer()
  for (const step of given) writer.step(step)
  writer.roll()
  const { bases, content, batches, aborted, lastStableOffset, offset: logEndOffset } = writer
  const files: Record<string, Buffer> = {}
  bases.forEach((base, i) => {
    files[file(base)] = Buffer.concat(content.get(base)!)
    const index = new TransactionIndex(base)
    const next = bases[i + 1] ?? Number.POSITIVE_INFINITY
    for (const entry of aborted) if (entry.lastOffset >= base && entry.lastOffset < next) index.append(entry)
    if (index.entryCount > 0) files[file(base, '.txnindex')] = index.bytes()
  })
  const producers = [...writer.producers.values()].filter((_, i) => ((forgotten >> i) & 1) === 0)
  return { files, bases, batches, aborted, lastStableOffset, logEndOffset, producers }
}
