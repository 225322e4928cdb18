import type { FileSystem } from '../fs/file-system.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { AbortedTransactions } from './aborted-transactions.ts'
import { throwIfAborted } from './cleaning-pace.ts'
import type { CleaningInput, SourceSegment } from './cleaning-types.ts'
import { KeyPlaces, type OffsetMap } from './offset-map.ts'
import { SourceReader } from './source-reader.ts'
import { TransactionTracker } from './transaction-tracker.ts'

export interface BuildOptions {
  readonly fs: FileSystem
  readonly map: OffsetMap
  readonly signal: AbortSignal | undefined
  /** Told of bytes read; rests as long as the pace asks for. */
  readonly onRead: (bytes: number) => Promise<void>
}

/** How far the map goes. */
export interface BuiltMap {
  /** Records up to this offset, inclusive, are judged by the map. */
  readonly latestOffset: number
  readonly isFull: boolean
}

/**
 * Notes the last offset of every key in [firstDirtyOffset, firstUncleanableOffset), as Kafka does (format notes 9.5):
 * not of control batches, nor of aborted transactions. Where the keys do not fit, it ends in front of the batch with
 * the first one too many; the map then has some keys of that batch, which does no harm: they only say of earlier
 * records that there is a later one, which is so.
 */
export async function buildKeyMap(input: CleaningInput, options: BuildOptions): Promise<BuiltMap> {
  const { fs, signal } = options
  const { firstDirtyOffset, firstUncleanableOffset } = input
  const builder = new KeyMapBuilder(input, options)
  const aborted = new AbortedTransactions(fs, input)
  const { segments } = input
  for (const [i, segment] of segments.entries()) {
    const nextBase = segments[i + 1]?.baseOffset ?? firstUncleanableOffset
    if (nextBase <= firstDirtyOffset) continue
    if (segment.baseOffset >= firstUncleanableOffset || builder.isFull) break
    throwIfAborted(signal)
    builder.tracker.expect(await aborted.collect(i, nextBase))
    const reader = await SourceReader.open(fs, input, segment)
    try {
      await builder.take(reader)
    } finally {
      await reader.close()
    }
    builder.endSegment(Math.min(nextBase, firstUncleanableOffset))
  }
  return builder
}

class KeyMapBuilder implements BuiltMap {
  readonly tracker = new TransactionTracker()
  latestOffset: number
  isFull = false
  readonly #options: BuildOptions
  readonly #firstDirty: number
  readonly #places = new KeyPlaces()
  readonly #decode: { readonly checkCrc: false; readonly maxDecompressedBytes?: number }

  constructor({ firstDirtyOffset, settings }: CleaningInput, options: BuildOptions) {
    const { maxDecompressedBytes } = settings
    this.#options = options
    this.#firstDirty = firstDirtyOffset
    this.latestOffset = firstDirtyOffset - 1
    this.#decode = maxDecompressedBytes === undefined ? { checkCrc: false } : { checkCrc: false, maxDecompressedBytes }
  }

  async take(reader: SourceReader): Promise<void> {
    for (let bytes = await reader.fill(); bytes > 0; bytes = await reader.fill()) {
      await this.#options.onRead(bytes)
      while (reader.next()) {
        try {
          this.#addBatch(reader)
        } catch (error) {
          throw reader.failed(error)
        }
        if (this.isFull) return
      }
    }
  }

  /** Where offsets are missing at the end of a segment, the map goes up to the next one all the same. */
  endSegment(nextBase: number): void {
    if (!this.isFull) this.latestOffset = Math.max(this.latestOffset, nextBase - 1)
  }

  #addBatch(reader: SourceReader): void {
    const { head } = reader
    const batch = head.view()
    if (batch.isControl) this.tracker.onMarker(batch)
    else if (!this.tracker.onData(batch) && !this.#addRecords(batch.records(this.#decode))) return
    if (head.lastOffset >= this.#firstDirty) this.latestOffset = head.lastOffset
  }

  #addRecords(cursor: RecordCursor): boolean {
    const firstDirty = this.#firstDirty
    const places = this.#places
    places.count = 0
    while (cursor.next()) {
      const { offset } = cursor
      if (offset < firstDirty || !cursor.hasKey) continue
      if (places.isFull && !this.#put(cursor.bytes)) return false
      places.add(cursor.keyStart, cursor.keyEnd, offset)
    }
    return this.#put(cursor.bytes)
  }

  #put(bytes: Buffer): boolean {
    const places = this.#places
    const put = this.#options.map.putAll(bytes, places)
    this.isFull = put < places.count
    places.count = 0
    // A batch with more keys than the map takes: it goes as far as there are keys for, or nothing ever would.
    if (this.isFull && this.latestOffset < this.#firstDirty) this.latestOffset = places.offsets[put]! - 1
    return !this.isFull
  }
}

/** Bytes that a building reads at most. */
export function bytesToBuild({ segments, firstDirtyOffset, firstUncleanableOffset }: CleaningInput): number {
  const isDirty = (_: SourceSegment, i: number): boolean =>
    (segments[i + 1]?.baseOffset ?? firstUncleanableOffset) > firstDirtyOffset &&
    segments[i]!.baseOffset < firstUncleanableOffset
  return segments.filter(isDirty).reduce((sum, { bytes }) => sum + bytes, 0)
}
