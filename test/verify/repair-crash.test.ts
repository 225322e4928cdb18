/** Repairs that are cut short, by the end of the process or of the power: nothing is lost that was not announced. */
import { join } from 'node:path'
import t from 'tap'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { type Remedy, repairDirectory } from '../../lib/verify/repair.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'
import { anyhow, type CrashOutcome, DROP_ALL, KEEP_ALL } from '../simulation/outcomes.ts'
import { change, FILE, flip, INDEX, made, open, within } from './transactions-directory.ts'

t.setTimeout(600_000)

/** Of all calls that change anything. */
const STEP = IS_LONG_RUN ? 1 : 4
const LOOKS: ReadonlySet<string> = new Set([
  'stat',
  'handleStat',
  'read',
  'readDirectory',
  'realPath',
  'volume',
  'readPastCache',
  'close'
])

interface Read {
  /** By offset. */
  readonly records: ReadonlyMap<number, string>
  readonly holes: readonly { readonly from: number; readonly to: number }[]
  /** Up to where readers may read: a cut lowers the watermark first. */
  readonly end: number
  /** Why there are no more. */
  readonly error: string | undefined
}

async function readAll(fs: MemoryFileSystem, dir: string): Promise<Read> {
  const records = new Map<number, string>()
  const holes: { from: number; to: number }[] = []
  let end = 0
  try {
    const store = await open(fs, { dir, readOnly: true })
    try {
      const log = await store.openLog('t', 0)
      end = log.highWatermark
      for (let from = log.logStartOffset; from < log.logEndOffset; )
        try {
          for await (const { offset, value } of log.records({ from })) records.set(offset, String(value))
          break
        } catch (error) {
          if (!isLogError(error, 'DATA_LOSS')) throw error
          const hole = error.details as { from: number; to: number }
          holes.push(hole)
          from = hole.to
        }
    } finally {
      await store.close()
    }
  } catch (error) {
    if (!isLogError(error)) throw error
    return { records, holes, end, error: error.message }
  }
  return { records, holes, end, error: undefined }
}

interface Case {
  readonly remedy: Remedy
  readonly damage: (fs: MemoryFileSystem) => Promise<void>
  /** What the plan announces as lost. */
  readonly mayLose: (offset: number) => boolean
}

const CASES: readonly Case[] = [
  {
    remedy: { kind: 'quarantine', file: FILE },
    damage: fs =>
      change(
        fs,
        join('/data', FILE),
        flip(bytes => within(bytes, 0))
      ),
    mayLose: offset => offset >= 4 && offset < 8
  },
  {
    remedy: { kind: 'truncate-after', partition: 't-0', offset: 3 },
    damage: fs =>
      change(
        fs,
        join('/data', FILE),
        flip(bytes => within(bytes, 0))
      ),
    mayLose: offset => offset > 3
  },
  {
    remedy: { kind: 'rebuild' },
    damage: fs =>
      change(
        fs,
        INDEX,
        flip(() => 9)
      ),
    mayLose: () => false
  },
  {
    remedy: { kind: 'salvage', to: '/salvaged' },
    damage: fs =>
      change(
        fs,
        join('/data', FILE),
        flip(bytes => within(bytes, 0))
      ),
    mayLose: offset => offset === 4 || offset === 5
  }
]

/** The file system as it was before each call that changes anything. */
async function stops(fs: MemoryFileSystem, work: () => Promise<unknown>): Promise<MemoryFileSystem[]> {
  const found: MemoryFileSystem[] = []
  fs.onCall = ({ operation, mode }) => {
    if (!LOOKS.has(operation) && !(operation === 'open' && mode === 'read')) found.push(fs.clone())
  }
  await work()
  fs.onCall = undefined
  return found
}

for (const { remedy, damage, mayLose } of CASES) {
  t.test(`${remedy.kind}, ended at any call, loses nothing else, and can be done again`, async t => {
    const pristine = await made(true)
    const before = await readAll(pristine, '/data')
    t.equal(before.records.size, 7)
    await damage(pristine)
    const repair = (fs: MemoryFileSystem) => repairDirectory('/data', remedy, { fs, clock: new ManualClock() })
    const target = remedy.kind === 'salvage' ? remedy.to : '/data'
    const whole = pristine.clone()
    const all = await stops(whole, () => repair(whole))
    t.ok(all.length > 20, `${all.length} calls`)
    const wanted = await readAll(whole, target)
    const wrong: string[] = []
    const compare = (at: string, { records, holes, end, error }: Read, isDone: boolean): void => {
      for (const [offset, value] of records)
        if (before.records.get(offset) !== value) wrong.push(`${at}: ${offset} is ${value}`)
      for (const offset of before.records.keys()) {
        const isTold = holes.some(({ from, to }) => offset >= from && offset < to) || mayLose(offset)
        if (records.has(offset) || isTold || (!isDone && (error !== undefined || offset >= end))) continue
        wrong.push(`${at}: ${offset} is gone (${error})`)
      }
      if (isDone && error !== undefined) wrong.push(`${at}: ${error}`)
    }
    for (const [n, stopped] of all.entries()) {
      if (n % STEP !== SEED % STEP) continue
      const ends: (CrashOutcome | undefined)[] = [undefined, [DROP_ALL, KEEP_ALL, anyhow(SEED + n)][n % 3]]
      for (const end of ends) {
        const at = `before call ${n} of ${all.length}, ${end === undefined ? 'kill' : end.name}`
        const fs = stopped.clone()
        end?.apply(fs)
        try {
          compare(at, await readAll(fs, '/data'), false)
          if (target !== '/data') await removeAll(fs, `${target}.incomplete`)
          if (target === '/data' || (await fs.stat(target)) === undefined) await repair(fs)
          const after = await readAll(fs, target)
          compare(`${at}, done again`, after, true)
          if (after.records.size < wanted.records.size) wrong.push(`${at}: ${after.records.size} records at the end`)
        } catch (error) {
          wrong.push(`${at}: ${(error as Error).stack}`)
        }
      }
    }
    t.same(wrong.slice(0, 5), [], `${wrong.length} of ${all.length}, seed ${SEED}`)
  })
}

/** As the message says that somebody should. */
async function removeAll(fs: MemoryFileSystem, dir: string): Promise<void> {
  if ((await fs.stat(dir)) === undefined) return
  for (const { name, kind } of await fs.readDirectory(dir))
    if (kind === 'directory') await removeAll(fs, join(dir, name))
    else await fs.unlink(join(dir, name))
  await fs.removeDirectory(dir)
}
