import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'
import type { BatchFacts } from './segment-types.ts'

/** A position in a segment is a signed 32-bit number, and so is an offset's distance from the base. */
export const MAX_SEGMENT_BYTES = 2 ** 31 - 1
const MAX_RELATIVE_OFFSET = 2 ** 31 - 1

/** @throws {LogError} CORRUPT_FILE if the file at `path` is longer than a segment can be. */
export function checkLength(path: string, length: number): void {
  if (length <= MAX_SEGMENT_BYTES) return
  throw new LogError('CORRUPT_FILE', `${path} has ${length} bytes: more than a segment can have`, { path })
}

/** The end of a segment, where batches are added. */
export interface SegmentEnd {
  readonly baseOffset: number
  readonly size: number
  /** One past the last offset, where that is known. */
  readonly nextOffset: number | undefined
}

/** Batches that do not fit behind the end are a defect of the writer, found before anything is written. */
export function assertFits(end: SegmentEnd, bytes: Buffer, batches: readonly BatchFacts[]): void {
  let position = end.size
  let offset = end.nextOffset ?? end.baseOffset
  assert(batches.length > 0 && position + bytes.length <= MAX_SEGMENT_BYTES, 'a segment file stays below 2 GiB')
  for (const batch of batches) {
    assert(batch.position === position, 'batches are written at the end of the file, back to back')
    assert(batch.baseOffset >= offset && batch.lastOffset >= batch.baseOffset, 'offsets increase')
    position += batch.size
    offset = batch.lastOffset + 1
  }
  assert(position === end.size + bytes.length, 'the batches are all there is')
  assert(offset - 1 - end.baseOffset <= MAX_RELATIVE_OFFSET, 'roll the segment before its offsets outgrow 32 bits')
}
