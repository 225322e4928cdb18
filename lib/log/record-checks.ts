/** What a topic asks of each record in a client's batch. Walks the records once, without an object for each. */
import type { BatchView } from '../record/batch-view.ts'
import type { DecodeOptions } from '../record/records-section.ts'
import { LogError } from '../util/errors.ts'
import { isCompacted, type LogConfig } from './log-config.ts'

/** As many are named in the error; all are counted. */
const NAMED_ERRORS = 10
const NONE = -1

interface RecordError {
  readonly index: number
  readonly message: string
}

/**
 * Checks that every record decodes, has a key where the topic is compacted, and a timestamp that the topic allows.
 *
 * @param batch - its CRC has been checked.
 * @returns the largest timestamp of the records, exactly; -1 if none has one.
 * @throws {LogError} INVALID_RECORD, INVALID_TIMESTAMP `{ index, failed, recordErrors }`: of all records that the topic
 *   refuses, the first one's index, how many they are, and the first ten as JSON `[{ index, message }]`.
 * @throws {LogError} INVALID_RECORD, DECOMPRESSION_LIMIT, UNSUPPORTED_COMPRESSION_TYPE if they do not decode.
 */
export function checkRecords(
  batch: BatchView,
  config: LogConfig,
  now: number,
  limits: Omit<DecodeOptions, 'checkCrc'> = {}
): number | bigint {
  const keyRequired = isCompacted(config)
  const timed = config.messageTimestampType === 'CreateTime'
  const oldest = now - (config.messageTimestampBeforeMaxMs ?? Number.POSITIVE_INFINITY)
  const newest = now + (config.messageTimestampAfterMaxMs ?? Number.POSITIVE_INFINITY)
  const errors = new RecordErrors()
  let largest = NONE
  const cursor = batch.records({ ...limits, checkCrc: false })
  for (let index = 0; cursor.next(); index += 1) {
    const { timestamp } = cursor
    if (timestamp > largest) largest = timestamp
    if (keyRequired && !cursor.hasKey)
      errors.add(index, 'a compacted topic keeps the latest record of each key: no key')
    if (timed && timestamp !== NONE && (timestamp < oldest || timestamp > newest)) {
      errors.addTime(index, `timestamp ${timestamp} is too far from the clock, which is at ${now}`)
    }
  }
  errors.throwIfAny()
  return Number.isSafeInteger(largest) ? largest : largestExactly(batch, limits)
}

class RecordErrors {
  readonly #named: RecordError[] = []
  #failed = 0
  #anyTime = false

  add(index: number, message: string): void {
    this.#failed += 1
    if (this.#named.length < NAMED_ERRORS) this.#named.push({ index, message })
  }

  addTime(index: number, message: string): void {
    this.#anyTime = true
    this.add(index, message)
  }

  throwIfAny(): void {
    const [first] = this.#named
    if (first === undefined) return
    const code = this.#anyTime ? 'INVALID_TIMESTAMP' : 'INVALID_RECORD'
    const others = this.#failed === 1 ? '' : ` (and ${this.#failed - 1} more)`
    throw new LogError(code, `record ${first.index}: ${first.message}${others}`, {
      index: first.index,
      failed: this.#failed,
      recordErrors: JSON.stringify(this.#named)
    })
  }
}

/** Timestamps in nanoseconds are beyond 2^53, where different ones look alike as numbers. */
function largestExactly(batch: BatchView, limits: Omit<DecodeOptions, 'checkCrc'>): bigint {
  let largest = BigInt(NONE)
  const cursor = batch.records({ ...limits, checkCrc: false })
  while (cursor.next()) {
    const { timestampExact } = cursor
    if (timestampExact > largest) largest = timestampExact
  }
  return largest
}
