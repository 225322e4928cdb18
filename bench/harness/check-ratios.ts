/**
 * The pairs of `npm run bench:check`: the engine and the bare loop do the same work in one process, in turns. Small
 * enough that all of them together take a minute; what they write is cut off again, so that both write into memory
 * that the kernel has just got back (see warm.ts).
 */
import { truncateSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Store } from '../../lib/index.ts'
import { engine as ceiling, LOG_FILE } from '../engines/ceiling.ts'
import type { Level, Rec, ScanKind } from '../engines/engine.ts'
import { openBenchLog, engine as ours } from '../engines/heartwood.ts'
import type { KilledFacts, KilledJob } from '../programs/killed-writer.ts'
import { appendsOf, randomFrom, recordPool } from './data.ts'
import { checkCrcs, copyKilled } from './killed-store.ts'
import { runProgram } from './program.ts'
import type { Shape } from './question.ts'

/** One turn of either; milliseconds that the work itself took. */
export interface Pair {
  ours(): Promise<number>
  ceiling(): Promise<number>
  close(): Promise<void>
}

/** @param directory - empty, the pair's own. */
export type MakePair = (directory: string) => Promise<Pair>

const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }
const LARGE: Shape = { keyBytes: 16, valueBytes: 1008 }
const SCANNED_RECORDS = 300_000
const POINT_READS = 2000
const RECOVERED_BYTES = 200e6

export const PAIRS: Readonly<Record<string, MakePair>> = {
  'append 100B x1000': appending({ shape: SMALL, batch: 1000, appends: 300, level: 'written', writers: 1 }),
  'append 100B x1': appending({ shape: SMALL, batch: 1, appends: 20_000, level: 'written', writers: 1 }),
  'append 1KiB x100': appending({ shape: LARGE, batch: 100, appends: 400, level: 'written', writers: 1 }),
  'durable, 64 writers': appending({ shape: SMALL, batch: 1, appends: 12_800, level: 'synced', writers: 64 }),
  'scan, cursor': scanning('cursor'),
  'scan, lazy': scanning('lazy'),
  'scan, eager': scanning('eager'),
  'point read': readingPoints,
  recovery: recovering
}

interface Appending {
  readonly shape: Shape
  readonly batch: number
  /** In one turn, all writers together. */
  readonly appends: number
  readonly level: Level
  readonly writers: number
}

type Append = (records: readonly Rec[]) => Promise<unknown> | unknown

async function timed(work: () => Promise<unknown> | unknown): Promise<number> {
  const begin = performance.now()
  await work()
  return performance.now() - begin
}

function appending({ shape, batch, appends, level, writers }: Appending): MakePair {
  return async directory => {
    const batches = appendsOf(recordPool(shape), batch)
    const bareFolder = join(directory, 'ceiling')
    await mkdir(bareFolder)
    const durability = level === 'written' ? 'none' : 'batch'
    const { store, log } = await openBenchLog(join(directory, 'ours'), { durability })
    const bare = await ceiling.appender!(bareFolder, level)
    const writer = async (append: Append): Promise<void> => {
      for (let i = 0; i < appends / writers; i += 1) await append(batches[i % batches.length]!)
    }
    const turn = (append: Append): Promise<number> =>
      timed(() => Promise.all(Array.from({ length: writers }, () => writer(append))))
    return {
      async ours() {
        await log.truncateTo(0)
        return turn(records => log.append(records as Rec[]))
      },
      async ceiling() {
        // Its descriptor appends to where the file ends.
        truncateSync(join(bareFolder, LOG_FILE), 0)
        return turn(records => bare.append(records))
      },
      async close() {
        await store.close()
        await bare.close()
      }
    }
  }
}

/** Both read the files that the engine wrote. */
async function fill(directory: string): Promise<void> {
  const batches = appendsOf(recordPool(SMALL), 100)
  const appender = await ours.appender!(directory, 'written')
  for (let i = 0; i < SCANNED_RECORDS / 100; i += 1) await appender.append(batches[i % batches.length]!)
  await appender.close()
}

function scanning(kind: ScanKind): MakePair {
  return async directory => {
    await fill(directory)
    const [mine, bare] = [await ours.scanner!(directory, kind), await ceiling.scanner!(directory, kind)]
    const turn = (scanner: typeof mine): Promise<number> =>
      timed(async () => {
        const { records } = await scanner!.scan()
        if (records !== SCANNED_RECORDS) throw new Error(`a scan found ${records} of ${SCANNED_RECORDS} records`)
      })
    return {
      ours: () => turn(mine),
      ceiling: () => turn(bare),
      async close() {
        await mine!.close()
        await bare!.close()
      }
    }
  }
}

async function readingPoints(directory: string): Promise<Pair> {
  await fill(directory)
  const options = { cacheBytes: 0 }
  const [mine, bare] = [await ours.pointReader!(directory, options), await ceiling.pointReader!(directory, options)]
  const turn = (reader: typeof mine): Promise<number> => {
    const random = randomFrom(1)
    return timed(async () => {
      for (let i = 0; i < POINT_READS; i += 1) await reader.get(Math.floor(random() * SCANNED_RECORDS))
    })
  }
  return {
    ours: () => turn(mine),
    ceiling: () => turn(bare),
    async close() {
      await mine.close()
      await bare.close()
    }
  }
}

async function recovering(directory: string): Promise<Pair> {
  const [killed, copy, factsPath] = ['killed', 'copy', 'facts.json'].map(name => join(directory, name)) as [
    string,
    string,
    string
  ]
  const job: KilledJob = {
    directory: killed,
    topic: 'log',
    shape: SMALL,
    recordsPerAppend: 1000,
    bytesBefore: 1e6,
    bytesPast: RECOVERED_BYTES,
    roll: true,
    factsPath
  }
  await runProgram('killed-writer', job, { endsWith: 'SIGKILL' })
  const facts = JSON.parse(await readFile(factsPath, 'utf8')) as KilledFacts
  return {
    async ours() {
      await mkdir(copy)
      await copyKilled(killed, copy)
      let store: Store | undefined
      const milliseconds = await timed(async () => {
        store = await Store.open(copy)
      })
      const log = await store!.openLog('log', 0)
      if (log.recovery.clean || log.logEndOffset !== facts.logEndOffset) throw new Error('not the log that was killed')
      await store!.close()
      await rm(copy, { recursive: true })
      return milliseconds
    },
    ceiling: () => timed(() => checkCrcs(join(killed, facts.file), facts.position)),
    close: async () => undefined
  }
}
