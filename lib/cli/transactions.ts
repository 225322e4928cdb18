/** `heartwood transactions list`, `heartwood transactions abort`. */
import type { OpenTransaction } from '../log/open-transactions.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { Store } from '../store/store.ts'
import { systemClock } from '../util/clock.ts'
import { type Context, type DirOption, partitionsOf, withStore } from './common.ts'
import { printTable } from './table.ts'

export interface TransactionsOptions extends DirOption {
  readonly topic: string | undefined
  readonly producerId: number | undefined
  readonly json: boolean
}

interface Found {
  readonly log: PartitionLog
  readonly transaction: OpenTransaction
}

async function find(store: Store, { topic, producerId }: TransactionsOptions): Promise<Found[]> {
  const topics = topic === undefined ? store.topics({ internal: true }).map(known => known.topic) : [topic]
  const found: Found[] = []
  for (const name of topics) {
    for (const partition of partitionsOf(store, name, undefined)) {
      const log = await store.openLog(name, partition)
      for (const transaction of await log.openTransactions()) {
        if (producerId === undefined || producerId === transaction.producerId) found.push({ log, transaction })
      }
    }
  }
  return found
}

function factsOf({ log, transaction }: Found): Record<string, number | string | null> {
  const { producerId, producerEpoch, firstOffset, startedMs } = transaction
  const { topic, partition, lastStableOffset, highWatermark } = log
  return {
    topic,
    partition,
    producerId,
    producerEpoch,
    firstOffset,
    startedMs: startedMs ?? null,
    ageMs: startedMs === undefined ? null : Math.max(0, systemClock.now() - startedMs),
    lastStableOffset,
    highWatermark,
    waiting: highWatermark - lastStableOffset
  }
}

export async function listTransactions(options: TransactionsOptions, context: Context): Promise<number> {
  return withStore(options.dir, { readOnly: true }, async store => {
    await print((await find(store, options)).map(factsOf), options, context)
    return 0
  })
}

/** Read-only unless it is told `yes`. */
export async function abortTransactions(
  options: TransactionsOptions & { readonly yes: boolean },
  context: Context
): Promise<number> {
  return withStore(options.dir, { readOnly: !options.yes, createIfMissing: false }, async store => {
    const found = await find(store, options)
    if (!options.yes) {
      await print(found.map(factsOf), options, context)
      context.say(`Would abort ${found.length} transaction(s). Add --yes to do it; it cannot be undone.`)
      return 0
    }
    for (const { log, transaction } of found) {
      const { producerId, firstOffset } = transaction
      const { lastOffset: offset } = await log.abortTransaction(producerId)
      const { topic, partition, lastStableOffset } = log
      if (options.json) await context.out.json({ topic, partition, producerId, firstOffset, offset, lastStableOffset })
      else {
        const done = `${topic}-${partition}: aborted the transaction of producer ${producerId} from offset ${firstOffset}`
        await context.out.write(`${done}; the last stable offset is ${lastStableOffset} now.\n`)
      }
    }
    if (!options.json && found.length === 0) context.say('No such transaction is open.')
    await context.out.flush()
    return 0
  })
}

async function print(
  rows: readonly Record<string, number | string | null>[],
  { json }: TransactionsOptions,
  context: Context
): Promise<void> {
  if (json) for (const row of rows) await context.out.json(row)
  else if (rows.length === 0) context.say('No transaction is open.')
  else {
    const columns = ['topic', 'partition', 'producerId', 'producerEpoch', 'firstOffset', 'ageMs', 'waiting']
    const cells = rows.map(row => columns.map(column => (row[column] === null ? '-' : String(row[column]))))
    const names = ['topic', 'partition', 'producer id', 'epoch', 'first offset', 'age, ms', 'records waiting']
    await printTable(context, names, cells)
  }
  await context.out.flush()
}
