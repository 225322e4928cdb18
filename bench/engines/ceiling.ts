/**
 * The ceiling: what a bare loop in Node reaches, with the same calls and the same acknowledgements.
 *
 * Appends that wait together are one group: one write, and for `synced` one fdatasync, then all of them are told at
 * once. One group is in flight; what arrives meanwhile is encoded into a second arena and is the next one. No index,
 * no recovery, no producers, no rolling, no error handling.
 */
import { closeSync, fdatasync, openSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Arena, BareEncoder } from './ceiling-encoder.ts'
import { pointReader, scanner } from './ceiling-read.ts'
import type { Appender, Engine, Level, Rec } from './engine.ts'

/**
 * A write of at most this many bytes takes less time on the spot than its way through the thread pool. A larger one is
 * worth that way only where a producer goes on encoding meanwhile.
 */
const SMALL_WRITE_BYTES = 64 * 1024

export const LOG_FILE = '00000000000000000000.log'

class GroupCommit implements Appender {
  readonly #file: number
  readonly #level: Level
  readonly #encoder = new BareEncoder()
  #spare = new Arena()
  #isScheduled = false
  #isInFlight = false
  #group = newGroup()
  /** Appends of the group that gathers, and of the one before it: more than one means that somebody has several under way. */
  #gathered = 0
  #gatheredBefore = 0

  constructor(directory: string, level: Level) {
    this.#file = openSync(join(directory, LOG_FILE), 'a')
    this.#level = level
  }

  append(records: readonly Rec[]): Promise<void> {
    // Whoever fills the arena faster than the disk empties it has to wait; a window of any sane size does not.
    if (this.#encoder.isFull) return this.#group.done.then(() => this.append(records))
    this.#encoder.add(records)
    this.#gathered += 1
    if (!this.#isInFlight) this.#schedule()
    return this.#group.done
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(this.#commit)
  }

  readonly #commit = (): void => {
    this.#isScheduled = false
    const arena = this.#encoder.swap(this.#spare)
    this.#spare = arena
    const group = this.#group
    this.#group = newGroup()
    const isAlone = this.#gathered === 1 && this.#gatheredBefore <= 1
    this.#gatheredBefore = this.#gathered
    this.#gathered = 0
    if (this.#level === 'written' && (isAlone || arena.used <= SMALL_WRITE_BYTES)) {
      writeSync(this.#file, arena.bytes, 0, arena.used)
      group.resolve()
      return
    }
    this.#isInFlight = true
    write(this.#file, arena.bytes, 0, arena.used, null, error => {
      if (error !== null) throw error
      if (this.#level === 'written') this.#committed(group)
      else fdatasync(this.#file, failed => (failed === null ? this.#committed(group) : fail(failed)))
    })
  }

  #committed(group: Group): void {
    this.#isInFlight = false
    group.resolve()
    // Not at once: those who were just told come first, so that they join the group that waits.
    if (this.#encoder.hasWork) this.#schedule()
  }

  close(): void {
    closeSync(this.#file)
  }
}

interface Group {
  readonly done: Promise<void>
  readonly resolve: () => void
}

function newGroup(): Group {
  let resolve = (): void => undefined
  const done = new Promise<void>(settle => {
    resolve = settle
  })
  return { done, resolve }
}

function fail(error: Error): never {
  throw error
}

export const engine: Engine = {
  name: 'ceiling',
  settings: level =>
    `bare loop: v2 batches encoded into an arena, native CRC-32C, ${level === 'written' ? 'one write a group' : 'one write and one fdatasync a group'}, one group in flight`,
  version: () => process.version,
  appender: async (directory, level) => new GroupCommit(directory, level),
  scanner: async (directory, kind) => scanner(directory, kind),
  pointReader: async (directory, options) => pointReader(directory, options)
}
