/**
 * Names on disk, as Kafka gives them (format notes 3):
 *
 *     partition folder := topic '-' partition          // orders-0; split at the last '-'
 *     segment file     := offset suffix                // 20 decimal digits, zero-padded: 00000000000000000042.log
 *
 * Every path that the engine makes from a topic's name or an offset comes from here, so that no name can lead out of
 * the data directory.
 */
import { join } from 'node:path'
import { assert } from '../util/assert.ts'
import { LogError } from '../util/errors.ts'

export const MAX_TOPIC_NAME = 249

/** Files that a segment, or the producer state beside it, has. */
export const LOG_SUFFIX = '.log'
export const OFFSET_INDEX_SUFFIX = '.index'
export const TIME_INDEX_SUFFIX = '.timeindex'
export const TRANSACTION_INDEX_SUFFIX = '.txnindex'
export const SNAPSHOT_SUFFIX = '.snapshot'

/** On top of the others: renamed to be removed, being written by the cleaner, complete and replacing. */
export const DELETED_SUFFIX = '.deleted'
export const CLEANED_SUFFIX = '.cleaned'
export const SWAP_SUFFIX = '.swap'

const LEGAL_NAME = /^[A-Za-z0-9._-]+$/
const SEGMENT_FILE = /^(\d{20})(\..+)$/
/** No leading zeros, so that each partition has one name. Kafka parses an int: at most 2^31 - 1. */
const PARTITION_NUMBER = /^(?:0|[1-9]\d{0,9})$/
const MAX_PARTITION = 2 ** 31 - 1
const OFFSET_DIGITS = 20

/**
 * @throws {LogError} INVALID_TOPIC if this is not 1 to 249 characters of `[A-Za-z0-9._-]`, or is `.` or `..`.
 * @see Kafka, org.apache.kafka.common.internals.Topic
 */
export function assertTopicName(name: string): void {
  const wrong = whatIsWrongWith(name)
  if (wrong === undefined) return
  // The name may be hostile, and long: it goes into the message quoted and cut.
  const shown = JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)
  throw new LogError('INVALID_TOPIC', `${shown} is no topic name: ${wrong}`, { length: name.length })
}

function whatIsWrongWith(name: string): string | undefined {
  if (name.length === 0) return 'it is empty'
  if (name === '.' || name === '..') return 'it would name a folder'
  if (name.length > MAX_TOPIC_NAME) return `it has ${name.length} characters, at most ${MAX_TOPIC_NAME} are allowed`
  if (!LEGAL_NAME.test(name)) return 'only letters, digits, ".", "_" and "-" are allowed'
  return undefined
}

/** @throws {LogError} INVALID_TOPIC */
export function partitionDirectoryName(topic: string, partition: number): string {
  assertTopicName(topic)
  assert(Number.isInteger(partition) && partition >= 0 && partition <= MAX_PARTITION, `partition ${partition}`)
  return `${topic}-${partition}`
}

/**
 * What a folder of this name would hold; `undefined` for any other folder. Topics on their way out (`…-delete`),
 * copies under way (`…-future`) and strays (`…-stray`) end in no number, so they are none.
 */
export function parsePartitionDirectoryName(name: string): { topic: string; partition: number } | undefined {
  const at = name.lastIndexOf('-')
  if (at <= 0) return undefined
  const topic = name.slice(0, at)
  const digits = name.slice(at + 1)
  if (!PARTITION_NUMBER.test(digits) || whatIsWrongWith(topic) !== undefined) return undefined
  const partition = Number(digits)
  return partition > MAX_PARTITION ? undefined : { topic, partition }
}

let folderOfLast = ''
let prefixOfLast = ''

/**
 * As `join(dir, name)`, for the plain name of a file. Most files of a log are asked for one after the other, and what
 * costs is to normalize the path of their folder.
 */
export function filePath(dir: string, name: string): string {
  if (dir !== folderOfLast) {
    prefixOfLast = join(dir, 'x').slice(0, -1)
    folderOfLast = dir
  }
  return prefixOfLast + name
}

/** @param suffix - with its dot: `.log`, `.index.deleted`. */
export function segmentFileName(offset: number, suffix: string): string {
  assert(Number.isSafeInteger(offset) && offset >= 0, `offset ${offset} cannot name a file`)
  return String(offset).padStart(OFFSET_DIGITS, '0') + suffix
}

/**
 * Offset and suffix of a file; `undefined` for a name of another form, or an offset beyond 2^53 - 1. The suffix is
 * everything from the first dot on: `.log`, `.timeindex.swap`.
 */
export function parseSegmentFileName(name: string): { offset: number; suffix: string } | undefined {
  const match = SEGMENT_FILE.exec(name)
  if (match === null) return undefined
  const offset = Number(match[1])
  return Number.isSafeInteger(offset) ? { offset, suffix: match[2] as string } : undefined
}
