/**
 * Looks for damage in sealed segments that nobody reads: verifies one after the other, slowly, the one that was
 * verified longest ago first.
 *
 * Of a segment it checks every CRC, the chain of offsets, the leader epochs that are recorded, and length and digest
 * against the manifest, those of its transaction index too. When it was verified is kept there, so that the next
 * process goes on where this one ended.
 * What it finds it tells; it changes nothing of the log, which stays readable wherever it is sound.
 *
 * Only logs that are open are looked at: to open ten thousand for this would cost more memory than it is worth.
 *
 * Invariants:
 *   B1  It reads, and notes in the manifest that a segment is sound; it deletes and changes nothing else.
 *   B2  One segment at a time, at the chosen rate; at most 10 MiB/s while anything is appended.
 *   B3  A segment that was cut, replaced or removed while it was read is judged by nothing that was read of it.
 */
import { CleaningPace } from '../compaction/cleaning-pace.ts'
import type { SharedParts } from '../log/open-log.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { Timer } from '../util/clock.ts'
import { publish } from '../util/diagnostics.ts'
import { isLogError, type LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { LogSlot, LogTable } from './log-table.ts'
import { storeError } from './storage-errors.ts'
import type { DamagedSegment, ScrubStatus, UpkeepOptions } from './upkeep-types.ts'

/**
 * 340 GiB a day for half a per cent of a processor, and a twentieth of what the slowest disks in use deliver: damage is
 * found while the copies are still there, and nobody notices the reading.
 */
export const DEFAULT_SCRUB_BYTES_PER_SECOND = 4 * MiB
/** As the weekly or monthly scrubs of file systems. */
const DEFAULT_SCRUB_EVERY_MS = 7 * 24 * 60 * 60_000
const BUSY_BYTES_PER_SECOND = 10 * MiB
/** A segment counts for at least this much: opening its file, and noting that it is sound, cost as much. */
const LEAST_BYTES = MiB
/** So many are in the status; the others are counted. */
const MOST_TOLD = 100
/** These say something of a file. Anything else (descriptors, a log that closes) is tried again. */
const DAMAGE = ['CORRUPT_LOG', 'CORRUPT_FILE', 'STORAGE_FAILED'] as const

interface Due {
  readonly slot: LogSlot
  readonly log: PartitionLog
  readonly baseOffset: number
  readonly verifiedMs: number
}

export class Scrubber {
  readonly #table: LogTable
  readonly #shared: SharedParts
  readonly #rate: number
  readonly #everyMs: number
  readonly #pace: CleaningPace
  readonly #stopping = new AbortController()
  /** By slot and base offset: looked at in this process without becoming verified, and when (monotonic, ms). */
  readonly #tried = new Map<LogSlot, Map<number, number>>()
  readonly #found = new Map<LogSlot, Map<number, DamagedSegment>>()
  #timer: Timer | undefined
  #running: Promise<void> = Promise.resolve()
  #current: ScrubStatus['verifying']
  #segments = 0
  #bytes = 0
  #appends = 0

  constructor(table: LogTable, shared: SharedParts, options: UpkeepOptions) {
    const { scrubBytesPerSecond = DEFAULT_SCRUB_BYTES_PER_SECOND, scrubEveryMs = DEFAULT_SCRUB_EVERY_MS } = options
    if (!(scrubBytesPerSecond >= 0))
      throw new TypeError(`scrubBytesPerSecond must be 0 or more, not ${scrubBytesPerSecond}`)
    if (!(scrubEveryMs > 0)) throw new TypeError(`scrubEveryMs must be positive, not ${scrubEveryMs}`)
    this.#table = table
    this.#shared = shared
    this.#rate = scrubBytesPerSecond
    this.#everyMs = scrubEveryMs
    this.#pace = new CleaningPace(shared.clock)
  }

  /** Looks for what is due every `lookEveryMs` ms, until `stop`. */
  start(lookEveryMs: number): void {
    if (this.#rate === 0 || this.#stopping.signal.aborted) return
    this.#timer = this.#shared.clock.setTimer(lookEveryMs, () => {
      this.#running = this.#round().catch(error => {
        if (!this.#stopping.signal.aborted) publish('error', () => ({ error }))
      })
      void this.#running.then(() => this.start(lookEveryMs))
    })
  }

  /** Ends what is under way, at the next piece of 512 KiB. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#stopping.abort()
    this.#pace.resume()
    await this.#running
  }

  pause(): void {
    this.#pace.pause()
  }

  resume(): void {
    this.#pace.resume()
  }

  status(): ScrubStatus {
    const all = [...this.#found.values()].flatMap(found => [...found.values()])
    return {
      bytesPerSecond: this.#rate,
      verifying: this.#current,
      verifiedSegments: this.#segments,
      verifiedBytes: this.#bytes,
      damagedSegments: all.length,
      damage: all.slice(0, MOST_TOLD)
    }
  }

  /** What was found in one log, by base offset. */
  damageOf(slot: LogSlot): DamagedSegment[] {
    return [...(this.#found.get(slot)?.values() ?? [])].sort((a, b) => a.segment - b.segment)
  }

  async #round(): Promise<void> {
    for (const due of this.#due()) {
      if (this.#stopping.signal.aborted) return
      // Paused before anything is opened.
      await this.#spend(0)
      await this.#verify(due)
    }
  }

  #due(): Due[] {
    const { clock } = this.#shared
    const now = clock.now()
    const due: Due[] = []
    for (const slot of this.#table.slots()) {
      const { log } = slot
      if (log?.condition !== 'open') continue
      const sealed = log.maintenance.sealedSegments()
      this.#forgetGone(slot, new Set(sealed.map(({ baseOffset }) => baseOffset)))
      for (const { baseOffset, verifiedMs = Number.NEGATIVE_INFINITY } of sealed) {
        const triedAt = this.#tried.get(slot)?.get(baseOffset)
        const wasTried = triedAt !== undefined && clock.monotonic() - triedAt < this.#everyMs
        // What is said to be of the future is of a clock that was wrong.
        const isFresh = verifiedMs <= now && now - verifiedMs < this.#everyMs
        if (!wasTried && !isFresh) due.push({ slot, log, baseOffset, verifiedMs })
      }
    }
    return due.sort((a, b) => (a.verifiedMs < b.verifiedMs ? -1 : a.verifiedMs > b.verifiedMs ? 1 : 0))
  }

  /** Of segments that retention, compaction or a cut took away. */
  #forgetGone(slot: LogSlot, here: ReadonlySet<number>): void {
    for (const noted of [this.#tried.get(slot), this.#found.get(slot)])
      for (const baseOffset of [...(noted?.keys() ?? [])]) if (!here.has(baseOffset)) noted?.delete(baseOffset)
  }

  async #verify({ slot, log, baseOffset }: Due): Promise<void> {
    const { topic, partition, name } = slot.folder
    this.#current = { topic, partition, segment: baseOffset }
    try {
      const spend = (bytes: number): Promise<void> => this.#spend(bytes)
      const verified = await log.maintenance.verifySegment(baseOffset, { spend })
      if (verified === undefined) return
      if (verified.error === undefined) this.#sound(slot, baseOffset, verified.bytes)
      else this.#damaged(slot, baseOffset, verified.error)
      await this.#spend(Math.max(0, LEAST_BYTES - verified.bytes))
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      const failure = storeError(error, 'verify', name)
      if (DAMAGE.some(code => isLogError(failure, code))) this.#damaged(slot, baseOffset, failure)
      else this.#note(this.#tried, slot, baseOffset, this.#shared.clock.monotonic())
    } finally {
      this.#current = undefined
    }
  }

  /** B2 */
  async #spend(bytes: number): Promise<void> {
    const { writes } = this.#shared.writeThread
    const rate = writes === this.#appends ? this.#rate : Math.min(this.#rate, BUSY_BYTES_PER_SECOND)
    this.#appends = writes
    this.#pace.bytesPerSecond = rate === Number.POSITIVE_INFINITY ? undefined : rate
    await this.#pace.spend(bytes, this.#stopping.signal)
  }

  #sound(slot: LogSlot, baseOffset: number, bytes: number): void {
    this.#segments += 1
    this.#bytes += bytes
    this.#found.get(slot)?.delete(baseOffset)
    this.#note(this.#tried, slot, baseOffset, this.#shared.clock.monotonic())
  }

  #damaged(slot: LogSlot, segment: number, error: LogError): void {
    const { topic, partition } = slot.folder
    const { clock } = this.#shared
    const { path, position, fromOffset, toOffset } = error.details
    const known = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)
    const foundAt = this.#found.get(slot)?.get(segment)?.foundAt ?? clock.now()
    this.#note(this.#found, slot, segment, {
      topic,
      partition,
      segment,
      file: typeof path === 'string' ? path : undefined,
      position: known(position),
      fromOffset: known(fromOffset),
      toOffset: known(toOffset),
      foundAt,
      error: { code: error.code, message: error.message }
    })
    this.#note(this.#tried, slot, segment, clock.monotonic())
    publish('error', () => ({ topic, partition, error }))
  }

  #note<T>(where: Map<LogSlot, Map<number, T>>, slot: LogSlot, baseOffset: number, what: T): void {
    const noted = where.get(slot) ?? new Map<number, T>()
    where.set(slot, noted.set(baseOffset, what))
  }
}
