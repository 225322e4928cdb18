/**
 * How one partition's log behaves: read once, here, from Kafka's topic settings or from code, and checked.
 *
 * Everything else in the engine takes a `LogConfig` and trusts it. Fields that end in `Ms` are milliseconds, in
 * `Bytes` bytes; `undefined` means "no limit", and only the fields that say so may be it.
 */
import { LogError } from '../util/errors.ts'
import { failed, SETTING_ALIASES, TOPIC_SETTINGS, type TopicSetting, UNSUPPORTED_SETTINGS } from './topic-settings.ts'

/** When an append is acknowledged; see the durability contract in ARCHITECTURE.md. */
export type Durability = 'batch' | 'interval' | 'none' | 'buffered'

export type CleanupPolicy = 'delete' | 'compact'

export type TopicCompression = 'producer' | 'uncompressed' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

export interface LogConfig {
  // files
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly segmentJitterMs: number
  /** `segment.index.bytes`. */
  readonly indexBytes: number
  readonly indexIntervalBytes: number
  readonly preallocate: boolean
  readonly fileDeleteDelayMs: number

  // acknowledging
  readonly durability: Durability
  /** Thresholds of `interval` (before a sync) and `buffered` (before a write); `undefined`: this one is off. */
  readonly flushMessages?: number | undefined
  readonly flushMs?: number | undefined
  readonly flushBytes?: number | undefined
  /** What a reader may see; `undefined`: what the durability acknowledges. */
  readonly visibility?: 'written' | 'synced' | undefined
  /** Plain appends waiting together share a batch up to this size; 0: never. */
  readonly maxMergedBatchBytes: number

  // batches
  readonly maxMessageBytes: number
  readonly compressionType: TopicCompression
  /** `undefined`: the codec's own default. */
  readonly compressionGzipLevel?: number | undefined
  readonly compressionLz4Level?: number | undefined
  readonly compressionZstdLevel?: number | undefined
  readonly messageTimestampType: 'CreateTime' | 'LogAppendTime'
  /** How far a timestamp may lie behind or ahead of the clock; `undefined`: any distance. */
  readonly messageTimestampBeforeMaxMs?: number | undefined
  readonly messageTimestampAfterMaxMs?: number | undefined
  readonly producerIdExpirationMs: number

  // what goes away
  readonly cleanupPolicy: readonly CleanupPolicy[]
  /** `undefined`: kept for ever. */
  readonly retentionMs?: number | undefined
  /** `undefined`: whatever the size. */
  readonly retentionBytes?: number | undefined
  /** `undefined`: however many. */
  readonly retentionRecords?: number | undefined
  /** What a whole directory may take up (`heartwood.disk.budget.bytes`) is not met at this topic's expense. */
  readonly diskBudgetExempt: boolean
  readonly minCleanableDirtyRatio: number
  readonly deleteRetentionMs: number
  readonly minCompactionLagMs: number
  /** `undefined`: no limit. */
  readonly maxCompactionLagMs?: number | undefined

  // for the replication layer; a log alone does not look at them
  readonly minInsyncReplicas: number
  readonly uncleanLeaderElection: boolean
}

/** One row for documentation and completion. */
export interface KnownTopicConfig {
  readonly key: string
  readonly defaultValue: string
  readonly allowed: string
}

export const KNOWN_TOPIC_CONFIGS: readonly KnownTopicConfig[] = TOPIC_SETTINGS.map(setting => ({
  key: setting.key,
  defaultValue: setting.defaultText,
  allowed: setting.allowed
}))

const SETTING_BY_KEY: ReadonlyMap<string, TopicSetting> = new Map(TOPIC_SETTINGS.map(s => [s.key, s]))
const SETTING_BY_FIELD: ReadonlyMap<string, TopicSetting> = new Map(TOPIC_SETTINGS.map(s => [s.field, s]))
const FLUSH_FIELDS = ['flushMessages', 'flushMs', 'flushBytes'] as const
/** By field. */
const DEFAULTS: ReadonlyMap<string, unknown> = new Map(TOPIC_SETTINGS.map(s => [s.field, s.parse(s.defaultText)]))
/** Configurations that were checked here. They are frozen, so they need no second look. */
const checked = new WeakSet<object>()

/**
 * Reads Kafka's topic settings; what is not named has its default.
 *
 * @throws {LogError} INVALID_CONFIG `{ key, value, allowed }` for an unknown key, a value of the wrong type or out
 *   of range, and for settings that contradict each other.
 */
export function parseTopicConfigs(configs: ReadonlyMap<string, string>): LogConfig {
  const given: Record<string, unknown> = {}
  for (const [name, text] of configs) {
    const setting = findSetting(name, text)
    if (setting.key === name && aliasGiven(configs, name)) continue
    const value = setting.parse(text)
    if (value === failed) throw refused(name, text, setting.allowed)
    given[setting.field] = value
  }
  return complete(given)
}

/**
 * A whole configuration from the fields that code gave; the others have their defaults.
 * A field that is present and `undefined` switches that limit off.
 *
 * @throws {LogError} INVALID_CONFIG as `parseTopicConfigs`.
 */
