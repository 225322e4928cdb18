/** Why a partition is cleaned or not, in a sentence for people. The numbers are those of the judgement. */
import type { CleanableJudgement } from '../compaction/cleanable.ts'
import type { CompactedPartition } from '../store/upkeep-types.ts'

export function reasonFor({ judgement, cleaned }: CompactedPartition): string {
  const { reason, cleanableBytes, dirtyRatio, minCleanableDirtyRatio, firstDirtyOffset, overdueMs } = judgement
  switch (reason) {
    case 'unknown-settings':
      return 'another engine made the topic; it is not touched before "topics alter" states its cleanup.policy'
    case 'not-compacted':
      return 'cleanup.policy does not have compact'
    case 'nothing-dirty':
      return `sealed segments are clean up to offset ${firstDirtyOffset}; the active segment is never cleaned`
    case 'held-back':
      return `${judgement.heldBackBytes} bytes are dirty and may not be cleaned yet: ${boundOf(judgement)}`
    case 'below-ratio':
      return (
        `${cleanableBytes} bytes, ${shareOf(dirtyRatio)}, are dirty; min.cleanable.dirty.ratio=${minCleanableDirtyRatio} ` +
        `${cleaned === undefined ? 'is not reached' : 'was to be ignored'}`
      )
    case 'ratio':
      return `${cleanableBytes} bytes, ${shareOf(dirtyRatio)}, are dirty, more than min.cleanable.dirty.ratio=${minCleanableDirtyRatio}`
    case 'max-lag':
      return `a record has waited ${overdueMs} ms longer than max.compaction.lag.ms allows`
  }
}

function boundOf({ heldBackBy, firstUncleanableOffset }: CleanableJudgement): string {
  switch (heldBackBy) {
    case 'last-stable-offset':
      return `a transaction is open; nothing from offset ${firstUncleanableOffset} on is decided`
    case 'hold':
      return `a named reader holds the log; nothing from offset ${firstUncleanableOffset} on may go`
    case 'min-compaction-lag':
      return `from offset ${firstUncleanableOffset} on there are records younger than min.compaction.lag.ms`
    case 'active-segment':
      return `from offset ${firstUncleanableOffset} on it is written to`
  }
}

const shareOf = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`
