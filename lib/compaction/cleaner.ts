/**
 * Compaction of one log: takes out what later records supersede (format notes 9.5, Kafka's Cleaner).
 *
 *     1  build: the last offset of each key in the dirty part, as far as the map goes
 *     2  clean: every segment up to there, in groups; for each group new segments `.cleaned`, then `onGroup`
 *
 * It reads sealed segments and writes `.cleaned` files; putting these in place of the old ones is the caller's, and so
 * is the checkpoint. One asynchronous procedure over `FileSystem` and `Clock`, hosted by whomever.
 *
 * Invariants:
 *   C1  A source file is never changed. What is damaged is left in place, and named.
 *   C2  Nothing at or above `firstUncleanableOffset` is read, let alone dropped.
 *   C3  Records above what the map covers stay, and so does the last batch in front of `firstUncleanableOffset`, if
 *       only its header.
 *   C4  Memory is that of the map, two pieces to read and two to write, one batch decompressed, and one built anew.
 */
import type { FileSystem } from '../fs/file-system.ts'
import { BatchHead } from '../record/batch-head.ts'
import { assert } from '../util/assert.ts'
import type { Clock } from '../util/clock.ts'
import { AbortedTransactions } from './aborted-transactions.ts'
import { BatchCleaner } from './batch-cleaner.ts'
import { CleanedCounter, type CleanedSink, CleanedWriter, PendingBuffers } from './cleaned-writer.ts'
import { type CleaningPace, throwIfAborted } from './cleaning-pace.ts'
import {
  addStats,
  type CleanedGroup,
  type CleaningInput,
  type CleaningProgress,
  type CleaningResult,
  noStats,
  type SourceSegment
} from './cleaning-types.ts'
import { type BuiltMap, buildKeyMap, bytesToBuild } from './key-map-builder.ts'
import { OffsetMap } from './offset-map.ts'
import { groupSegments } from './segment-groups.ts'
import { SourceReader } from './source-reader.ts'
import { TransactionTracker } from './transaction-tracker.ts'

export interface CleaningOptions {
  readonly fs: FileSystem
  readonly clock: Clock
  /** Gives up at the next piece, and removes what was written of the group at hand. */
  readonly signal?: AbortSignal | undefined
  /** How fast, and whether at all: for this cleaning or for several. */
  readonly pace?: CleaningPace | undefined
  /** Puts a group's new segments in place; awaited before the next group is begun. What it throws ends the cleaning. */
  readonly onGroup: (group: CleanedGroup) => void | Promise<void>
  /** Told after each piece. */
  readonly onProgress?: ((progress: CleaningProgress) => void) | undefined
}

/**
 * Cleans a log once.
 *
 * @throws {LogError} CORRUPT_LOG for a source that is damaged: path and position are in its details. CORRUPT_FILE for
 *   a transaction index that cannot be one. ABORTED. STORAGE_FAILED, NO_SPACE and the like for what the system said.
 *   Groups that were handed out before stay valid, but not `endOffset`: the checkpoint stays where it was.
 */
export function cleanLog(input: CleaningInput, options: CleaningOptions): Promise<CleaningResult> {
  return new Cleaning(input, options).run(false)
}

/** What `cleanLog` would do now, told in the same words; reads all of it, and writes nothing. */
export function previewCleaning(
  input: CleaningInput,
  options: Omit<CleaningOptions, 'onGroup'>
): Promise<CleaningResult> {
  return new Cleaning(input, { ...options, onGroup: () => undefined }).run(true)
}

class Cleaning {
  readonly #input: CleaningInput
  readonly #options: CleaningOptions
  readonly #stats = noStats()
  readonly #aborted: AbortedTransactions
  #phase: CleaningProgress['phase'] = 'building'
  #doneBytes = 0
  #totalBytes = 0
  #pending: PendingBuffers | undefined

  constructor(input: CleaningInput, options: CleaningOptions) {
    this.#input = input
    this.#options = options
    this.#aborted = new AbortedTransactions(options.fs, input)
  }

