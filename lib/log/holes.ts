/**
 * Marked holes of one partition: ranges of offsets whose records are lost, and known to be. A repair has taken a
 * damaged segment away, or saved what was sound of a damaged log. Without a mark such a gap looks like what compaction
 * leaves, and readers would pass over it in silence.
 *
 * Format, in `heartwood-holes`; UTF-8 lines that end in '\n', replaced as a whole; no file, no holes:
 *
 *     file := "heartwood-holes 1" hole* "crc " CRC-32C of all bytes before this line, 8 hex digits
 *     hole := "hole " fromOffset " " toOffset " " marked at, ms since 1970 " " reason, a JSON string
 *
 * Example:
 *
 *     heartwood-holes 1
 *     hole 217 434 1700000000000 "segment 217 was damaged"
 *     crc 4830050e
 *
 * Invariants:
 *   K1  Holes ascend, do not touch one another, and hold at least one offset each; `toOffset` is exclusive.
 *   K2  A mark is durable before the records that it speaks of are taken away.
 *   K3  Nothing that is appended comes to lie in a hole: a mark ends at or below the log end offset. After a cut marks
 *       are cut likewise before the cut is said to be done, and by loading if a crash came between.
 */
import { basename, join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

export const HOLES_FILE = 'heartwood-holes'
const VERSION = 1
const CRC_LINE_BYTES = 'crc 00000000\n'.length
const MAX_FILE_BYTES = 16 * MiB
const MAX_REASON = 500

export interface Hole {
  /** First offset that is lost. */
  readonly fromOffset: number
  /** Exclusive. */
  readonly toOffset: number
  /** Wall clock, ms. */
  readonly markedMs: number
  readonly reason: string
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION; else the system's error. */
export async function readHoles(fs: FileSystem, dir: string): Promise<readonly Hole[]> {
  const bytes = await readWholeFile(fs, join(dir, HOLES_FILE), MAX_FILE_BYTES)
  return bytes === undefined ? [] : parseHoles(bytes)
}

/** Durable when it resolves. */
export async function writeHoles(
  fs: FileSystem,
  dir: string,
  holes: readonly Hole[],
  options: ReplaceOptions = {}
): Promise<void> {
  await replaceFile(fs, join(dir, HOLES_FILE), formatHoles(holes), options)
}

export function formatHoles(holes: readonly Hole[]): Buffer {
  const lines = holes.map(({ fromOffset, toOffset, markedMs, reason }) => {
    return `hole ${fromOffset} ${toOffset} ${markedMs} ${JSON.stringify(reason.slice(0, MAX_REASON))}\n`
  })
  const body = Buffer.from(`${HOLES_FILE} ${VERSION}\n${lines.join('')}`)
  const crc = crc32c(body, 0, body.length)
  return Buffer.concat([body, Buffer.from(`crc ${crc.toString(16).padStart(8, '0')}\n`)])
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION */
export function parseHoles(bytes: Buffer): Hole[] {
  const bodyEnd = bytes.length - CRC_LINE_BYTES
  const stored = bodyEnd < 0 ? null : /^crc ([0-9a-f]{8})\n$/.exec(bytes.toString('latin1', bodyEnd))
  if (stored === null || Number.parseInt(stored[1] as string, 16) !== crc32c(bytes, 0, bodyEnd)) {
    throw corrupt('fails its checksum')
  }
  const [title, ...lines] = bytes.toString('utf8', 0, bodyEnd).split('\n')
  const version = /^heartwood-holes (\d{1,9})$/.exec(title ?? '')?.[1]
  if (version === undefined) throw corrupt('has no title')
  if (Number(version) > VERSION) {
    const message = `${HOLES_FILE} is of version ${version}; this release knows ${VERSION}`
    throw new LogError('UNSUPPORTED_VERSION', message, { version: Number(version), known: VERSION })
  }
  // What follows the last line end is no line.
  if (lines.pop() !== '') throw corrupt('ends within a line')
  const holes = lines.map(parseHole)
  let end = -1
  for (const { fromOffset, toOffset } of holes) {
    if (fromOffset <= end || toOffset <= fromOffset) throw corrupt('is not in order')
    end = toOffset
  }
  return holes
}

function parseHole(line: string): Hole {
  const match = /^hole (\d{1,16}) (\d{1,16}) (\d{1,16}) (".*")$/s.exec(line)
  const [fromOffset = Number.NaN, toOffset = Number.NaN, markedMs = Number.NaN] = (match ?? []).slice(1, 4).map(Number)
  if (match === null || ![fromOffset, toOffset, markedMs].every(Number.isSafeInteger))
    throw corrupt('has a malformed line')
  try {
    return { fromOffset, toOffset, markedMs, reason: JSON.parse(match[4] as string) as string }
  } catch {
    throw corrupt('has a reason that is no JSON string')
  }
}

function corrupt(what: string): LogError {
  return new LogError('CORRUPT_FILE', `${HOLES_FILE} ${what}`, { file: HOLES_FILE })
}

/** K1: ascending, those that touch or overlap made one. */
export function mergeHoles(holes: readonly Hole[]): Hole[] {
  const merged: Hole[] = []
  for (const hole of [...holes].sort((a, b) => a.fromOffset - b.fromOffset)) {
    const last = merged.at(-1)
    if (last === undefined || hole.fromOffset > last.toOffset) merged.push(hole)
    else merged[merged.length - 1] = { ...last, toOffset: Math.max(last.toOffset, hole.toOffset) }
  }
  return merged
}

/** The holes within [from, to), cut to that range. */
export function holesWithin(holes: readonly Hole[], from: number, to: number): Hole[] {
  return holes.flatMap(hole => {
    // Retention takes a hole away when it has passed all of it; readers never ask below the log start.
    const toOffset = Math.min(hole.toOffset, to)
    return hole.fromOffset < toOffset && toOffset > from ? [{ ...hole, toOffset }] : []
  })
}

/** The holes of a log that is open. */
export class LogHoles {
  readonly #fs: FileSystem
  readonly #dir: string
  readonly #replace: ReplaceOptions
  #holes: readonly Hole[]
  #persisted: readonly Hole[]

  constructor(fs: FileSystem, dir: string, holes: readonly Hole[], options: ReplaceOptions = {}) {
    this.#fs = fs
    this.#dir = dir
    this.#holes = holes
    this.#persisted = holes
    this.#replace = options
  }

  list(): readonly Hole[] {
    return this.#holes
  }

  /** The first hole that ends above `offset`. */
  next(offset: number): Hole | undefined {
    return this.#holes.length === 0 ? undefined : this.#holes.find(({ toOffset }) => toOffset > offset)
  }

  /** `offset`, or where the hole ends that it lies in. */
  pass(offset: number): number {
    const hole = this.next(offset)
    return hole !== undefined && hole.fromOffset <= offset ? hole.toOffset : offset
  }

  /** @throws {LogError} DATA_LOSS if `offset` lies in a hole. */
  assertNone(offset: number): void {
    const hole = this.next(offset)
    if (hole === undefined || hole.fromOffset > offset) return
    const { fromOffset: from, toOffset: to, reason } = hole
    const message = `${basename(this.#dir)}: the records from offset ${from} up to ${to - 1} are lost (${reason}). Go on at offset ${to}.`
    throw new LogError('DATA_LOSS', message, { offset, from, to })
  }

  /** K3. The log is now [logStartOffset, logEndOffset). */
  fit(logStartOffset: number, logEndOffset: number): void {
    if (this.#holes.length > 0) this.#holes = holesWithin(this.#holes, logStartOffset, logEndOffset)
  }

  /** Makes what `fit` changed durable. */
  async persist(): Promise<void> {
    const holes = this.#holes
    if (formatHoles(holes).equals(formatHoles(this.#persisted))) return
    await writeHoles(this.#fs, this.#dir, holes, this.#replace)
    this.#persisted = holes
  }
}
