/**
 * A log that is appended to and read at the same time, in one process, as a service has it.
 *
 * Only heartwood and the bare loop have one here: a rival would need a follower of somebody's making, and the figures
 * would be its maker's.
 */
import { engine as ceiling } from './ceiling.ts'
import { BareFollower } from './ceiling-read.ts'
import type { Appender, Level } from './engine.ts'
import { DURABILITY, openBenchLog } from './heartwood.ts'
import { RivalMissing } from './load.ts'

/** Records as a follower takes them: all at once that one read has found. */
export interface Page {
  readonly firstPosition: number
  readonly count: number
  /** Bytes of all values. */
  readonly bytes: number
}

export interface LiveLog extends Appender {
  /** Position that the next record will get. */
  readonly end: number
  /** Everything from `position` on, and then what is appended; the next read begins when the last page was taken. */
  follow(position: number, signal: AbortSignal): AsyncIterable<Page>
  /** Reads up to `maxBytes` from the batch on that holds `position`; resolves to the number of bytes. */
  read?(position: number, maxBytes: number): Promise<number>
}

export async function openLive(contestant: string, directory: string, level: Level): Promise<LiveLog> {
  if (contestant === 'heartwood') return openHeartwood(directory, level)
  if (contestant === 'ceiling') return openCeiling(directory, level)
  throw new RivalMissing(`${contestant} has no follower here`)
}

async function openHeartwood(directory: string, level: Level): Promise<LiveLog> {
  const { store, log } = await openBenchLog(directory, { durability: DURABILITY[level] })
  return {
    get end() {
      return log.logEndOffset
    },
    append: records => log.append(records) as Promise<unknown> as Promise<void>,
    async *follow(position, signal) {
      for await (const page of log.records({ from: position, follow: true, signal }).pages()) {
        let bytes = 0
        for (const record of page) bytes += record.value!.length
        yield { firstPosition: page[0]!.offset, count: page.length, bytes }
      }
    },
    read: async (position, maxBytes) => (await log.read(position, { maxBytes })).batches.length,
    close: () => store.close()
  }
}

/** Followers are told of an append when it is acknowledged, and read it from the file. */
async function openCeiling(directory: string, level: Level): Promise<LiveLog> {
  const appender = await ceiling.appender!(directory, level)
  const waiting = new Set<() => void>()
  let end = 0
  let acknowledged = 0
  const wakeAll = (): void => {
    for (const wake of waiting) wake()
    waiting.clear()
  }
  return {
    get end() {
      return end
    },
    async append(records) {
      end += records.length
      const last = end
      await appender.append(records)
      acknowledged = Math.max(acknowledged, last)
      wakeAll()
    },
    async *follow(position, signal) {
      signal.addEventListener('abort', wakeAll)
      const follower = new BareFollower(directory)
      follower.skipTo(position)
      while (!signal.aborted) {
        const page = follower.next(acknowledged)
        if (page.count > 0) yield page
        else await new Promise<void>(resolve => waiting.add(resolve))
      }
      follower.close()
    },
    close: () => appender.close()
  }
}
