/** Producer state as the batches tell it, and whether the snapshots say the same. */
import { join } from 'node:path'
import { readWholeFile } from '../fs/replace-file.ts'
import type { ProducerEntry, ProducerId } from '../log/producer-entry.ts'
import { MAX_SNAPSHOT_BYTES, parseProducerSnapshot } from '../log/producer-snapshot.ts'
import { type CompletedTransaction, ProducerStateManager } from '../log/producer-state.ts'
import type { BatchView } from '../record/batch-view.ts'
import { SNAPSHOT_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { isLogError } from '../util/errors.ts'
import type { FolderContext } from './partition-files.ts'

export class ProducerReplay {
  readonly #producers: ProducerStateManager
  /** Why a batch could not be taken in; the first one. */
  #refused: string | undefined

  constructor(firstOffset: number) {
    this.#producers = new ProducerStateManager([], firstOffset)
  }

  get state(): ProducerStateManager {
    return this.#producers
  }

  get refused(): string | undefined {
    return this.#refused
  }

  /** @returns the transaction that the batch has ended. */
  see(batch: BatchView): CompletedTransaction | undefined {
    const producers = this.#producers
    if (!batch.hasProducerId) {
      producers.advanceTo(batch.nextOffset)
      return undefined
    }
    try {
      const completed = producers.apply(batch)
      // What is decided holds nothing back here: all of it lies in the file already.
      if (completed !== undefined) producers.onHighWatermark(batch.nextOffset)
      return completed
    } catch (error) {
      if (!isLogError(error)) throw error
      this.#refused ??= error.message
      producers.advanceTo(batch.nextOffset)
      return undefined
    }
  }
}

/**
 * What a snapshot says that the log contradicts; `undefined` if nothing.
 *
 * @param offset - of the snapshot: it speaks of everything below.
 * @param isExact - the log is here from its first record on, without a gap or damage. Else producers may have been
 *   forgotten, or batches of theirs be gone, and only what cannot be is wrong.
 */
export function contradiction(
  entries: readonly ProducerEntry[],
  replayed: ReadonlyMap<ProducerId, ProducerEntry>,
  { offset, isExact }: { readonly offset: number; readonly isExact: boolean }
): string | undefined {
  for (const entry of entries) {
    const said = entry.lastBatch
    const { producerId } = entry
    if ((said?.lastOffset ?? -1) >= offset || (entry.currentTxnFirstOffset ?? -1) >= offset) {
      return `it names a batch of producer ${producerId} at or above its own offset`
    }
    const known = replayed.get(producerId)
    const found = known?.lastBatch
    if (known === undefined) {
      if (isExact) return `it knows producer ${producerId}, of which the log has no batch`
      continue
    }
    if (found !== undefined && found.lastOffset > (said?.lastOffset ?? -1) && entry.epoch <= known.epoch) {
      return `its last batch of producer ${producerId} is not the last one: the log has one at offset ${found.lastOffset}`
    }
    if (isExact && !isSame(entry, known)) return `of producer ${producerId} it says something else than the log`
  }
  return undefined
}

function isSame(one: ProducerEntry, other: ProducerEntry): boolean {
  const [a, b] = [one.lastBatch, other.lastBatch]
  return (
    one.epoch === other.epoch &&
    one.currentTxnFirstOffset === other.currentTxnFirstOffset &&
    one.coordinatorEpoch === other.coordinatorEpoch &&
    a?.lastOffset === b?.lastOffset &&
    a?.lastSequence === b?.lastSequence &&
    a?.offsetDelta === b?.offsetDelta
  )
}

interface LoadedSnapshot {
  readonly at: number
  readonly name: string
  readonly entries: readonly ProducerEntry[]
}

/** The snapshots of a partition, each held against the replay at the moment that it speaks of. */
export class SnapshotChecks {
  readonly #context: FolderContext
  readonly #first: number
  /** Not read yet, ascending. */
  readonly #offsets: number[]
  #loaded: LoadedSnapshot[] = []

  /** @param first - base offset of the first segment: a snapshot from before it speaks of what is gone. */
  constructor(context: FolderContext, offsets: readonly number[], first: number) {
    this.#context = context
    this.#first = first
    this.#offsets = [...offsets].sort((a, b) => a - b)
  }

  /** Reads those below `upTo`, so that they can be compared as batches go by. */
  async load(upTo: number): Promise<void> {
    const { fs, path } = this.#context
    while (this.#offsets.length > 0 && (this.#offsets[0] as number) < upTo) {
      const at = this.#offsets.shift() as number
      const name = segmentFileName(at, SNAPSHOT_SUFFIX)
      try {
        const bytes = await readWholeFile(fs, join(path, name), MAX_SNAPSHOT_BYTES)
        if (bytes !== undefined) this.#loaded.push({ at, name, entries: parseProducerSnapshot(bytes) })
      } catch (error) {
        if (!isLogError(error)) throw error
        this.#tell(name, at, `it cannot be read: ${error.message}`)
      }
    }
  }

  /** Compares those at or below `offset`, before a batch there changes the state. */
  compare(replayed: ReadonlyMap<ProducerId, ProducerEntry>, isExact: boolean, offset: number): void {
    while (this.#loaded.length > 0 && (this.#loaded[0] as LoadedSnapshot).at <= offset) {
      const { at, name, entries } = this.#loaded.shift() as LoadedSnapshot
      if (at < this.#first) continue
      const wrong = contradiction(entries, replayed, { offset: at, isExact })
      if (wrong !== undefined) this.#tell(name, at, wrong)
    }
  }

  /** What is left speaks of what the log does not have. */
  finish(logEndOffset: number): void {
    for (const { name, at } of this.#loaded) {
      this.#tell(name, at, `it speaks of what lies below offset ${at}, but the log ends at ${logEndOffset}`)
    }
  }

  #tell(name: string, offset: number, reason: string): void {
    const message = `This snapshot of the producers does not fit the log: ${reason}. No record is concerned; what it says is made anew from an older one and the log.`
    this.#context.findings.add('derived', 'PRODUCER_SNAPSHOT', name, message, { offset })
  }
}
