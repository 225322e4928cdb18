/**
 * Writes to a real store until it is ended: appends at every durability, idempotent and transactional ones, rolls,
 * retention, compaction, cuts of the end and of the beginning, checkpoints, clean closes.
 *
 *     node dist/test/reliability/writer.child.js '{"dir":…}'      (WriterOptions in lines.ts)
 *
 * Tells on standard output what it is about to do and what was done: see lines.ts.
 */
import { readdirSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AppendResult } from '../../lib/log/acknowledgement.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { AppendOptions } from '../../lib/log/types.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { random } from '../helpers/random.ts'
import { NUMBER_HEADER } from './found.ts'
import type { Line, Pair, ProducerFields, SentLine, WriterOptions } from './lines.ts'
import { TOPICS, type TopicRules } from './topics.ts'

const options = JSON.parse(process.argv[2]!) as WriterOptions
const next = random(options.seed)
let lastNumber = options.firstNumber

// At once: what waits in this process would be lost with it.
const print = (line: Line): void => void writeSync(1, `${JSON.stringify(line)}\n`)

/** A log and what its writer remembers, from one opening of the store to the next. */
interface Actor {
  readonly name: string
  readonly rules: TopicRules
  producer: { id: number; epoch: number; sequence: number; isOpen: boolean } | undefined
  retries: readonly SentLine[]
}

/** @returns the code of an error that is told and gone past. */
function refusedBy(error: unknown, isExpected = false): string {
  if (!isLogError(error) || !(options.keepGoing || isExpected)) throw error
  return error.code
}

async function announced(
  line: SentLine,
  append: () => Promise<AppendResult>,
  isRetry = false
): Promise<AppendResult | undefined> {
  print(line)
  try {
    const ack = await append()
    print({ acked: line.sent, at: ack.baseOffset, level: ack.level, duplicate: ack.duplicate })
    return ack
  } catch (error) {
    // Of a producer that was silent when its log was closed, the last batch alone is remembered, as in Kafka.
    const isForgotten = isRetry && isLogError(error, 'OUT_OF_ORDER_SEQUENCE')
    print({ refused: line.sent, code: refusedBy(error, isForgotten) })
    await sleep(2)
    return undefined
  } finally {
    if (options.pauseMs > 0) await sleep(options.pauseMs)
  }
}

function newRecords(rules: TopicRules, number: number): Pair[] {
  return Array.from({ length: 1 + next(4) }, (_, i): Pair => {
    const key = rules.isCompacted ? `k${next(next(3) === 0 ? 40 : 8)}` : null
    const isTombstone = rules.isCompacted && next(12) === 0
    return [key, isTombstone ? null : `${number}.${i}.`.padEnd(12 + next(next(8) === 0 ? 600 : 60), '~')]
  })
}

function send(
  log: PartitionLog,
  line: SentLine,
  more: AppendOptions = {},
  isRetry = false
): Promise<AppendResult | undefined> {
  const { producer, records, sent } = line
  const fields =
    producer === undefined
      ? {}
      : {
          producerId: producer.id,
          producerEpoch: producer.epoch,
          baseSequence: producer.sequence,
          transactional: producer.transactional
        }
  const inputs = records.map(([key, value], i) => ({ key, value, headers: { [NUMBER_HEADER]: `${sent}.${i}` } }))
  return announced(line, () => log.append(inputs, { ...more, ...fields }), isRetry)
}

/** Appends that nobody numbers: several at a time, some asking for more than the topic's durability. */
async function appendPlain(log: PartitionLog, { name, rules }: Actor): Promise<void> {
  const waiting: Promise<unknown>[] = []
  for (let n = 1 + next(3); n > 0; n -= 1) {
    const sent = ++lastNumber
    const more: AppendOptions = {
      // What is cut is cut between batches.
      ownBatch: rules.does.cuts === true || next(3) === 0,
      ...(rules.does.asks === true && next(6) === 0 && { durability: next(2) === 0 ? 'batch' : 'none' })
    }
    const ended = send(log, { sent, log: name, records: newRecords(rules, sent) }, more)
    const reachesMore = next(8) === 0
    waiting.push(ended.then(async ack => (reachesMore && ack !== undefined ? reach(sent, ack) : undefined)))
  }
  await Promise.all(waiting)
}

