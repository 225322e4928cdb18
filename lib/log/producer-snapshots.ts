/**
 * The producer snapshots of one partition's folder: one per segment base offset, and one at the log end offset after a
 * clean close. They are derived data: each says up to where it holds (its name), and the log tells the rest.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { isSystemError } from '../fs/system-errors.ts'
import { writeFully } from '../fs/write-fully.ts'
import { parseSegmentFileName, segmentFileName } from '../segment/file-names.ts'
import { isLogError } from '../util/errors.ts'
import type { ProducerEntry } from './producer-entry.ts'
import { formatProducerSnapshot, MAX_SNAPSHOT_BYTES, parseProducerSnapshot } from './producer-snapshot.ts'
import type { ProducerStateManager } from './producer-state.ts'

export interface FoundSnapshot {
  /** First offset that the entries do not cover. */
  readonly offset: number
  readonly entries: ProducerEntry[]
}

export class ProducerSnapshots {
  readonly #fs: FileSystem
  readonly #dir: string
  readonly #replace: ReplaceOptions

  constructor(fs: FileSystem, dir: string, options: ReplaceOptions = {}) {
    this.#fs = fs
    this.#dir = dir
    this.#replace = options
  }

  /** Offsets of the snapshots there are, ascending. */
  async offsets(): Promise<number[]> {
    const offsets: number[] = []
    for (const { name, kind } of await this.#fs.readDirectory(this.#dir)) {
      const parsed = kind === 'file' ? parseSegmentFileName(name) : undefined
      if (parsed?.suffix === '.snapshot') offsets.push(parsed.offset)
    }
    return offsets.sort((one, other) => one - other)
  }

  /**
   * Writes the snapshot of `state` as of `offset`, in place of one that is there.
   *
   * @param options.sync - false: whole or absent after the end of the process, but nothing is promised of a power cut
   *   until `sync(offset)`; a snapshot that it tears fails its CRC, and an older one serves. True by default.
   * @throws the system's error.
   */
  async take(offset: number, state: ProducerStateManager, { sync = true }: { sync?: boolean } = {}): Promise<void> {
    const bytes = formatProducerSnapshot(state.entries.values())
    if (sync) await replaceFile(this.#fs, this.#path(offset), bytes, this.#replace)
    else await this.#write(this.#path(offset), bytes)
  }

  /** Makes the content of a snapshot durable; its name is for the caller's `syncDirectory`. */
  async sync(offset: number): Promise<void> {
    const handle = await this.#fs.open(this.#path(offset), 'write')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /**
   * The newest readable snapshot at or below `atMost`.
   *
   * @param options.skipped - called for each newer one that cannot be read.
   * @param options.offsets - of those there are, where that is known; else the folder is listed.
   * @throws the system's error; a snapshot that is damaged or of an unknown version is skipped.
   */
  async latest(
    atMost: number,
    {
      skipped,
      offsets: known
    }: { skipped?: (offset: number, error: unknown) => void; offsets?: readonly number[] | undefined } = {}
  ): Promise<FoundSnapshot | undefined> {
    const offsets = (known ?? (await this.offsets())).filter(offset => offset <= atMost)
    for (const offset of offsets.sort((one, other) => other - one)) {
      try {
        const bytes = await readWholeFile(this.#fs, this.#path(offset), MAX_SNAPSHOT_BYTES)
        if (bytes !== undefined) return { offset, entries: parseProducerSnapshot(bytes) }
      } catch (error) {
        if (!isLogError(error)) throw error
        skipped?.(offset, error)
      }
    }
    return undefined
  }

  async delete(offset: number): Promise<void> {
    await this.#deleteAll([offset])
  }

  /** Removes those above `offset`, durably: one that came back would speak of batches that are gone. */
  async deleteAfter(offset: number): Promise<number> {
    const gone = (await this.offsets()).filter(other => other > offset)
    await this.#deleteAll(gone)
    if (gone.length > 0) await this.#fs.syncDirectory(this.#dir)
    return gone.length
  }

  /** Removes those below `offset`. */
  async deleteBefore(offset: number): Promise<number> {
    const gone = (await this.offsets()).filter(other => other < offset)
    await this.#deleteAll(gone)
    return gone.length
  }

  /**
   * Removes those that belong to no segment, but for the newest of them if it is above the last segment's base: that
   * is the one of a clean close.
   *
   * @param baseOffsets - of all segments.
   */
  async deleteStrays(baseOffsets: readonly number[]): Promise<number> {
    const known = new Set(baseOffsets)
    const strays = (await this.offsets()).filter(offset => !known.has(offset))
    const last = baseOffsets.reduce((most, offset) => Math.max(most, offset), 0)
    if ((strays.at(-1) ?? -1) >= last) strays.pop()
    await this.#deleteAll(strays)
    return strays.length
  }

  async #write(path: string, bytes: Buffer): Promise<void> {
    const temporary = `${path}.tmp`
    const handle = await this.#fs.open(temporary, 'truncate', this.#replace.permissions)
    try {
      await writeFully(handle, bytes, 0)
      const { owner } = this.#replace
      if (owner !== undefined) await this.#fs.changeOwner(temporary, owner.uid, owner.gid)
    } finally {
      await handle.close()
    }
    await this.#fs.rename(temporary, path)
  }

  async #deleteAll(offsets: readonly number[]): Promise<void> {
    for (const offset of offsets) {
      try {
        await this.#fs.unlink(this.#path(offset))
      } catch (error) {
        if (!isSystemError(error, 'ENOENT')) throw error
      }
    }
  }

  #path(offset: number): string {
    return join(this.#dir, segmentFileName(offset, '.snapshot'))
  }
}