  async run(isPreview: boolean): Promise<CleaningResult> {
    const { clock, signal } = this.#options
    const { segments, firstUncleanableOffset } = this.#input
    const cutsOne = segments.some(s => s.baseOffset < firstUncleanableOffset && s.nextOffset > firstUncleanableOffset)
    assert(!cutsOne, 'C2: a segment is cleaned as a whole or not at all')
    throwIfAborted(signal)
    const began = clock.monotonic()
    const { map, built } = await this.#build()
    const builtAt = clock.monotonic()
    const endOffset = built.latestOffset + 1
    const groups = this.#groups(endOffset)
    this.#begin('cleaning', groups.flat())
    const tracker = new TransactionTracker()
    const cleaner = new BatchCleaner(this.#input, { map, latestOffset: built.latestOffset }, tracker)
    for (const group of groups) await this.#cleanGroup(group, cleaner, tracker, isPreview)
    return {
      endOffset,
      isPartial: built.isFull,
      keys: map.size,
      mapBytes: map.memoryBytes,
      groups: groups.length,
      stats: this.#stats,
      buildMs: builtAt - began,
      cleanMs: clock.monotonic() - builtAt
    }
  }

  async #build(): Promise<{ map: OffsetMap; built: BuiltMap }> {
    const { mapBytes, hashSeeds, firstDirtyOffset, firstUncleanableOffset, eraseOnly } = this.#input
    if (eraseOnly !== undefined) {
      const map = await OffsetMap.create({ memoryBytes: mapBytes, mostKeys: 1, seeds: hashSeeds })
      return { map, built: { latestOffset: -1, isFull: false } }
    }
    // No more keys than offsets.
    const mostKeys = Math.max(1, firstUncleanableOffset - firstDirtyOffset)
    const map = await OffsetMap.create({ memoryBytes: mapBytes, mostKeys, seeds: hashSeeds })
    this.#totalBytes = bytesToBuild(this.#input)
    const { fs, signal } = this.#options
    const onRead = (bytes: number): Promise<void> => this.#spend(bytes, bytes)
    const built = await buildKeyMap(this.#input, { fs, map, signal, onRead })
    return { map, built }
  }

  /** What is to be rewritten: all up to where the map goes, or up to the end where keys are to be erased. */
  #groups(endOffset: number): SourceSegment[][] {
    const { segments, firstUncleanableOffset, settings, eraseKeys = [], eraseOnly } = this.#input
    if (eraseOnly !== undefined) {
      const asked = segments.filter(({ baseOffset }) => eraseOnly.includes(baseOffset))
      return asked.filter(({ baseOffset }) => baseOffset < firstUncleanableOffset).map(segment => [segment])
    }
    const end = eraseKeys.length > 0 ? firstUncleanableOffset : Math.min(endOffset, firstUncleanableOffset)
    const chosen = segments.filter(({ baseOffset }) => baseOffset < end)
    return groupSegments(chosen, settings, firstUncleanableOffset)
  }

  async #cleanGroup(
    group: readonly SourceSegment[],
    cleaner: BatchCleaner,
    tracker: TransactionTracker,
    isPreview: boolean
  ): Promise<void> {
    cleaner.stats = noStats()
    const sink = isPreview ? new CleanedCounter() : await this.#writer(group)
    try {
      for (const source of group) await this.#cleanSegment(source, cleaner, tracker, sink)
      const cleaned = await sink.finish()
      throwIfAborted(this.#options.signal)
      const sources = group.map(({ baseOffset }) => baseOffset)
      await this.#options.onGroup({ sources, cleaned, stats: cleaner.stats })
    } catch (error) {
      await sink.discard()
      throw error
    }
    addStats(this.#stats, cleaner.stats)
  }

  #writer(group: readonly SourceSegment[]): Promise<CleanedSink> {
    const { baseOffset } = group[0]!
    const { modifiedMs } = group.at(-1)!
    this.#pending ??= new PendingBuffers()
    return CleanedWriter.create(this.#options.fs, this.#input, { baseOffset, modifiedMs }, this.#pending)
  }

  async #cleanSegment(
    source: SourceSegment,
    cleaner: BatchCleaner,
    tracker: TransactionTracker,
    sink: CleanedSink
  ): Promise<void> {
    const { segments, firstUncleanableOffset } = this.#input
    const number = segments.indexOf(source)
    const upper = segments[number + 1]?.baseOffset ?? Math.max(source.nextOffset, firstUncleanableOffset)
    tracker.expect(await this.#aborted.collect(number, upper))
    const reader = await SourceReader.open(this.#options.fs, this.#input, source)
    try {
      let written = sink.writtenBytes
      for (let bytes = await reader.fill(); bytes > 0; bytes = await reader.fill()) {
        await this.#spend(bytes, bytes + sink.writtenBytes - written)
        written = sink.writtenBytes
        await cleanPiece(reader, cleaner, sink)
      }
    } finally {
      await reader.close()
    }
  }

  #begin(phase: CleaningProgress['phase'], segments: readonly SourceSegment[]): void {
    this.#phase = phase
    this.#doneBytes = 0
    this.#totalBytes = segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  async #spend(readBytes: number, bytes: number): Promise<void> {
    const { pace, signal, onProgress } = this.#options
    this.#doneBytes += readBytes
    onProgress?.({ phase: this.#phase, doneBytes: this.#doneBytes, totalBytes: this.#totalBytes })
    if (pace === undefined) throwIfAborted(signal)
    else await pace.spend(bytes, signal)
  }
}

/** Every batch that lies in memory. */
async function cleanPiece(reader: SourceReader, cleaner: BatchCleaner, sink: CleanedSink): Promise<void> {
  const { head } = reader
  const rebuilt = new BatchHead()
  while (reader.next()) {
    let cleaned: ReturnType<BatchCleaner['clean']>
    try {
      cleaned = cleaner.clean(head.view())
    } catch (error) {
      throw reader.failed(error)
    }
    if (cleaned === undefined) continue
    const isCopy = cleaned.bytes === reader.bytes
    if (!isCopy) {
      rebuilt.lieIn(cleaned.bytes)
      rebuilt.take(cleaned.start)
    }
    const full = sink.add(cleaned, isCopy ? head : rebuilt)
    if (full !== undefined) await full
  }
}