async function reach(sent: number, ack: AppendResult): Promise<void> {
  try {
    await ack.reached('synced')
    print({ safe: sent })
  } catch (error) {
    print({ failed: 'reached', code: refusedBy(error) })
  }
}

/** Up to three batches of a producer under way, in sequence. After one that was refused, a new epoch begins. */
async function appendIdempotent(log: PartitionLog, actor: Actor): Promise<void> {
  const waiting: Promise<AppendResult | undefined>[] = []
  for (let n = 1 + next(3); n > 0; n -= 1) waiting.push(sendNumbered(log, actor, false))
  if ((await Promise.all(waiting)).includes(undefined)) beginEpoch(actor)
}

function sendNumbered(log: PartitionLog, actor: Actor, transactional: boolean): Promise<AppendResult | undefined> {
  const { name, rules } = actor
  const producer = actor.producer!
  const sent = ++lastNumber
  const records = newRecords(rules, sent)
  const fields: ProducerFields = { id: producer.id, epoch: producer.epoch, sequence: producer.sequence, transactional }
  producer.sequence += records.length
  return send(log, { sent, log: name, records, producer: fields })
}

function beginEpoch({ producer }: Actor): void {
  producer!.epoch += 1
  producer!.sequence = 0
}

async function transact(log: PartitionLog, actor: Actor): Promise<void> {
  const producer = actor.producer!
  producer.isOpen = true
  for (let n = 1 + next(3); n > 0; n -= 1) {
    if ((await sendNumbered(log, actor, true)) === undefined) beginEpoch(actor)
  }
  // Now and then a transaction spans what comes between, a clean close among it.
  if (next(5) > 0) await endTransaction(log, actor, next(3) === 0 ? 'abort' : 'commit')
}

async function endTransaction(log: PartitionLog, actor: Actor, marker: 'commit' | 'abort'): Promise<void> {
  const producer = actor.producer!
  const sent = ++lastNumber
  const { id, epoch } = producer
  const fields = { id, epoch, sequence: -1, transactional: true }
  const given = { type: marker, producerId: id, producerEpoch: epoch, coordinatorEpoch: sent }
  const line = { sent, log: actor.name, records: [], marker, producer: fields }
  if ((await announced(line, () => log.appendEndTransaction(given))) !== undefined) producer.isOpen = false
}

/** What the process before this one was ended in: the same batches again, and no transaction left open. */
async function goOn(log: PartitionLog, actor: Actor): Promise<void> {
  const { retries } = actor
  actor.retries = []
  for (const line of retries) {
    if ((await send(log, line, {}, true)) !== undefined) continue
    beginEpoch(actor)
    break
  }
  if (actor.rules.does.producer !== 'transactional' || actor.producer!.isOpen === false) return
  if (next(2) === 0) beginEpoch(actor)
  await endTransaction(log, actor, 'abort')
}

async function shorten(log: PartitionLog, { name, rules }: Actor): Promise<void> {
  if (rules.does.trims === true && next(3) === 0) {
    const to = Math.min(log.highWatermark, log.logStartOffset + next(60))
    print({ trimming: name, to })
    const start = await attempt('trim', () => log.deleteRecordsBefore(to))
    if (start !== undefined) print({ trimmed: name, to: start })
  }
  if (rules.does.cuts === true && next(4) === 0) {
    const to = Math.max(log.logStartOffset, log.logEndOffset - next(12))
    // Where a batch begins: one that lies on both sides of the cut goes whole.
    const at = (await attempt('read', () => log.read(to, { maxBytes: 1 })))?.baseOffset ?? log.logEndOffset
    print({ cutting: name, to: at })
    await attempt('cut', async () => {
      await log.truncateTo(at)
      print({ cut: name })
    })
  }
}

/** @returns undefined when it was refused, which is told. */
async function attempt<T>(what: string, step: () => Promise<T>): Promise<T | undefined> {
  try {
    return await step()
  } catch (error) {
    print({ failed: what, code: refusedBy(error) })
    return undefined
  }
}

async function act(log: PartitionLog, actor: Actor, steps: number): Promise<void> {
  if (actor.producer !== undefined) await goOn(log, actor)
  for (let step = 0; step < steps; step += 1) {
    if (actor.producer === undefined) await appendPlain(log, actor)
    else if (actor.rules.does.producer === 'transactional') await transact(log, actor)
    else await appendIdempotent(log, actor)
    await shorten(log, actor)
    if (next(12) === 0) await attempt('roll', () => log.roll())
    if (next(12) === 0) await attempt('sync', () => log.sync())
  }
}

