/** From what is known of a topic to the configuration of its logs. */
import {
  formatTopicConfigs,
  KNOWN_TOPIC_CONFIGS,
  type LogConfig,
  logConfig,
  parseTopicConfigs
} from '../log/log-config.ts'
import { SETTING_ALIASES } from '../log/topic-settings.ts'
import { LogError } from '../util/errors.ts'

const DURABILITY = 'heartwood.durability'
const THRESHOLDS = ['flush.messages', 'flush.ms', 'heartwood.flush.bytes']
const THRESHOLD_FIELDS = ['flushMessages', 'flushMs', 'flushBytes'] as const

/**
 * @param configs - the topic's own settings; they win over `defaults`.
 * @throws {LogError} INVALID_CONFIG.
 */
export function topicLogConfig(configs: ReadonlyMap<string, string>, defaults: Partial<LogConfig> = {}): LogConfig {
  if (Object.keys(defaults).length === 0) return parseTopicConfigs(configs)
  const merged = formatTopicConfigs(logConfig(defaults))
  const durability = configs.get(DURABILITY)
  // Thresholds go with the durability they were chosen for.
  if (durability !== undefined && durability !== (merged.get(DURABILITY) ?? 'batch')) {
    for (const key of THRESHOLDS) merged.delete(key)
  }
  for (const [key, value] of configs) merged.set(key, value)
  return parseTopicConfigs(merged)
}

/** What code asks of one log, over what holds for its topic. */
export function overrideLogConfig(config: LogConfig, override: Partial<LogConfig> | undefined): LogConfig {
  if (override === undefined || Object.keys(override).length === 0) return config
  const base: Record<string, unknown> = { ...config }
  if (override.durability !== undefined && override.durability !== config.durability) {
    for (const field of THRESHOLD_FIELDS) delete base[field]
  }
  return logConfig({ ...(base as Partial<LogConfig>), ...override })
}

/**
 * Settings after a change.
 *
 * @throws {LogError} INVALID_CONFIG for a key to delete that is none, or when the outcome is not allowed.
 */
export function changedConfigs(
  configs: ReadonlyMap<string, string>,
  change: {
    readonly set?: Readonly<Record<string, string>> | undefined
    readonly delete?: readonly string[] | undefined
  }
): Map<string, string> {
  const changed = new Map(configs)
  for (const key of change.delete ?? []) {
    assertKnown(key)
    for (const name of otherNames(key)) changed.delete(name)
  }
  for (const [key, value] of Object.entries(change.set ?? {})) {
    for (const name of otherNames(key)) changed.delete(name)
    changed.set(key, String(value))
  }
  parseTopicConfigs(changed)
  return changed
}

function assertKnown(key: string): void {
  if (SETTING_ALIASES.has(key) || KNOWN_TOPIC_CONFIGS.some(known => known.key === key)) return
  const allowed = `one of ${KNOWN_TOPIC_CONFIGS.map(known => known.key).join(', ')}`
  throw new LogError('INVALID_CONFIG', `${key} is not a topic setting: ${allowed}`, { key, value: '', allowed })
}

/** A key and its aliases: the setting has one value, under the name that was used last. */
function otherNames(key: string): string[] {
  const main = SETTING_ALIASES.get(key) ?? key
  return [main, ...[...SETTING_ALIASES].filter(([, target]) => target === main).map(([alias]) => alias)]
}
