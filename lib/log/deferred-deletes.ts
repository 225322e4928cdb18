/**
 * Segments that are no longer part of the log and wait, renamed `.deleted`, for their files to be removed.
 *
 * Readers in this process have let go of them or read on from what they have open; a reader in another process that
 * is about to open one of these files has `file.delete.delay.ms` left to do so. A crash leaves the files; the next
 * loading removes them.
 */
import type { FileSystem } from '../fs/file-system.ts'
import type { Segment } from '../segment/segment.ts'
import { Turn } from '../util/turn.ts'

interface Waiting {
  readonly segment: Segment
  readonly bytes: number
  /** Monotonic clock, ms. */
  readonly dueAt: number
}

export class DeferredDeletes {
  readonly #fs: FileSystem
  readonly #dir: string
  readonly #turn = new Turn()
  #waiting: readonly Waiting[] = []
  #reclaimedBytes = 0

  constructor(fs: FileSystem, dir: string) {
    this.#fs = fs
    this.#dir = dir
  }

  /** Bytes of log files that wait to be removed. */
  get reclaimableBytes(): number {
    return this.#waiting.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Bytes of log files that were removed here since the log was opened. */
  get reclaimedBytes(): number {
    return this.#reclaimedBytes
  }

  /** When the first of them may go, on the monotonic clock; `undefined` if none waits. */
  get dueAt(): number | undefined {
    return this.#waiting.length === 0 ? undefined : Math.min(...this.#waiting.map(({ dueAt }) => dueAt))
  }

  /** Takes over segments whose files are named `.deleted`. */
  add(segments: readonly Segment[], dueAt: number): void {
    this.#waiting = [...this.#waiting, ...segments.map(segment => ({ segment, bytes: segment.size, dueAt }))]
  }

  /**
   * Removes the files that are due; what cannot be removed stays, and is tried again by the next call.
   *
   * @param now - monotonic clock, ms; infinity for all of them.
   * @returns bytes of log files that went.
   */
  remove(now: number): Promise<number> {
    return this.#turn.run(() => this.#remove(now))
  }

  /** Lets go of what waits: removed if `clean`, else left for the next loading. */
  async close({ clean }: { clean: boolean }): Promise<void> {
    try {
      if (clean) await this.remove(Number.POSITIVE_INFINITY)
    } finally {
      for (const { segment } of this.#waiting) await segment.close({ clean: false })
      this.#waiting = []
    }
  }

  async #remove(now: number): Promise<number> {
    const due = this.#waiting.filter(({ dueAt }) => dueAt <= now)
    let bytes = 0
    const problems: unknown[] = []
    for (const waiting of due) {
      try {
        await waiting.segment.delete()
        this.#waiting = this.#waiting.filter(other => other !== waiting)
        bytes += waiting.bytes
      } catch (error) {
        // What cannot be removed must not keep the others.
        problems.push(error)
      }
    }
    this.#reclaimedBytes += bytes
    if (bytes > 0) await this.#fs.syncDirectory(this.#dir)
    if (problems.length > 0) throw problems[0]
    return bytes
  }
}
