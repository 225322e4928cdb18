import { LogError } from '../../util/errors.ts'
import type { CompressionName } from '../batch-format.ts'

interface LevelRange {
  readonly lowest: number
  readonly highest: number
  /** Outside the range, but allowed: "the codec's default". */
  readonly alias?: number
  readonly byDefault: number
}

/** As Kafka's `compression.gzip.level`, `compression.lz4.level`, `compression.zstd.level` have it. */
export const COMPRESSION_LEVELS: Readonly<Partial<Record<CompressionName, LevelRange>>> = {
  gzip: { lowest: 1, highest: 9, alias: -1, byDefault: -1 },
  lz4: { lowest: 1, highest: 17, byDefault: 9 },
  zstd: { lowest: -131072, highest: 22, byDefault: 3 }
}

/**
 * Checks a compression level against Kafka's bounds. `undefined` is the codec's default and always right.
 *
 * @throws {LogError} INVALID_CONFIG if the codec has no levels (none, snappy), or not this one.
 */
export function assertCompressionLevel(name: CompressionName, level: number | undefined): void {
  if (level === undefined) return
  const range = COMPRESSION_LEVELS[name]
  if (range === undefined) {
    throw new LogError('INVALID_CONFIG', `${name} has no compression levels`, { codec: name, level })
  }
  const { lowest, highest, alias } = range
  if (Number.isInteger(level) && ((level >= lowest && level <= highest) || level === alias)) return
  const allowed = `${lowest} to ${highest}${alias === undefined ? '' : `, or ${alias} for the default`}`
  throw new LogError('INVALID_CONFIG', `${name} compression level must be ${allowed}, not ${level}`, {
    codec: name,
    level,
    allowed
  })
}
