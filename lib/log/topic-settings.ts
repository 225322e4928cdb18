/**
 * The table of topic settings: Kafka's key, our field, what is allowed, what holds when nothing is said.
 *
 * Keys and ranges are those of Kafka's TopicConfig and LogConfig (format.md 10), except that
 *   - `retention.ms` is -1 (keep) unless told otherwise,
 *   - `segment.bytes` may be as small as Kafka's old minimum of 14; `internal.segment.bytes` is another name
 *     for it, as in Kafka's own tests,
 *   - what Kafka has no key for begins with `heartwood.`.
 *
 * A limit that is switched off is `undefined` in memory, whatever Kafka writes for it (-1 or 2^63-1).
 * A duration above 2^52 ms (142,000 years) is read as 2^52, so that its sum with a wall clock stays exact.
 */
import type { LogConfig } from './log-config.ts'

export interface TopicSetting {
  readonly key: string
  readonly field: keyof LogConfig
  /** What an operator would write for the default. */
  readonly defaultText: string
  /** For messages: `an integer from 1 to 5`. */
  readonly allowed: string
  /** `failed` when the text is not allowed. */
  parse(text: string): unknown | typeof failed
  /** Text that parses back to this value. */
  format(value: unknown): string
  /** Whether a value that came through code rather than text is allowed. */
  accepts(value: unknown): boolean
}

export const failed: unique symbol = Symbol('not an allowed value')

export const MAX_DURATION_MS = 2 ** 52
const MAX_INT32 = 2 ** 31 - 1
const MAX_INT64_TEXT = '9223372036854775807'
const INT64_LIMIT = 1n << 63n

type Kind = Pick<TopicSetting, 'allowed' | 'parse' | 'format' | 'accepts'>

const parseInteger = (text: string): bigint | undefined => {
  const trimmed = text.trim()
  if (!/^[+-]?\d{1,20}$/.test(trimmed)) return undefined
  const value = BigInt(trimmed.replace(/^\+/, ''))
  return value >= -INT64_LIMIT && value < INT64_LIMIT ? value : undefined
}

/** An integer in [least, most]. */
function integer(least: number, most: number): Kind {
  const accepts = (value: unknown): boolean =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
  return {
    allowed: `an integer from ${least} to ${most}`,
    accepts,
    parse: text => {
      const value = parseInteger(text)
      return value !== undefined && accepts(Number(value)) ? Number(value) : failed
    },
    format: String
  }
}

/** Milliseconds that are always there; beyond 2^52 they are 2^52. */
function duration(least: number): Kind {
  return {
    allowed: `milliseconds, an integer from ${least} to ${MAX_INT64_TEXT}`,
    accepts: value => Number.isSafeInteger(value) && (value as number) >= least,
    parse: text => {
      const value = parseInteger(text)
      return value === undefined || value < least ? failed : Math.min(Number(value), MAX_DURATION_MS)
    },
    format: value => ((value as number) >= MAX_DURATION_MS ? MAX_INT64_TEXT : String(value))
  }
}

/** A limit that 2^63-1 (in practice: anything that a number cannot hold) switches off. */
function limit(least: number, unit: string): Kind {
  return {
    allowed: `${unit}, an integer from ${least}; ${MAX_INT64_TEXT} for no limit`,
    accepts: value => value === undefined || (Number.isSafeInteger(value) && (value as number) >= least),
    parse: text => {
      const value = parseInteger(text)
      if (value === undefined || value < least) return failed
      return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value)
    },
    format: value => (value === undefined ? MAX_INT64_TEXT : String(value))
  }
}

/** A limit that -1 switches off. */
function limitOrMinusOne(unit: string): Kind {
  const { parse } = limit(-1, unit)
  return {
    allowed: `${unit}, an integer from 0; -1 for no limit`,
    accepts: value => value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0),
    parse: text => {
      const value = parse(text)
      return value === -1 ? undefined : value
    },
    format: value => (value === undefined ? '-1' : String(value))
  }
}

/** A compression level; `undefined` in memory is the codec's own default, which is `usual` in text. */
function level(least: number, most: number, usual: number): Kind {
  const within = integer(least, most).accepts
  return {
    allowed: `a level from ${least} to ${most}; ${usual} for the default`,
    accepts: value => value === undefined || within(value),
    parse: text => {
      const value = parseInteger(text)
      if (value === undefined) return failed
      if (value === BigInt(usual)) return undefined
      return within(Number(value)) ? Number(value) : failed
    },
    format: value => (value === undefined ? String(usual) : String(value))
  }
}

function oneOf(...words: string[]): Kind {
  return {
    allowed: `one of ${words.join(', ')}`,
    accepts: value => words.includes(value as string),
    parse: text => (words.includes(text.trim()) ? text.trim() : failed),
    format: String
  }
}

function oneOfOrAuto(...words: string[]): Kind {
  const { parse } = oneOf(...words)
  return {
    allowed: `one of ${words.join(', ')}, auto`,
    accepts: value => value === undefined || words.includes(value as string),
    parse: text => (text.trim() === 'auto' ? undefined : parse(text)),
    format: value => (value === undefined ? 'auto' : String(value))
  }
}

function listOf(...words: string[]): Kind {
  const accepts = (value: unknown): boolean => Array.isArray(value) && value.every(word => words.includes(word))
  return {
    allowed: `a list of ${words.join(', ')}, separated by commas, or nothing`,
    accepts,
    parse: text => {
      const items = text.trim() === '' ? [] : text.split(',').map(word => word.trim())
      return accepts(items) ? [...new Set(items)] : failed
    },
    format: value => (value as readonly string[]).join(',')
  }
}

