/**
 * Damage under the eyes of the simulator: what a process left is opened twice, once as it is and once with one thing
 * damaged that was durable. The second one shows the same, or refuses with an error that says so; nothing else.
 */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { readFile } from '../helpers/partition-folder.ts'
import { T0 } from './actions.ts'
import { checkLookups } from './derived-checks.ts'
import { SimulatedDisk, Trace } from './disk.ts'
import { Violation } from './history.ts'
import { DATA, Life, split } from './life.ts'
import { type Observation, observe } from './observation.ts'
import { Random } from './random.ts'
import { durableUpTo } from './report-check.ts'
import type { Schedule } from './schedule.ts'

/** From here on a batch's CRC covers it; what lies in front is told by other means, or not at all (Kafka's format). */
const CRC_AT = 17
const REFUSALS = /^(CORRUPT_|DATA_LOSS)/

interface Shown {
  readonly seen: Observation
  readonly open: string
}

/**
 * @param left - what the process left; not changed.
 * @param given.isClosed - the store was closed in good order: an index is damaged, and appends go on behind it.
 * @throws {Violation}
 */
export async function checkDamaged(
  left: MemoryFileSystem,
  names: readonly string[],
  given: { schedule: Schedule; seed: number; wall: number; isClosed: boolean }
): Promise<void> {
  const random = new Random(given.seed)
  const name = random.pick(names)
  const folder = `${DATA}/${name}`
  const hurt = left.clone()
  const damage = await damaged(hurt, folder, { random, isClosed: given.isClosed })
  if (damage === undefined) return
  const durable = (await durableUpTo(left, folder)) ?? 0
  const sound = await show(left.clone(), name, given)
  const found = await show(hurt, name, { ...given, lookups: random })
  const where = `${name} with ${damage}`
  if (found instanceof Error) {
    if (!isLogError(found) || !REFUSALS.test(found.code)) throw new Violation(`${where}: ${found.stack}`)
    return
  }
  // Without the damage it cannot be opened either: other checks say so.
  if (sound instanceof Error) return
  const [wanted, got] = [shownBelow(sound, durable), shownBelow(found, durable)]
  if (wanted !== got) throw new Violation(`${where} shows ${got}, without it ${wanted}`)
}

/** What lies below the offset, as text; above it recovery may take damage for a torn end. */
function shownBelow({ seen, open }: Shown, offset: number): string {
  const isWhole = seen.end <= offset
  const batches = seen.batches.filter(({ nextOffset }) => nextOffset <= offset)
  const committed = isWhole ? seen.committed : []
  return JSON.stringify([seen.start, batches, committed, isWhole ? open : ''])
}

/** Opens the store, and gives what the log shows, or what it was refused with. */
async function show(
  fs: MemoryFileSystem,
  name: string,
  { schedule, wall, lookups, isClosed }: { schedule: Schedule; wall: number; lookups?: Random; isClosed: boolean }
): Promise<Shown | Error> {
  const disk = new SimulatedDisk(fs, new Trace({ isOff: true }))
  const life = new Life({ ...schedule, background: false }, disk, { histories: new Map(), trace: new Trace(), wall })
  try {
    await life.open()
    const [topic, partition] = split(name)
    const log = await life.settled('open', life.store.openLog(topic, partition))
    const seen = await life.settled('read', observe(log))
    if (lookups !== undefined) await life.settled('look up', checkLookups(log, seen, lookups))
    const open = await life.settled('ask', log.openTransactions())
    if (lookups !== undefined && isClosed) {
      const timestamp = T0 + lookups.below(20)
      await life.settled('append', log.append([{ key: 'later', value: 'later', timestamp }]))
      await life.settled('look up', checkLookups(log, await life.settled('read', observe(log)), lookups))
    }
    return { seen, open: JSON.stringify(open) }
  } catch (error) {
    if (error instanceof Violation) throw new Violation(`${name} with damage: ${error.message}`)
    return error as Error
  } finally {
    disk.die()
  }
}

