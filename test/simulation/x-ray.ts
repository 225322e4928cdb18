/**
 * What would be left if the power went now, read from the bytes alone: every claim that something is durable is held
 * against it in the moment that it is made. To see such a claim broken by a crash, the crash would have to come in the
 * few calls before somebody else's sync makes it true after all.
 */
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { readFile } from '../helpers/partition-folder.ts'
import { Violation } from './history.ts'
import type { Observation } from './observation.ts'
import { durableUpTo } from './report-check.ts'

/** Up to here a batch says nothing that its CRC covers. */
const CRC_AT = 17
const HEADER_BYTES = 61

/** Offsets: all of them, `upTo` not included. */
export interface Claim {
  readonly from: number
  readonly upTo: number
}

interface Batch extends Claim {
  readonly position: number
  readonly records: number
  /** ms; -1: none. */
  readonly maxTimestamp: number
}

/**
 * @param image - a copy of the disk as it is, which is lost here.
 * @param options.isWhole - no offset may be missing: the log was never cleaned.
 * @throws {Violation}
 */
export async function checkDurable(
  image: MemoryFileSystem,
  folder: string,
  { from, upTo, isWhole }: Claim & { isWhole: boolean }
): Promise<void> {
  const marked = isWhole ? ((await durableUpTo(image, folder)) ?? 0) : 0
  image.powerCut()
  const ranges: Claim[] = []
  for (const base of await basesOf(image, folder)) ranges.push(...(await batchesOf(image, folder, base)))
  const reached = reach(ranges, from)
  if (reached < upTo)
    throw new Violation(`R1: ${folder}: ${from} to ${upTo} is said to be durable, and a power cut leaves ${reached}`)
  if (reached < marked)
    throw new Violation(`R1: ${folder}: the watermark is ${marked}, and a power cut leaves the log up to ${reached}`)
}

/** How far the offsets go on from `from` without one missing. */
function reach(ranges: readonly Claim[], from: number): number {
  let reached = from
  for (let grew = true; grew; ) {
    grew = false
    for (const range of ranges) {
      if (range.from > reached || range.upTo <= reached) continue
      reached = range.upTo
      grew = true
    }
  }
  return reached
}

export async function basesOf(fs: MemoryFileSystem, folder: string): Promise<number[]> {
  const names = await namesOf(fs, folder)
  return names.filter(name => /^\d{20}\.log$/.test(name)).map(name => Number.parseInt(name, 10))
}

async function namesOf(fs: MemoryFileSystem, folder: string): Promise<string[]> {
  if ((await fs.stat(folder)) === undefined) return []
  return (await fs.readDirectory(folder)).map(({ name }) => name).sort()
}

const pathOf = (folder: string, base: number, suffix: string): string =>
  `${folder}/${String(base).padStart(20, '0')}${suffix}`

/** The sound batches that a segment begins with. */
async function batchesOf(fs: MemoryFileSystem, folder: string, base: number): Promise<Batch[]> {
  const bytes = Buffer.from(await readFile(fs, pathOf(folder, base, '.log')))
  const batches: Batch[] = []
  for (let position = 0; position + HEADER_BYTES <= bytes.length; ) {
    const end = position + 12 + bytes.readInt32BE(position + 8)
    if (end < position + HEADER_BYTES || end > bytes.length) break
    if (bytes.readUInt32BE(position + CRC_AT) !== crc32c(bytes, position + CRC_AT + 4, end)) break
    const from = Number(bytes.readBigInt64BE(position))
    const upTo = from + bytes.readInt32BE(position + 23) + 1
    const [maxTimestamp, records] = [Number(bytes.readBigInt64BE(position + 35)), bytes.readInt32BE(position + 57)]
    batches.push({ from, upTo, position, maxTimestamp, records })
    position = end
  }
  return batches
}

/**
 * Of a partition that was closed in good order: what follows from the log says the same as the log.
 *
 * @throws {Violation}
 */
