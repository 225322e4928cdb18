/**
 * Holds: named readers that keep retention from taking what they still need.
 *
 * A hold keeps everything from its offset on, until its reader moves it forward or releases it. Because a reader may
 * never come back, a hold has a limit (7 days of silence unless told otherwise, and a number of bytes if wanted) after
 * which it is broken: that is written down, published as `heartwood:hold-broken`, and told to the reader when it comes.
 *
 * Invariants:
 *   H1  A hold that is new, broken or released is so on the disk before that is said; a hold that was moved may be
 *       further behind there. So a crash makes the log keep more than it must, never less.
 *   H2  A hold lies within the log: where the log is cut below it, it comes down with the end.
 *   H3  When the file cannot be read, everything is held.
 *
 * `deleteRecordsBefore` is refused above a hold; truncation is not.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, replaceFile } from '../fs/replace-file.ts'
import { toLogError } from '../fs/system-errors.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Turn } from '../util/turn.ts'
import { formatHolds, HOLDS_FILE, type Hold, MAX_HOLD_NAME_BYTES, MAX_HOLDS, readHolds } from './holds-file.ts'
import type { RetentionHold, RetentionSegment } from './retention.ts'

export type { Hold } from './holds-file.ts'

/** As long as a broker keeps the offsets of a consumer group that is gone. */
export const DEFAULT_HOLD_LIMIT_MS = 7 * 24 * 60 * 60_000

export interface HoldOptions {
  /** How long its reader may be silent, ms; 7 days by default. Kept from the last call if left out. */
  readonly limitMs?: number | 'none'
  /** How many bytes may be kept from its offset on; no limit by default. Kept from the last call if left out. */
  readonly limitBytes?: number | 'none'
}

/** A hold that is to be broken, and the limit that says so. */
export interface OverdueHold {
  readonly name: string
  readonly offset: number
  readonly limit: 'limitMs' | 'limitBytes'
  readonly allowed: number
  readonly found: number
}

/** What a limit is compared with. */
export interface HoldFacts {
  readonly segments: readonly Pick<RetentionSegment, 'baseOffset' | 'bytes'>[]
  readonly logEndOffset: number
  /** Set: time proves nothing at present. */
  readonly clockJumpMs?: number | undefined
}

/** In place of a name where the file cannot be read: H3. */
export const UNREADABLE_HOLDS = `(${HOLDS_FILE} cannot be read)`

/** Holds that have reached a limit. Pure. */
export function overdueHolds(holds: readonly Hold[], facts: HoldFacts, now: number): OverdueHold[] {
  return holds.flatMap((hold): OverdueHold[] => {
    const { name, offset, movedMs, limitMs, limitBytes, brokenMs } = hold
    if (brokenMs !== undefined) return []
    const silentMs = now - movedMs
    if (limitMs !== undefined && silentMs > limitMs && facts.clockJumpMs === undefined) {
      return [{ name, offset, limit: 'limitMs', allowed: limitMs, found: silentMs }]
    }
    const held = limitBytes === undefined ? 0 : bytesFrom(offset, facts)
    if (limitBytes === undefined || held <= limitBytes) return []
    return [{ name, offset, limit: 'limitBytes', allowed: limitBytes, found: held }]
  })
}

/** Of the .log files that hold anything at or above an offset. */
function bytesFrom(offset: number, { segments, logEndOffset }: HoldFacts): number {
  return segments.reduce((sum, { bytes }, index) => {
    const upper = segments[index + 1]?.baseOffset ?? logEndOffset
    return upper > offset ? sum + bytes : sum
  }, 0)
}

export class LogHolds {
  readonly #fs: FileSystem
  readonly #dir: string
  readonly #options: ReplaceOptions
  readonly #turn = new Turn()
  readonly #holds = new Map<string, Hold>()
  #dirty = false
  /** Why the file could not be read. */
  #unreadable: LogError | undefined

  private constructor(fs: FileSystem, dir: string, options: ReplaceOptions) {
    this.#fs = fs
    this.#dir = dir
    this.#options = options
  }

  /**
   * @param options.isThere - false: the file was not seen in the folder, and is not looked for.
   * @throws {LogError} UNSUPPORTED_VERSION if a newer heartwood has written the file, unless `readOnly`.
   */
  static async open(
    fs: FileSystem,
    dir: string,
    options: ReplaceOptions & { readonly isThere?: boolean; readonly readOnly?: boolean } = {}
  ): Promise<LogHolds> {
    const { isThere = true, readOnly = false } = options
    const holds = new LogHolds(fs, dir, options)
    try {
      for (const hold of isThere ? await readHolds(fs, dir) : []) holds.#holds.set(hold.name, hold)
    } catch (error) {
      const isPassable = isLogError(error, 'CORRUPT_FILE') || (readOnly && isLogError(error, 'UNSUPPORTED_VERSION'))
      if (!isPassable) throw error
      const message = `${error.message}: nothing is retained away in ${dir}. Remove the file while the log is closed.`
      holds.#unreadable = new LogError(error.code, message, error.details)
    }
    return holds
  }