/** Damages one thing that was durable. @returns what; `undefined` where there is none. */
async function damaged(
  fs: MemoryFileSystem,
  folder: string,
  { random, isClosed }: { random: Random; isClosed: boolean }
): Promise<string | undefined> {
  if ((await fs.stat(folder)) === undefined) return undefined
  const files = (await fs.readDirectory(folder)).map(({ name }) => name).sort()
  const kind = isClosed ? 'index' : random.pick(['log', 'log', 'cut', 'index', 'index', 'none', 'snapshot'] as const)
  if (kind === 'none') return undefined
  if (kind === 'index') return damagedIndex(fs, folder, { files, random })
  if (kind === 'snapshot') return futureSnapshot(fs, folder, files)
  const watermark = (await durableUpTo(fs, folder)) ?? 0
  const logs = files.filter(name => name.endsWith('.log'))
  // What was sealed a moment ago is in no manifest yet: that it is shorter shows as a gap, as after a compaction.
  const path = `${folder}/${kind === 'cut' ? logs.at(-1) : random.pick(logs)}`
  const bytes = Buffer.from(await readFile(fs, path))
  const places: { start: number; end: number }[] = []
  for (let at = 0; ; ) {
    // Behind it may be zeros, or half a batch.
    if (scanBatch(bytes, at, bytes.length).kind !== 'batch') break
    const batch = new BatchView(bytes, at)
    if (batch.nextOffset > watermark) break
    places.push({ start: at, end: batch.end })
    at = batch.end
  }
  if (places.length === 0) return undefined
  const { start, end } = random.pick(places)
  let at = random.between(start + CRC_AT, end - 1)
  if (kind === 'cut') {
    // Between two batches nothing looks torn.
    if (random.chance(50)) at = start
    await changed(fs, path, bytes.subarray(0, at))
    return `${path} cut to ${at} bytes of ${bytes.length}`
  }
  bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
  await changed(fs, path, bytes)
  return `${path} damaged at ${at}`
}

/** Whatever an index says, nothing goes by it that is not so: below the watermark, and above it too. */
async function damagedIndex(
  fs: MemoryFileSystem,
  folder: string,
  { files, random }: { files: readonly string[]; random: Random }
): Promise<string | undefined> {
  const indexes = files.filter(name => name.endsWith('index') && !name.endsWith('.txnindex'))
  if (indexes.length === 0) return undefined
  const path = `${folder}/${random.pick(indexes)}`
  const bytes = Buffer.from(await readFile(fs, path))
  if (bytes.length === 0) return undefined
  // Preallocated ones go on with zeros for long.
  const at = random.below(random.chance(50) ? Math.min(bytes.length, 36) : bytes.length)
  bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
  await changed(fs, path, bytes)
  return `${path} damaged at ${at} of ${bytes.length}`
}

/** As a cut that was ended, or another engine, may leave it: the state of some other time, by the name of a later one. */
async function futureSnapshot(
  fs: MemoryFileSystem,
  folder: string,
  files: readonly string[]
): Promise<string | undefined> {
  const snapshot = files.find(name => name.endsWith('.snapshot'))
  if (snapshot === undefined) return undefined
  const path = `${folder}/${'9'.padStart(20, '0').replace(/0{6}9$/, '9000000')}.snapshot`
  await changed(fs, path, Buffer.from(await readFile(fs, `${folder}/${snapshot}`)))
  return `a copy of ${snapshot} as ${path}`
}

async function changed(fs: MemoryFileSystem, path: string, bytes: Buffer): Promise<void> {
  const handle = await fs.open(path, 'truncate')
  if (bytes.length > 0) await handle.write(bytes, 0)
  await handle.sync()
  await handle.close()
  await fs.syncDirectory(path.slice(0, path.lastIndexOf('/')))
}
