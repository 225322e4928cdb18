/**
 * `heartwood produce`: one record per input line.
 *
 * Lines are gathered into one batch per partition; a batch goes out when it is full, or 100 ms after its first line,
 * so that a slow pipe is visible at once. At most `MAX_IN_FLIGHT` batches wait for their acknowledgement.
 */

import { toLogError } from '../fs/system-errors.ts'
import type { AppendResult } from '../log/acknowledgement.ts'
import type { Durability } from '../log/log-config.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { AckLevel } from '../log/types.ts'
import { type CompressionName, HEADER_BYTES } from '../record/batch-format.ts'
import type { RecordInput } from '../record/record.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { partitionForKey } from '../util/murmur2.ts'
import { MiB } from '../util/sizes.ts'
import { type Context, type DirOption, partitionsOf, UsageError, withStore } from './common.ts'
import type { Encoding } from './encoding.ts'
import { lineBlocks } from './lines.ts'
import { progressBar } from './progress.ts'
import { lineParser, type ParsedRecord } from './record-lines.ts'

export interface ProduceOptions extends DirOption {
  readonly topic: string
  readonly partition: number | undefined
  readonly keySeparator: string | undefined
  readonly json: boolean
  readonly encoding: Encoding
  readonly compression: CompressionName | undefined
  readonly batchSize: number
  readonly durability: Durability | undefined
}

const LINGER_MS = 100
const MAX_IN_FLIGHT = 8
/** Nobody in this process reads what it writes: enough for the buffers to go round. */
const TAIL_BYTES = 4 * MiB

export async function produce(options: ProduceOptions, context: Context): Promise<number> {
  const parse = lineParser(options)
  const opening = { readOnly: false, createIfMissing: false, tailBytes: TAIL_BYTES }
  return withStore(options.dir, opening, async store => {
    const partitions = partitionsOf(store, options.topic, options.partition)
    const all = partitionsOf(store, options.topic, undefined)
    const logs = new Map<number, PartitionLog>()
    for (const partition of all) logs.set(partition, await store.openLog(options.topic, partition))
    const producer = new LineProducer(options, logs, partitions, all.length)
    const bar = progressBar(context, 'lines', undefined)
    const began = performance.now()
    try {
      await producer.run(context, parse, count => bar.update(count))
    } finally {
      bar.stop()
    }
    const summary = producer.summary((performance.now() - began) / 1000)
    if (options.json) await context.out.json(summary)
    else context.say(JSON.stringify(summary))
    await context.out.flush()
    return context.terminal.interrupted.aborted ? 130 : 0
  })
}

/** One batch in the making. */
interface Gathering {
  readonly records: RecordInput[]
  readonly firstLine: number
  /** Upper bound of its size before compression. */
  bytes: number
  /** Of keys and values. */
  payloadBytes: number
}

/** What is remembered of a batch on its way: not its records, which would have grown old when a slow disk answers. */
interface Sent {
  readonly count: number
  readonly firstLine: number
  readonly payloadBytes: number
}

class LineProducer {
  readonly #options: ProduceOptions
  readonly #logs: ReadonlyMap<number, PartitionLog>
  readonly #chosen: readonly number[]
  readonly #partitions: number
  /** A batch is sent before it would grow past this. */
  readonly #batchBytes: number
  readonly #gathering = new Map<number, Gathering>()
  readonly #inFlight = new Set<Promise<void>>()
  readonly #baseOffsets = new Map<number, number>()
  readonly #lastOffsets = new Map<number, number>()
  #turn = 0
  #records = 0
  #bytes = 0
  #level: AckLevel | undefined
  #failure: unknown
  #timer: NodeJS.Timeout | undefined

  constructor(
    options: ProduceOptions,
    logs: ReadonlyMap<number, PartitionLog>,
    chosen: readonly number[],
    partitions: number
  ) {
    this.#options = options
    this.#logs = logs
    this.#chosen = chosen
    this.#partitions = partitions
    const [first] = logs.values()
    this.#batchBytes = Math.min(options.batchSize, (first as PartitionLog).config.maxMessageBytes)
  }

