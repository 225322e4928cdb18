/** What a topic's settings ask of plain records, and the codec that their batch gets. */
import type { CompressionName } from '../record/batch-format.ts'
import type { RecordInput } from '../record/record.ts'
import { LogError } from '../util/errors.ts'
import { compressionLevelFor, type LogConfig } from './log-config.ts'
import type { AppendOptions } from './types.ts'

/** What `checkRecords` goes by, taken out of a configuration once for many appends. */
export interface RecordRules {
  readonly config: LogConfig
  readonly needsKey: boolean
  /** False where timestamps are the log's own. */
  readonly checksTime: boolean
  readonly maxBeforeMs: number
  readonly maxAfterMs: number
}

export function recordRules(config: LogConfig): RecordRules {
  return {
    config,
    needsKey: config.cleanupPolicy.includes('compact'),
    checksTime: config.messageTimestampType === 'CreateTime',
    maxBeforeMs: config.messageTimestampBeforeMaxMs ?? Number.POSITIVE_INFINITY,
    maxAfterMs: config.messageTimestampAfterMaxMs ?? Number.POSITIVE_INFINITY
  }
}

/**
 * @throws {LogError} INVALID_RECORD for a record without a key on a compacted topic, INVALID_TIMESTAMP for a
 *   timestamp outside `message.timestamp.before.max.ms` and `.after.max.ms`; both name the record's index.
 */
export function checkRecords(records: readonly RecordInput[], rules: RecordRules, now: number, name: string): void {
  const { needsKey, checksTime } = rules
  const oldest = now - rules.maxBeforeMs
  const newest = now + rules.maxAfterMs
  for (let i = 0; i < records.length; i += 1) {
    const record = records[i] as RecordInput
    if (needsKey && (record.key === undefined || record.key === null)) {
      throw new LogError(
        'INVALID_RECORD',
        `${name}: record ${i} has no key, and a compacted topic keeps the latest record of each key.`,
        { index: i }
      )
    }
    const { timestamp } = record
    if (
      checksTime &&
      timestamp !== undefined &&
      timestamp !== -1 &&
      (Number(timestamp) < oldest || Number(timestamp) > newest)
    ) {
      throw new LogError(
        'INVALID_TIMESTAMP',
        `${name}: record ${i} has timestamp ${timestamp}, the clock says ${now}: too far off for message.timestamp.before.max.ms and after.max.ms.`,
        { index: i, timestamp, now }
      )
    }
  }
}

/** The topic's codec where it names one, else what the append asks for. */
export function codecFor(config: LogConfig, options: AppendOptions): CompressionName {
  if (config.compressionType === 'producer') return options.compression ?? 'none'
  return config.compressionType === 'uncompressed' ? 'none' : config.compressionType
}

/** The level for that codec, in the form that the encoder takes: absent for the codec's own default. */
export function levelFor(config: LogConfig, codec: CompressionName, options: AppendOptions): { level?: number } {
  const level = options.compressionLevel ?? compressionLevelFor(config, codec)
  return level === undefined ? {} : { level }
}