function ratio(): Kind {
  const accepts = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= 1
  return {
    allowed: 'a number from 0 to 1',
    accepts,
    parse: text => {
      const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : Number.NaN
      return accepts(value) ? value : failed
    },
    format: String
  }
}

function flag(): Kind {
  return {
    allowed: 'true or false',
    accepts: value => typeof value === 'boolean',
    parse: text => ({ true: true, false: false })[text.trim().toLowerCase()] ?? failed,
    format: String
  }
}

const setting = (key: string, field: keyof LogConfig, defaultText: string, kind: Kind): TopicSetting => ({
  key,
  field,
  defaultText,
  ...kind
})

/** Every key there is, in the order in which `describe` shows them. */
export const TOPIC_SETTINGS: readonly TopicSetting[] = [
  setting('cleanup.policy', 'cleanupPolicy', 'delete', listOf('delete', 'compact')),
  setting('compression.gzip.level', 'compressionGzipLevel', '-1', level(1, 9, -1)),
  setting('compression.lz4.level', 'compressionLz4Level', '9', level(1, 17, 9)),
  setting(
    'compression.type',
    'compressionType',
    'producer',
    oneOf('producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd')
  ),
  setting('compression.zstd.level', 'compressionZstdLevel', '3', level(-131072, 22, 3)),
  setting('delete.retention.ms', 'deleteRetentionMs', '86400000', duration(0)),
  setting('file.delete.delay.ms', 'fileDeleteDelayMs', '60000', duration(0)),
  setting('flush.messages', 'flushMessages', '10000', limit(1, 'records')),
  setting('flush.ms', 'flushMs', '1000', limit(0, 'milliseconds')),
  setting('index.interval.bytes', 'indexIntervalBytes', '4096', integer(0, MAX_INT32)),
  setting('max.compaction.lag.ms', 'maxCompactionLagMs', MAX_INT64_TEXT, limit(1, 'milliseconds')),
  setting('max.message.bytes', 'maxMessageBytes', '1048588', integer(0, MAX_INT32)),
  setting('message.timestamp.after.max.ms', 'messageTimestampAfterMaxMs', '3600000', limit(0, 'milliseconds')),
  setting('message.timestamp.before.max.ms', 'messageTimestampBeforeMaxMs', MAX_INT64_TEXT, limit(0, 'milliseconds')),
  setting('message.timestamp.type', 'messageTimestampType', 'CreateTime', oneOf('CreateTime', 'LogAppendTime')),
  setting('min.cleanable.dirty.ratio', 'minCleanableDirtyRatio', '0.5', ratio()),
  setting('min.compaction.lag.ms', 'minCompactionLagMs', '0', duration(0)),
  setting('min.insync.replicas', 'minInsyncReplicas', '1', integer(1, MAX_INT32)),
  setting('preallocate', 'preallocate', 'false', flag()),
  setting('retention.bytes', 'retentionBytes', '-1', limitOrMinusOne('bytes')),
  setting('retention.ms', 'retentionMs', '-1', limitOrMinusOne('milliseconds')),
  setting('segment.bytes', 'segmentBytes', '1073741824', integer(14, MAX_INT32)),
  setting('segment.index.bytes', 'indexBytes', '10485760', integer(4, MAX_INT32)),
  setting('segment.jitter.ms', 'segmentJitterMs', '0', duration(0)),
  setting('segment.ms', 'segmentMs', '604800000', duration(1)),
  setting('unclean.leader.election.enable', 'uncleanLeaderElection', 'false', flag()),
  setting('heartwood.disk.budget.exempt', 'diskBudgetExempt', 'false', flag()),
  setting('heartwood.durability', 'durability', 'batch', oneOf('batch', 'interval', 'none', 'buffered')),
  setting('heartwood.flush.bytes', 'flushBytes', '16777216', limit(1, 'bytes')),
  setting('heartwood.max.merged.batch.bytes', 'maxMergedBatchBytes', '16384', integer(0, MAX_INT32)),
  setting('heartwood.producer.id.expiration.ms', 'producerIdExpirationMs', '86400000', duration(1)),
  setting('heartwood.retention.records', 'retentionRecords', '-1', limitOrMinusOne('records')),
  setting('heartwood.visibility', 'visibility', 'auto', oneOfOrAuto('written', 'synced'))
]

/** Other names; where both are given the alias wins, as Kafka's does. */
export const SETTING_ALIASES: ReadonlyMap<string, string> = new Map([['internal.segment.bytes', 'segment.bytes']])

/** Kafka's settings for what this library has not: refused with the reason rather than as unknown. */
export const UNSUPPORTED_SETTINGS: ReadonlyMap<string, string> = new Map([
  ['remote.storage.enable', 'there is no tiered storage'],
  ['remote.log.copy.disable', 'there is no tiered storage'],
  ['remote.log.delete.on.disable', 'there is no tiered storage'],
  ['local.retention.ms', 'there is no tiered storage'],
  ['local.retention.bytes', 'there is no tiered storage'],
  ['leader.replication.throttled.replicas', 'there is no replication throttle'],
  ['follower.replication.throttled.replicas', 'there is no replication throttle'],
  ['message.format.version', 'only the current format is written'],
  ['message.downconversion.enable', 'only the current format is read']
])
