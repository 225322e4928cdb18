import { LogError } from '../util/errors.ts'
import { BatchBuilder } from './batch-builder.ts'

/**
 * Control records: facts about the log inside the log, never shown to consumers.
 *
 *     key   := version int16 (0)  type int16
 *     value := version int16 (0)  coordinatorEpoch int32     // of abort and commit
 *
 * A reader takes longer keys and values and higher versions as version 0, so that a later Kafka's are understood.
 *
 * @see Kafka, org.apache.kafka.common.record.ControlRecordType and EndTransactionMarker
 */

/** In the order of their numbers. All but the first two occur in Kafka's metadata log only. */
const TYPES = [
  'abort',
  'commit',
  'leader-change',
  'snapshot-header',
  'snapshot-footer',
  'kraft-version',
  'kraft-voters'
] as const

export type ControlRecordType = (typeof TYPES)[number] | 'unknown'

export interface ControlRecord {
  readonly type: ControlRecordType
  /** Version of the key. */
  readonly version: number
  /** Of abort and commit: generation of the transaction coordinator that decided. */
  readonly coordinatorEpoch?: number
}

export interface EndTransactionMarker {
  readonly type: 'commit' | 'abort'
  readonly producerId: number
  readonly producerEpoch: number
  readonly coordinatorEpoch: number
  readonly baseOffset: number
  readonly leaderEpoch: number
  /** The log's clock, milliseconds. */
  readonly timestamp: number
}

const KEY_BYTES = 4
const VALUE_BYTES = 6

/**
 * What a record of a control batch says; type `unknown` for what a later Kafka may have added, which readers skip.
 *
 * @throws {LogError} INVALID_RECORD if the key is missing or too short to name a type, or an abort or commit has no
 *   value that names a coordinator epoch.
 */
export function parseControlRecord(key: Buffer | null, value: Buffer | null): ControlRecord {
  if (key === null || key.length < KEY_BYTES) {
    throw new LogError('INVALID_RECORD', `a control record's key has ${KEY_BYTES} bytes, this one ${sizeOf(key)}`)
  }
  const version = key.readInt16BE(0)
  const number = key.readInt16BE(2)
  const type = TYPES[number] ?? 'unknown'
  if (version < 0) throw new LogError('INVALID_RECORD', `a control record of version ${version}`, { version })
  if (type !== 'abort' && type !== 'commit') return { type, version }
  if (value === null || value.length < VALUE_BYTES) {
    throw new LogError('INVALID_RECORD', `${type} marker: ${VALUE_BYTES} bytes expected, ${sizeOf(value)} found`)
  }
  if (value.readInt16BE(0) < 0)
    throw new LogError('INVALID_RECORD', `${type} marker of version ${value.readInt16BE(0)}`)
  return { type, version, coordinatorEpoch: value.readInt32BE(2) }
}

function sizeOf(bytes: Buffer | null): string {
  return bytes === null ? 'is null' : `has ${bytes.length}`
}

/** The whole batch, 78 bytes, that ends a producer's transaction in one partition. The buffer is the caller's. */
export function encodeEndTransactionMarker(marker: EndTransactionMarker): Buffer {
  const key = Buffer.alloc(KEY_BYTES)
  key.writeInt16BE(TYPES.indexOf(marker.type), 2)
  const value = Buffer.alloc(VALUE_BYTES)
  value.writeInt32BE(marker.coordinatorEpoch, 2)
  const builder = new BatchBuilder()
  const bytes = Buffer.alloc(BatchBuilder.sizeBound([{ key, value }]))
  builder.begin(bytes, 0, {
    baseOffset: marker.baseOffset,
    leaderEpoch: marker.leaderEpoch,
    timestampType: 'CreateTime',
    now: marker.timestamp,
    producerId: marker.producerId,
    producerEpoch: marker.producerEpoch,
    transactional: true,
    control: true
  })
  builder.add({ key, value })
  return bytes.subarray(0, builder.finish())
}