export function logConfig(fields: Partial<LogConfig> = {}): LogConfig {
  if (checked.has(fields)) return fields as LogConfig
  const given: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(fields)) {
    const setting = SETTING_BY_FIELD.get(field)
    if (setting === undefined) throw refused(field, String(value), `one of ${[...SETTING_BY_FIELD.keys()].join(', ')}`)
    if (value === DEFAULTS.get(field)) {
      given[field] = value
      continue
    }
    // Numbers go through the text's rules, so that Kafka's -1 and 2^63-1 mean here what they mean there.
    const wanted = typeof value === 'number' ? setting.parse(String(value)) : value
    if (!setting.accepts(wanted)) throw refused(field, String(value), setting.allowed)
    given[field] = wanted
  }
  return complete(given)
}

/**
 * Kafka's keys and values for a configuration: those that differ from the defaults, or with `all` every one that
 * means something under it. What is written without `all` parses back to an equal configuration.
 */
export function formatTopicConfigs(config: LogConfig, options: { readonly all?: boolean } = {}): Map<string, string> {
  const configs = new Map<string, string>()
  const flushing = usesThresholds(config.durability)
  for (const setting of TOPIC_SETTINGS) {
    if (isFlushField(setting.field) && !flushing) continue
    const text = setting.format(config[setting.field])
    if (options.all === true || text !== setting.defaultText) configs.set(setting.key, text)
  }
  return configs
}

/** The level to hand to `compress` for a codec under this configuration; `undefined`: the codec's default. */
export function compressionLevelFor(config: LogConfig, codec: string): number | undefined {
  if (codec === 'gzip') return config.compressionGzipLevel
  if (codec === 'lz4') return config.compressionLz4Level
  return codec === 'zstd' ? config.compressionZstdLevel : undefined
}

export const isCompacted = (config: LogConfig): boolean => config.cleanupPolicy.includes('compact')

const usesThresholds = (durability: Durability): boolean => durability === 'interval' || durability === 'buffered'

const isFlushField = (field: string): boolean => (FLUSH_FIELDS as readonly string[]).includes(field)

const aliasGiven = (configs: ReadonlyMap<string, string>, key: string): boolean =>
  [...SETTING_ALIASES].some(([alias, target]) => target === key && configs.has(alias))

function findSetting(name: string, text: string): TopicSetting {
  const setting = SETTING_BY_KEY.get(SETTING_ALIASES.get(name) ?? name)
  if (setting !== undefined) return setting
  const reason = UNSUPPORTED_SETTINGS.get(name)
  if (reason !== undefined) {
    throw new LogError('INVALID_CONFIG', `${name} cannot be set: ${reason}`, {
      key: name,
      value: text,
      allowed: reason
    })
  }
  const allowed = `one of ${[...SETTING_BY_KEY.keys()].join(', ')}`
  throw new LogError('INVALID_CONFIG', `${name} is not a topic setting: ${allowed}`, {
    key: name,
    value: text,
    allowed
  })
}

function complete(given: Record<string, unknown>): LogConfig {
  const fields: Record<string, unknown> = {}
  for (const setting of TOPIC_SETTINGS) {
    const value = setting.field in given ? given[setting.field] : DEFAULTS.get(setting.field)
    fields[setting.field] = Array.isArray(value) ? Object.freeze([...value]) : value
  }
  // Every field was just set by the table, which a test holds against this interface.
  const config = fields as unknown as LogConfig
  if (usesThresholds(config.durability)) checkThresholds(config)
  else for (const field of FLUSH_FIELDS) fields[field] = refuseThreshold(given, field, config.durability)
  checkCompactionLags(config)
  // A copy: what is put together key by key stays a hash table in V8, and appends look into this at every turn.
  const whole = Object.freeze({ ...config })
  checked.add(whole)
  return whole
}

function checkThresholds(config: LogConfig): void {
  if (FLUSH_FIELDS.some(field => config[field] !== undefined)) return
  const allowed = 'at least one of flush.messages, flush.ms, heartwood.flush.bytes'
  throw refused('heartwood.durability', config.durability, `${allowed} with it (or durability none)`)
}

/** A threshold under a durability that has none is wrong usage: it would look as if it bounded something. */
function refuseThreshold(given: Record<string, unknown>, field: string, durability: Durability): undefined {
  if (!(field in given) || given[field] === undefined) return undefined
  const key = SETTING_BY_FIELD.get(field)?.key ?? field
  throw refused(key, String(given[field]), `heartwood.durability interval or buffered with it, not ${durability}`)
}

function checkCompactionLags(config: LogConfig): void {
  const most = config.maxCompactionLagMs
  if (most === undefined || config.minCompactionLagMs <= most) return
  throw refused('max.compaction.lag.ms', String(most), `at least min.compaction.lag.ms (${config.minCompactionLagMs})`)
}

function refused(key: string, value: string, allowed: string): LogError {
  return new LogError('INVALID_CONFIG', `${key}=${value} is not allowed: ${allowed}`, { key, value, allowed })
}