  async run(
    context: Context,
    parse: (line: Buffer) => ParsedRecord,
    progress: (records: number) => void
  ): Promise<void> {
    const { interrupted, stdin } = context.terminal
    const first = this.#logs.values().next().value as PartitionLog
    // Text forms are longer than the bytes they stand for: hex twice, JSON escapes up to six times.
    const maxLine = first.config.maxMessageBytes * 8 + 4096
    const stop = (): void => void (stdin as unknown as { destroy(): void }).destroy()
    interrupted.addEventListener('abort', stop, { once: true })
    try {
      for await (const block of lineBlocks(stdin as AsyncIterable<Buffer>, maxLine)) {
        for (const [index, line] of block.lines.entries()) {
          await this.#line(line, block.firstNumber + index, parse)
          if (this.#failure !== undefined) throw this.#failure
        }
        progress(this.#records)
      }
    } catch (error) {
      if (!interrupted.aborted) throw await this.#stopped(error)
    } finally {
      interrupted.removeEventListener('abort', stop)
    }
    await this.#flushAll()
    if (this.#failure !== undefined) throw await this.#stopped(this.#failure)
  }

  summary(seconds: number): Record<string, unknown> {
    return {
      records: this.#records,
      bytes: this.#bytes,
      baseOffsets: Object.fromEntries(this.#baseOffsets),
      lastOffsets: Object.fromEntries(this.#lastOffsets),
      level: this.#level ?? null,
      seconds: Math.round(seconds * 1000) / 1000
    }
  }

  async #line(line: Buffer, number: number, parse: (line: Buffer) => ParsedRecord): Promise<void> {
    let record: ParsedRecord
    let partition: number
    try {
      record = parse(line)
      partition = this.#partitionFor(record)
    } catch (error) {
      throw error instanceof TypeError
        ? new LogError('INVALID_RECORD', `line ${number} ${error.message}`, { line: number }, error)
        : error
    }
    let gathering = this.#gathering.get(partition)
    // Records that fit one by one must not be refused together. A record without a key may then go elsewhere.
    while (gathering !== undefined && gathering.bytes + record.bytes > this.#batchBytes) {
      await this.#send(partition)
      partition = this.#partitionFor(record)
      gathering = this.#gathering.get(partition)
    }
    if (gathering === undefined) {
      gathering = { records: [], firstLine: number, bytes: HEADER_BYTES, payloadBytes: 0 }
      this.#gathering.set(partition, gathering)
      this.#timer ??= setTimeout(() => this.#lingered(), LINGER_MS)
    }
    gathering.records.push(record.record)
    gathering.bytes += record.bytes
    gathering.payloadBytes += (record.record.key?.length ?? 0) + (record.record.value?.length ?? 0)
    if (gathering.bytes >= this.#batchBytes) await this.#send(partition)
  }

  #partitionFor(record: ParsedRecord): number {
    if (record.partition !== undefined) {
      if (!this.#logs.has(record.partition))
        throw new TypeError(`asks for partition ${record.partition}, and there are ${this.#partitions}`)
      return record.partition
    }
    if (this.#options.partition !== undefined) return this.#options.partition
    const { key } = record.record
    if (key !== null && this.#partitions > 1) return partitionForKey(key, this.#partitions)
    return this.#chosen[this.#turn % this.#chosen.length] as number
  }

  #lingered(): void {
    this.#timer = undefined
    for (const partition of [...this.#gathering.keys()]) this.#append(partition)
  }

  async #send(partition: number): Promise<void> {
    this.#append(partition)
    while (this.#inFlight.size >= MAX_IN_FLIGHT) await Promise.race(this.#inFlight)
  }

  #append(partition: number): void {
    const gathering = this.#gathering.get(partition)
    if (gathering === undefined || this.#failure !== undefined) return
    this.#gathering.delete(partition)
    // The next batch without keys goes to the next partition.
    if (partition === this.#chosen[this.#turn % this.#chosen.length]) this.#turn += 1
    const { durability, compression } = this.#options
    const log = this.#logs.get(partition) as PartitionLog
    const { records, firstLine, payloadBytes } = gathering
    const appended = log.append(records, {
      ownBatch: true,
      ...(durability === undefined ? {} : { durability }),
      ...(compression === undefined ? {} : { compression })
    })
    this.#await(partition, { count: records.length, firstLine, payloadBytes }, appended)
  }

  /** In a function of its own: a closure keeps everything alive that its surroundings name. */
  #await(partition: number, batch: Sent, appended: Promise<AppendResult>): void {
    const sent = appended
      .then(result => this.#acknowledged(partition, batch, result))
      .catch((error: unknown) => {
        this.#failure ??= refused(error, batch)
      })
      .finally(() => this.#inFlight.delete(sent))
    this.#inFlight.add(sent)
  }

  #acknowledged(partition: number, { count, payloadBytes }: Sent, result: AppendResult): void {
    this.#records += count
    this.#bytes += payloadBytes
    if (!this.#baseOffsets.has(partition)) this.#baseOffsets.set(partition, result.baseOffset)
    this.#lastOffsets.set(partition, result.lastOffset)
    this.#level = result.level
  }

  async #flushAll(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const partition of [...this.#gathering.keys()]) await this.#send(partition)
    await Promise.all(this.#inFlight)
  }

  /** What was read before a bad line is written, and the error says how much that is. */
  async #stopped(error: unknown): Promise<unknown> {
    if (error instanceof UsageError) return error
    const isBadLine = error !== this.#failure
    if (isBadLine) await this.#flushAll()
    else await Promise.all(this.#inFlight)
    clearTimeout(this.#timer)
    const { code, message, details } = error as LogError
    const known = code === undefined ? toLogError(error, 'read', 'standard input') : { code, message, details }
    const lost = isBadLine && this.#failure !== undefined ? `; before it, ${(this.#failure as Error).message}` : ''
    const before = isBadLine && lost === '' ? 'before it ' : ''
    const stay = `${this.#records} records ${before}were written and stay`
    return new LogError(
      known.code,
      `${known.message}${lost}; ${stay}`,
      { ...known.details, written: this.#records },
      error
    )
  }
}

/** Names the lines whose records a log did not take. */
function refused(error: unknown, { count, firstLine }: Sent): unknown {
  if (!isLogError(error)) return error
  const lines = count === 1 ? `line ${firstLine} was` : `${count} records from line ${firstLine} on were`
  const reason = error.message.replace(/\.$/, '')
  return new LogError(error.code, `${lines} not written: ${reason}`, { ...error.details, line: firstLine }, error)
}
