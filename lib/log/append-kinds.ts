/** What may be appended, and for each kind: how it is copied for an append that has to wait, and who takes it in. */
import type { RecordInput } from '../record/record.ts'
import type { Appends } from './appends.ts'
import type { Accepted } from './batch-arena.ts'
import { copyOfRecords } from './record-copy.ts'
import type { AppendOptions, EndTransactionOptions } from './types.ts'

export interface AppendKind<T> {
  /** Shares no memory with what is given. */
  copy(given: T): T
  /** One synchronous step. @throws {LogError} */
  accept(appends: Appends, given: T, options: AppendOptions): Accepted
}

export const RECORDS: AppendKind<readonly RecordInput[]> = {
  copy: copyOfRecords,
  accept: (appends, records, options) => appends.records(records, options)
}

export const CLIENT_BATCH: AppendKind<Uint8Array> = {
  copy: bytes => Buffer.from(bytes),
  accept: (appends, bytes, options) => appends.clientBatch(asBuffer(bytes), options)
}

export const FOLLOWER_BATCHES: AppendKind<Uint8Array> = {
  copy: bytes => Buffer.from(bytes),
  accept: (appends, bytes, options) => appends.followerBatches(asBuffer(bytes), options)
}

export const END_TRANSACTION: AppendKind<EndTransactionOptions> = {
  copy: marker => ({ ...marker }),
  accept: (appends, marker, options) => appends.endTransaction(marker, options)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
