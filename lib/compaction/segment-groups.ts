import type { CleaningSettings, SourceSegment } from './cleaning-types.ts'

const MAX_INT32 = 2 ** 31 - 1

/**
 * Which neighbours become one segment, by Kafka's rule (Cleaner.groupSegmentsBySize): as many as fit by the bytes that
 * they have now into one segment and one index of each kind, with offsets that 32 bits hold. So segments do not become
 * ever smaller from one cleaning to the next.
 *
 * @param segments - ascending, those to be rewritten.
 * @param end - exclusive bound of what is cleaned: where the offsets of the last segment end at the latest.
 */
export function groupSegments(
  segments: readonly SourceSegment[],
  { segmentBytes, indexBytes }: CleaningSettings,
  end: number
): SourceSegment[][] {
  const groups: SourceSegment[][] = []
  let group: SourceSegment[] = []
  let sum = { bytes: 0, indexBytes: 0, timeIndexBytes: 0 }
  segments.forEach((segment, i) => {
    const lastOffset = (segments[i + 1]?.baseOffset ?? end) - 1
    const first = group[0]
    const fits =
      first !== undefined &&
      sum.bytes + segment.bytes <= segmentBytes &&
      sum.indexBytes + segment.indexBytes <= indexBytes &&
      sum.timeIndexBytes + segment.timeIndexBytes <= indexBytes &&
      // An empty segment adds no offset, however far it lies: else one would stay behind for each 2^31 offsets.
      (segment.bytes === 0 || lastOffset - first.baseOffset <= MAX_INT32)
    if (!fits) {
      group = []
      groups.push(group)
      sum = { bytes: 0, indexBytes: 0, timeIndexBytes: 0 }
    }
    group.push(segment)
    sum.bytes += segment.bytes
    sum.indexBytes += segment.indexBytes
    sum.timeIndexBytes += segment.timeIndexBytes
  })
  return groups
}
