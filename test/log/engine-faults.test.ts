/**
 * Fails every call that a reference workload makes to the file system, one at a time and in every way, opens what is
 * left and holds it against what the acknowledgements promised.
 */
import t from 'tap'
import type { SectorOutcome } from '../../lib/fs/memory-file.ts'
import type { FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { Durability } from '../../lib/log/log-config.ts'
import type { AckLevel } from '../../lib/log/types.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { broken, type History, runWorkload } from '../helpers/fault-runs.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'
import { randomFrom } from '../record/compression/samples.ts'

const DURABILITIES: readonly Durability[] = ['batch', 'interval', 'none', 'buffered']

interface Fault {
  readonly name: string
  /** What becomes of call number `at`, and of those after it. */
  readonly at: (call: FileSystemCall, isFirst: boolean) => unknown
  /** Only calls of this kind are hit. */
  readonly only?: string
  /** Only calls that change something are hit. */
  readonly changesOnly?: boolean
  /** What of the unsynced is left, where the power goes; `undefined`: only the process ends. */
  readonly cut?: Cut
}

interface Cut {
  /** @param isNew - nothing in the sector was durable before. */
  readonly sector: (isNew: boolean) => SectorOutcome
  readonly keepsNames: () => boolean
  readonly keepsLength: () => boolean
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code })
}

const once =
  (code: string) =>
  (_: FileSystemCall, isFirst: boolean): void => {
    if (isFirst) throw failure(code)
  }

const always = (code: string) => (): void => {
  throw failure(code)
}

const LOST: Cut = { sector: () => 'drop', keepsNames: () => false, keepsLength: () => false }
/** Files have their new length, and zeros where the unsynced bytes were. */
const ZEROS: Cut = { sector: () => 'drop', keepsNames: () => true, keepsLength: () => true }

/** Of the file system in memory. */
const SECTOR_BYTES = 512
let random = randomFrom(SEED)
/**
 * Each sector, length and name fares for itself, by the seed. A disk writes a sector whole or not at all, so what was
 * durable in one stays; only new ones may hold anything.
 */
const ANYHOW: Cut = {
  sector: isNew => (['keep', 'drop', isNew ? 'garble' : 'keep'] as const)[random(3)] as SectorOutcome,
  keepsNames: () => random(2) === 0,
  keepsLength: () => random(2) === 0
}

const FAULTS: readonly Fault[] = [
  { name: 'EIO once, then the process ends', at: once('EIO') },
  { name: 'EIO once, then the power goes', at: once('EIO'), cut: LOST },
  { name: 'ENOSPC once, then the process ends', at: once('ENOSPC'), changesOnly: true },
  { name: 'ENOSPC once, then the power goes', at: once('ENOSPC'), changesOnly: true, cut: ZEROS },
  {
    name: 'a write does only half',
    only: 'write',
    at: (call, isFirst) => (isFirst ? Math.floor((call.length ?? 0) / 2) : undefined)
  },
  { name: 'the process is killed', at: always('EKILLED'), changesOnly: true },
  { name: 'the power goes, all unsynced is lost', at: always('EKILLED'), changesOnly: true, cut: LOST },
  { name: 'the power goes, names stay and content is zeros', at: always('EKILLED'), changesOnly: true, cut: ZEROS },
  {
    name: `the power goes, anything unsynced may be left (seed ${SEED})`,
    at: always('EKILLED'),
    changesOnly: true,
    cut: ANYHOW
  }
]

function cutPower(fs: MemoryFileSystem, { sector, keepsNames, keepsLength }: NonNullable<Fault['cut']>): void {
  const durableOf = new Map<string, number>()
  fs.powerCut({
    sector: ({ path, index }) => sector(index * SECTOR_BYTES >= (durableOf.get(path) ?? 0)),
    // Asked before the sectors of the file.
    length: ({ path, durable, present }) => {
      durableOf.set(path, durable)
      return keepsLength() ? present : durable
    },
    name: keepsNames
  })
}

async function countCalls(durability: Durability): Promise<{ calls: FileSystemCall[]; history: History }> {
  const fs = await memoryFolder({})
  const calls: FileSystemCall[] = []
  fs.onCall = call => {
    calls.push(call)
  }
  const history = await runWorkload({ fs, durability })
  return { calls, history }
}

const READING: ReadonlySet<string> = new Set(['stat', 'readDirectory', 'read', 'handleStat', 'close'])

/** Between two calls that change something it is all the same when the end comes; no disk is full for a read. */
function matters(fault: Fault, { operation, mode }: FileSystemCall): boolean {
  if (fault.changesOnly) return !READING.has(operation) && mode !== 'read' && mode !== 'write'
  return fault.only === undefined || fault.only === operation
}

const unhandled: unknown[] = []
process.on('unhandledRejection', error => unhandled.push(error))

for (const durability of DURABILITIES) {
  t.test(`under "${durability}" the workload runs without a fault`, async t => {
    const { history } = await countCalls(durability)
    t.same(history.errors, [])
    t.ok(history.clean)
    t.ok(history.promised.size > 50, `${history.promised.size} records`)
  })

  for (const [phase, fault] of FAULTS.entries()) {
    t.test(`under "${durability}" nothing promised is lost: ${fault.name}`, async t => {
      const { calls } = await countCalls(durability)
      const wrong: string[] = []
      // Every call under the default; under the others, whose calls are much the same, every fourth, but in a long run.
      const stride = durability === 'batch' || IS_LONG_RUN ? 1 : 4
      for (let at = 1; at <= calls.length && wrong.length < 5; at += 1) {
        if (at % stride !== phase % stride || !matters(fault, calls[at - 1] as FileSystemCall)) continue
        const fs = await memoryFolder({})
        random = randomFrom(SEED * 100_000 + at)
        let count = 0
        let hit: FileSystemCall | undefined
        fs.onCall = call => {
          count += 1
          if (count < at) return undefined
          if (count === at) hit = call
          return fault.at(call, count === at)
        }
        const what = (): string => `call ${at} of ${calls.length}, ${hit?.operation} ${hit?.path}`
        try {
          const history = await runWorkload({ fs, durability })
          fs.onCall = undefined
          const odd = history.errors.find(error => !isLogError(error))
          if (odd !== undefined) wrong.push(`${what()}: ${(odd as Error).stack}`)
          if (fault.cut !== undefined) cutPower(fs, fault.cut)
          // A sync that failed has taken what it was to cover, as Linux does: only what was synced before is promised.
          const isSyncFailed = hit?.operation === 'datasync' || hit?.operation === 'sync'
          const least: AckLevel = fault.cut === undefined && !isSyncFailed ? 'written' : 'synced'
          const found = await broken(fs, durability, history, least, history.clean)
          if (found !== undefined) wrong.push(`${what()}: ${found}`)
        } catch (error) {
          wrong.push(`${what()}: ${(error as Error).stack}`)
        }
      }
      t.same(wrong, [])
      t.same(unhandled.splice(0), [], 'no rejection without a handler')
    })
  }
}