export async function checkClosed(fs: MemoryFileSystem, folder: string): Promise<void> {
  for (const base of await basesOf(fs, folder)) {
    const batches = await batchesOf(fs, folder, base)
    const index = Buffer.from(await readFile(fs, pathOf(folder, base, '.index')))
    let last = -1
    for (let at = 0; at + 8 <= index.length; at += 8) {
      const [offset, position] = [base + index.readInt32BE(at), index.readInt32BE(at + 4)]
      const isTrue = batches.some(batch => batch.position === position && batch.upTo === offset + 1)
      if (!isTrue || offset <= last)
        throw new Violation(`R8: ${folder}: the index of ${base} has ${offset} at ${position}`)
      last = offset
    }
    const times = Buffer.from(await readFile(fs, pathOf(folder, base, '.timeindex')))
    for (let at = 0; at + 12 <= times.length; at += 12) {
      const [time, offset] = [Number(times.readBigInt64BE(at)), base + times.readInt32BE(at + 8)]
      const isTrue = batches.some(batch => batch.from <= offset && offset < batch.upTo && batch.maxTimestamp === time)
      if (!isTrue) throw new Violation(`R8: ${folder}: the time index of ${base} has ${time} at ${offset}`)
    }
  }
}

/**
 * Of a partition that was cut at `offset`, the cut said to be done: nothing of what went is there any more.
 *
 * @throws {Violation}
 */
export async function checkCut(fs: MemoryFileSystem, folder: string, offset: number): Promise<void> {
  for (const name of await namesOf(fs, folder)) {
    const base = /^(\d{20})\.(log|index|timeindex|txnindex|snapshot)$/.exec(name)?.[1]
    if (base !== undefined && Number(base) > offset)
      throw new Violation(`${folder} was cut at ${offset}, and has ${name}`)
  }
}

/**
 * Of a log that nobody is changing: its readers see what is in its files.
 *
 * @param seen.upTo - all below has been written.
 * @throws {Violation}
 */
export async function checkShown(
  fs: MemoryFileSystem,
  folder: string,
  { seen, upTo }: { seen: Observation; upTo: number }
): Promise<void> {
  const there: string[] = []
  const last = Math.min(upTo, seen.highWatermark)
  for (const base of await basesOf(fs, folder))
    for (const batch of await batchesOf(fs, folder, base))
      if (batch.upTo > seen.start && batch.upTo <= last) there.push(`${batch.from}-${batch.upTo}:${batch.records}`)
  const shown = seen.batches
    .filter(({ nextOffset }) => nextOffset <= last)
    .map(({ baseOffset, nextOffset, records, marker }) => {
      return `${baseOffset}-${nextOffset}:${marker === undefined ? records.length : 1}`
    })
  if (there.join() !== shown.join())
    throw new Violation(`R5: ${folder}: shown is ${shown.join()}, in the files is ${there.join()}`)
}

/**
 * Of what a process left that was killed: each segment goes on where the one before it ends. Kafka, which may be the next
 * one to open it, would pass over a gap without a word.
 *
 * @param above - below it a gap may be: what lies there has been deleted.
 * @throws {Violation}
 */
export async function checkNoGap(fs: MemoryFileSystem, folder: string, above: number): Promise<void> {
  let end: number | undefined
  for (const base of await basesOf(fs, folder)) {
    if (end !== undefined && base > end && base > above)
      throw new Violation(`R2: ${folder}: killed, and left with a gap from ${end} to ${base}`)
    end = (await batchesOf(fs, folder, base)).at(-1)?.upTo ?? base
  }
}

/** @throws {Violation} */
export async function checkNotClosed(fs: MemoryFileSystem, dir: string): Promise<void> {
  if ((await fs.stat(`${dir}/.kafka_cleanshutdown`)) !== undefined)
    throw new Violation(`a log was poisoned, and ${dir} is called cleanly closed`)
}
