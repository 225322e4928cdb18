/** Why a segment goes or stays, in a sentence for people. The numbers are those of the decision. */
import type { SegmentDecision } from '../store/retain.ts'

type Numbers = SegmentDecision['because']

export function reasonOf({ decision, rule, because }: SegmentDecision): string {
  const of = because
  switch (rule) {
    case 'log-start-offset':
      return `all of it lies below the log start offset ${of['logStartOffset']}`
    case 'retention.ms':
      if (decision === 'delete') return `${ageOf(of)}; retention.ms=${of['retentionMs']} was over at ${goesAt(of)}`
      return `${ageOf(of)}; goes at ${goesAt(of)}, in ${durationOf(Number(of['leftMs']))}${otherLimits(of)}`
    case 'retention.bytes':
    case 'heartwood.retention.records':
      return limitOf(of, decision === 'delete')
    case 'heartwood.disk.budget.bytes':
    case 'heartwood.disk.free.min.bytes':
      return (
        `segments take up ${of['usedBytes']} bytes and may take up ${of['allowedBytes']}; ` +
        `the topic has ${of['topicBytes']}, its share is ${of['shareBytes']}`
      )
    case 'unknown-settings':
      return 'another engine made the topic; nothing goes before "topics alter" states its cleanup.policy'
    case 'cleanup.policy':
      return `cleanup.policy is ${of['cleanupPolicy']}, not delete`
    case 'no-limit':
      return 'neither retention.ms nor retention.bytes nor heartwood.retention.records is set'
    case 'high-watermark':
      return `${of['reached']} is reached, but it ends at ${of['nextBaseOffset']}, above the high watermark ${of['highWatermark']}`
    case 'open-transaction':
      return `${of['reached']} is reached, but a transaction is open from offset ${of['lastStableOffset']} on`
    case 'hold':
      return `${of['reached']} is reached, but ${of['hold']} holds everything from offset ${of['holdOffset']} on`
    case 'clock-jump':
      return `${of['reached']} is reached, but the clock jumped ahead by ${durationOf(Number(of['clockJumpMs']))}`
    case 'segment-in-front':
      return `${of['reached']} is reached, but segment ${of['segmentInFront']} in front of it stays (${of['itsRule']})${waits(of)}`
    case 'empty-active-segment':
      return 'it is empty, and the one that is written to'
  }
}

function ageOf({ largestTimestamp, modifiedMs }: Numbers): string {
  if (largestTimestamp !== undefined) return `its youngest record is of ${timeOf(Number(largestTimestamp))}`
  return `it has no timestamps and was written at ${timeOf(Number(modifiedMs))}`
}

const goesAt = ({ goesAtMs }: Numbers): string => timeOf(Number(goesAtMs))

const waits = ({ waitsMs }: Numbers): string =>
  waitsMs === undefined ? '' : `, for ${durationOf(Number(waitsMs))} more`

function otherLimits(of: Numbers): string {
  const text = limitOf(of, false)
  return text === '' ? '' : `, or sooner: ${text}`
}

function limitOf(of: Numbers, isReached: boolean): string {
  const parts: string[] = []
  if (of['retentionBytes'] !== undefined) {
    parts.push(`${of['bytesBehind']} bytes lie behind it, retention.bytes=${of['retentionBytes']}`)
  }
  if (of['retentionRecords'] !== undefined) {
    parts.push(`${of['offsetsBehind']} offsets lie behind it, heartwood.retention.records=${of['retentionRecords']}`)
  }
  return parts.map(part => `${isReached ? '' : 'only '}${part}`).join('; ')
}

/** A time that a calendar has; else the milliseconds as they are. */
function timeOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString()
}

const UNITS: readonly (readonly [name: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1]
]

/** The two largest units: `3 d 4 h`. */
export function durationOf(ms: number): string {
  const first = UNITS.findIndex(([, size]) => ms >= size)
  if (first === -1) return '0 ms'
  let left = ms
  const parts = UNITS.slice(first, first + 2).flatMap(([name, size]) => {
    const count = Math.floor(left / size)
    left -= count * size
    return count === 0 ? [] : [`${count} ${name}`]
  })
  return parts.join(' ')
}
