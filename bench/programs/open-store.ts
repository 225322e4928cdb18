/** Opens a store, appends to one log of it and reads from it; then, if asked, opens all the others. */
import { type PartitionLog, Store } from '../../lib/index.ts'
import { program } from '../harness/program.ts'

export interface OpenJob {
  readonly directory: string
  readonly topic: string
  /** Number of partitions; the last of them is the one that is used. */
  readonly partitions: number
  readonly everyLog: boolean
}

export interface OpenReport {
  /** Milliseconds since the first call, each when the step was done. */
  readonly opened: number
  readonly readable: number
  readonly appended: number
  /** For opening every other log, and closing the store; not since the beginning. */
  readonly everyLog: number
  readonly closed: number
  /** Opening it a second time, with the code compiled, up to the first append. */
  readonly again: number
  readonly clean: boolean
  readonly logEndOffset: number
}

const RECORD = { key: 'a key', value: 'the first append after opening' }

program<OpenJob>(async ({ directory, topic, partitions, everyLog }): Promise<OpenReport> => {
  const begin = performance.now()
  const store = await Store.open(directory, { createIfMissing: false })
  const opened = performance.now() - begin
  const log = await store.openLog(topic, partitions - 1, { durability: 'none' })
  const { logEndOffset } = log
  await log.read(logEndOffset - 1, { maxBytes: 1 })
  const readable = performance.now() - begin
  await log.append([RECORD])
  const appended = performance.now() - begin
  const clean = log.recovery.clean

  const restBegin = performance.now()
  if (everyLog) {
    const opening: Promise<PartitionLog>[] = []
    for (let partition = 0; partition < partitions - 1; partition += 1) opening.push(store.openLog(topic, partition))
    await Promise.all(opening)
  }
  const restOpened = performance.now() - restBegin
  const closeBegin = performance.now()
  await store.close()
  const closed = performance.now() - closeBegin

  const againBegin = performance.now()
  const second = await Store.open(directory, { createIfMissing: false })
  await (await second.openLog(topic, partitions - 1, { durability: 'none' })).append([RECORD])
  const again = performance.now() - againBegin
  await second.close()
  return { opened, readable, appended, everyLog: restOpened, closed, again, clean, logEndOffset }
})