  /** By name. Those that were broken stay until their reader comes or they are released. */
  list(): Hold[] {
    return [...this.#holds.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** What retention has to keep, H3 included. */
  inForce(): RetentionHold[] {
    if (this.#unreadable !== undefined) return [{ name: UNREADABLE_HOLDS, offset: 0 }]
    return this.list().filter(({ brokenMs }) => brokenMs === undefined)
  }

  /** @throws {LogError} POLICY_VIOLATION if anything below `offset` is held; CORRUPT_FILE if the file cannot be read. */
  assertFree(offset: number, name: string): void {
    this.#assertReadable()
    const held = this.inForce().find(hold => hold.offset < offset)
    if (held === undefined) return
    const message = `${name} is held from ${held.offset} on by ${held.name}: nothing goes up to ${offset} before that is released`
    throw new LogError('POLICY_VIOLATION', message, { offset, hold: held.name, holdOffset: held.offset })
  }

  /** H3: why everything is held, if it is. */
  get unreadable(): LogError | undefined {
    return this.#unreadable
  }

  /**
   * Sets a hold, or moves one forward. A new one is durable when this resolves.
   *
   * @param at.offset - within the log, which the caller has checked.
   * @param at.now - ms.
   * @returns the hold as it was before; `undefined` for a new one. `brokenMs` of a broken one, which holds again.
   * @throws {LogError} INVALID_REQUEST for a name that is empty or too long, an offset below the hold's, a limit that
   *   is none, too many holds; CORRUPT_FILE if the file cannot be read.
   */
  async hold(
    name: string,
    at: { readonly offset: number; readonly now: number },
    options: HoldOptions = {}
  ): Promise<Hold | undefined> {
    this.#assertReadable()
    assertName(name)
    const before = this.#holds.get(name)
    const isAlive = before !== undefined && before.brokenMs === undefined
    if (isAlive && at.offset < before.offset) {
      const message = `${name} holds from ${before.offset} on and moves forward only, not to ${at.offset}; release it first`
      throw new LogError('INVALID_REQUEST', message, { hold: name, offset: at.offset, holdOffset: before.offset })
    }
    if (before === undefined && this.#holds.size >= MAX_HOLDS) {
      throw new LogError('INVALID_REQUEST', `a log has at most ${MAX_HOLDS} holds`, { limit: MAX_HOLDS })
    }
    this.#set({
      name,
      offset: at.offset,
      movedMs: Math.max(0, at.now),
      limitMs: limitOf('limitMs', options.limitMs, before === undefined ? DEFAULT_HOLD_LIMIT_MS : before.limitMs),
      limitBytes: limitOf('limitBytes', options.limitBytes, before?.limitBytes),
      brokenMs: undefined
    })
    if (isAlive) return before
    try {
      await this.persist()
    } catch (error) {
      // Nobody was told that it holds.
      if (before === undefined) this.#holds.delete(name)
      else this.#holds.set(name, before)
      throw error
    }
    return before
  }

  /** @returns whether there was such a hold. Durable when it resolves. */
  async release(name: string): Promise<boolean> {
    this.#assertReadable()
    const wasThere = this.#holds.delete(name)
    this.#dirty ||= wasThere
    if (wasThere) await this.persist()
    return wasThere
  }

  /** Breaks holds; durable when it resolves, so before anything goes that they held. */
  async break(overdue: readonly OverdueHold[], now: number): Promise<void> {
    const before = overdue.flatMap(({ name }) => this.#holds.get(name) ?? [])
    for (const hold of before) this.#set({ ...hold, brokenMs: now })
    if (before.length === 0) return
    try {
      await this.persist()
    } catch (error) {
      for (const hold of before) if (this.#holds.has(hold.name)) this.#set(hold)
      throw error
    }
  }

  /** H2: the log ends at `logEndOffset` now. */
  cutTo(logEndOffset: number): void {
    for (const hold of this.#holds.values())
      if (hold.offset > logEndOffset) this.#set({ ...hold, offset: logEndOffset })
  }

  /** Makes the holds as they are now durable; free when nothing changed. */
  persist(): Promise<void> {
    return this.#turn.run(async () => {
      if (!this.#dirty) return
      this.#dirty = false
      const path = join(this.#dir, HOLDS_FILE)
      try {
        await replaceFile(this.#fs, path, formatHolds(this.list()), this.#options)
      } catch (error) {
        this.#dirty = true
        throw toLogError(error, 'write', path)
      }
    })
  }

  #set(hold: Hold): void {
    this.#holds.set(hold.name, hold)
    this.#dirty = true
  }

  #assertReadable(): void {
    if (this.#unreadable !== undefined) throw this.#unreadable
  }
}

function assertName(name: string): void {
  if (name !== '' && !/\p{Surrogate}/u.test(name) && Buffer.byteLength(name) <= MAX_HOLD_NAME_BYTES) return
  const message = `a hold has a name of 1 to ${MAX_HOLD_NAME_BYTES} bytes of text`
  throw new LogError('INVALID_REQUEST', message, { bytes: Buffer.byteLength(name), limit: MAX_HOLD_NAME_BYTES })
}

function limitOf(field: string, given: number | 'none' | undefined, otherwise: number | undefined): number | undefined {
  if (given === undefined) return otherwise
  if (given === 'none') return undefined
  if (Number.isSafeInteger(given) && given >= 0) return given
  throw new LogError('INVALID_REQUEST', `${field} is a whole number from 0 on, or 'none'`, { [field]: given })
}
