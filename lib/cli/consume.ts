/**
 * `heartwood consume`: records of one or more topics, as text or JSON lines.
 *
 * Partitions are read one after the other, in order of their number; with `--follow` they are then followed together.
 */

import type { PartitionLog } from '../log/partition-log.ts'
import type { Isolation, StreamOptions } from '../log/types.ts'
import type { LazyRecord } from '../record/lazy-record.ts'
import { type Context, type DirOption, parseTime, partitionsOf, UsageError, withStore } from './common.ts'
import { type Encoding, encodeValue, plainValue } from './encoding.ts'

export interface ConsumeOptions extends DirOption {
  readonly topics: readonly string[]
  readonly partition: number | undefined
  readonly fromBeginning: boolean
  readonly offset: string | undefined
  readonly timestamp: string | undefined
  readonly untilOffset: number | undefined
  readonly maxMessages: number | undefined
  readonly follow: boolean
  readonly isolation: Isolation
  readonly printKey: boolean
  readonly keySeparator: string
  readonly json: boolean
  readonly encoding: Encoding
}

/** Read ahead at a time: small, because memory is what a pipe's user notices. */
const READ_BYTES = 256 * 1024

type Print = (record: LazyRecord) => Promise<void> | undefined

export async function consume(options: ConsumeOptions, context: Context): Promise<number> {
  checkStart(options)
  return withStore(options.dir, { readOnly: true }, async store => {
    const state = { left: options.maxMessages ?? Number.POSITIVE_INFINITY }
    const followed: { log: PartitionLog; topic: string; from: number }[] = []
    // All names are looked up before anything is printed.
    const wanted = options.topics.map(topic => ({ topic, partitions: partitionsOf(store, topic, options.partition) }))
    for (const { topic, partitions } of wanted) {
      for (const partition of partitions) {
        if (state.left <= 0 || context.terminal.interrupted.aborted) break
        const log = await store.openLog(topic, partition)
        const from = await firstOffset(log, options)
        const end = Math.max(from, boundOf(log, options))
        await printRange(log, topic, { from, to: end }, options, context, state)
        followed.push({ log, topic, from: end })
      }
    }
    await context.out.flush()
    if (options.follow && state.left > 0) await followAll(followed, options, context, state)
    return context.terminal.interrupted.aborted ? 130 : 0
  })
}

function checkStart(options: ConsumeOptions): void {
  const given = [options.fromBeginning, options.offset !== undefined, options.timestamp !== undefined].filter(Boolean)
  if (given.length > 1) throw new UsageError('give one of --from-beginning, --offset and --timestamp')
  if (options.offset !== undefined && !/^(\d+|earliest|latest)$/.test(options.offset)) {
    throw new UsageError(`--offset takes a whole number from 0 on, earliest or latest, not "${options.offset}"`)
  }
}

function boundOf(log: PartitionLog, options: ConsumeOptions): number {
  const bound = options.isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark
  return Math.min(bound, options.untilOffset ?? bound)
}

async function firstOffset(log: PartitionLog, options: ConsumeOptions): Promise<number> {
  const bound = options.isolation === 'read_committed' ? log.lastStableOffset : log.highWatermark
  if (options.timestamp !== undefined) {
    const found = await log.offsetForTimestamp(parseTime(options.timestamp), { isolation: options.isolation })
    return found?.offset ?? bound
  }
  if (options.offset === undefined || options.offset === 'earliest') return log.logStartOffset
  return options.offset === 'latest' ? bound : Number(options.offset)
}

async function printRange(
  log: PartitionLog,
  topic: string,
  range: Pick<StreamOptions, 'from' | 'to' | 'follow'>,
  options: ConsumeOptions,
  context: Context,
  state: { left: number }
): Promise<void> {
  const { interrupted } = context.terminal
  const print = printer(topic, log.partition, options, context)
  const stream = log.records({ ...range, isolation: options.isolation, signal: interrupted, maxBytes: READ_BYTES })
  for await (const page of stream.pages()) {
    for (const record of page) {
      if (state.left <= 0 || interrupted.aborted) return
      const full = print(record)
      if (full !== undefined) await full
      state.left -= 1
    }
    // Whoever follows sees a record when it arrives, not when a buffer is full.
    if (range.follow === true) await context.out.flush()
    if (state.left <= 0) return
  }
}

async function followAll(
  followed: readonly { log: PartitionLog; topic: string; from: number }[],
  options: ConsumeOptions,
  context: Context,
  state: { left: number }
): Promise<void> {
  const enough = new AbortController()
  const stopped = AbortSignal.any([context.terminal.interrupted, enough.signal])
  const inner: Context = { ...context, terminal: { ...context.terminal, interrupted: stopped } }
  const until = options.untilOffset === undefined ? {} : { to: options.untilOffset }
  await Promise.all(
    followed.map(async ({ log, topic, from }) => {
      try {
        await printRange(log, topic, { from, follow: true, ...until }, options, inner, state)
      } finally {
        if (state.left <= 0) enough.abort()
      }
    })
  )
  await context.out.flush()
}

function printer(topic: string, partition: number, options: ConsumeOptions, context: Context): Print {
  const { encoding, printKey, keySeparator } = options
  const { out } = context
  if (!options.json) {
    return record => {
      const what = `${topic}-${partition}: the record at offset ${record.offset}`
      if (printKey) {
        out.add(plainValue(record.key, encoding, `${what}: its key`))
        out.add(keySeparator)
      }
      out.add(plainValue(record.value, encoding, what))
      return out.write('\n')
    }
  }
  const start = `{"topic":${JSON.stringify(topic)},"partition":${partition},"offset":`
  return record => out.write(`${start}${recordJson(record, encoding)}}\n`)
}

/** The fields after `"offset":` in their fixed order; built by hand because timestamps may be beyond 2^53. */
function recordJson(record: LazyRecord, encoding: Encoding): string {
  const { timestamp, leaderEpoch } = record
  const exact = Number.isSafeInteger(timestamp) ? timestamp : record.timestampExact
  const headers = record.headers.map(([name, value]) => [name, encodeValue(value, encoding)])
  return (
    `${record.offset},"leaderEpoch":${leaderEpoch < 0 ? 'null' : leaderEpoch},"timestamp":${exact}` +
    `,"timestampType":"${record.timestampType}","key":${JSON.stringify(encodeValue(record.key, encoding))}` +
    `,"value":${JSON.stringify(encodeValue(record.value, encoding))},"headers":${JSON.stringify(headers)}`
  )
}