/** Beside the appends. A cleaning may find that its log was cut meanwhile. */
async function maintain(store: Store, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await sleep(1 + next(25))
    const what = next(4)
    if (what === 0) await attempt('checkpoint', () => store.checkpoint())
    else {
      const report = await attempt('maintenance', async () => {
        return what === 1 ? (await store.retain()).partitions : (await store.compact({ force: true })).partitions
      })
      for (const each of report ?? []) {
        if (!('error' in each) || each.error.code === 'SEGMENTS_CHANGED') continue
        if (!options.keepGoing) throw new Error(JSON.stringify(each))
        print({ failed: what === 1 ? 'retain' : 'compact', code: each.error.code })
      }
    }
  }
}

async function openStore(): Promise<Store> {
  const upkeep = {
    lookEveryMs: 15,
    firstRetentionMs: 20,
    retentionEveryMs: 30,
    cleanerMapBytes: 24 * 64,
    cleanerThread: options.cleanerThread
  }
  for (let tries = 0; ; tries += 1) {
    try {
      return await Store.open(options.dir, { checkpointIntervalMs: 25, upkeep })
    } catch (error) {
      // The system may take a moment to let go of what a killed process had.
      if (!isLogError(error, 'LOCKED') || tries === 100) throw error
      await sleep(10)
    }
  }
}

async function work(store: Store, actors: readonly Actor[]): Promise<void> {
  for (const [topic, { configs }] of Object.entries(TOPICS)) {
    if (!store.topics().some(each => each.topic === topic)) await store.createTopic(topic, { configs })
  }
  const steps = options.rounds === 0 ? Number.POSITIVE_INFINITY : 1 + next(options.rounds)
  let isOver = false
  const maintenance = maintain(store, () => isOver)
  try {
    await Promise.all(
      actors.map(async actor => {
        const log = await attempt('open', () => store.openLog(actor.name, 0))
        if (log !== undefined) await act(log, actor, steps)
      })
    )
  } finally {
    isOver = true
  }
  await maintenance
}

/** With nobody to hear it there is nothing to go on for: a reader that was killed cannot end it. */
function endWithReader(): void {
  const endIfAlone = (): void => {
    if (process.ppid !== options.reader) process.exit(3)
  }
  // It may have been killed before this process had begun.
  endIfAlone()
  setInterval(endIfAlone, 100).unref()
}

function tellUsage(): void {
  // Under `node --expose-gc`: what could be collected is no growth.
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const files = readdirSync('/proc/self/fd').length
  print({ usage: { rss, heap: heapUsed, outside: external, files } })
}

async function main(): Promise<void> {
  const actors = Object.entries(TOPICS).map(([name, rules], i): Actor => {
    const before = options.resume.find(({ log }) => log === name)
    const fresh = { id: 100 + i, epoch: 0, sequence: 0, isOpen: false }
    const resumed = before && { id: before.id, epoch: before.epoch, sequence: before.nextSequence, isOpen: true }
    const producer = rules.does.producer === undefined ? undefined : (resumed ?? fresh)
    return { name, rules, producer, retries: before?.retries ?? [] }
  })
  endWithReader()
  if (options.usageEveryMs > 0) setInterval(tellUsage, options.usageEveryMs).unref()
  for (;;) {
    const store = await attempt('open', openStore)
    if (store === undefined) {
      await sleep(20)
      continue
    }
    print({ opened: options.dir })
    for (const { topic, error } of store.status().failed) {
      const isExpected = options.keepGoing && error.code !== 'CORRUPT_LOG'
      print(
        isExpected ? { failed: 'recovery', code: error.code } : { wrong: `${topic}: ${error.code} ${error.message}` }
      )
    }
    await attempt('work', () => work(store, actors))
    await attempt('close', async () => {
      await store.close()
      print({ closed: options.dir })
    })
  }
}

main().catch(error => {
  // A reader that is gone cannot be told.
  if ((error as { code?: string }).code === 'EPIPE') process.exit(3)
  print({ wrong: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exit(1)
})
