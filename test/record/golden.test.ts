import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { BatchBuilder, type BatchFields } from '../../lib/record/batch-builder.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeEndTransactionMarker, parseControlRecord } from '../../lib/record/control-record.ts'
import { compressBatch } from '../../lib/record/encode-batch.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'
import { fixture } from '../helpers/paths.ts'

/** A record as Kafka's own consumer saw it. */
interface SeenRecord {
  offset: number
  timestamp: number
  timestampType: string
  leaderEpoch: number
  key: SeenBytes
  value: SeenBytes
  headers: unknown
}

type SeenBytes = string | { size: number; sha256: string } | null

/** Every batch of a partition folder, in order. */
function* batchesOf(folder: string): Generator<BatchView> {
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith('.log')) continue
    const bytes = readFileSync(join(folder, name))
    for (let at = 0; ; ) {
      const found = scanBatch(bytes, at, bytes.length)
      if (found.kind === 'end') break
      if (found.kind !== 'batch') throw new Error(`${name} at ${at}: ${JSON.stringify(found)}`)
      yield new BatchView(bytes, at)
      at += found.size
    }
  }
}

function seen(bytes: Buffer | null): SeenBytes {
  if (bytes === null) return null
  if (bytes.length <= 64) return bytes.toString('hex')
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

function asSeen(record: LazyRecord): SeenRecord {
  const { offset, timestamp, timestampType, leaderEpoch } = record
  const headers = record.headers.map(([name, value]) => [name, seen(value)])
  return { offset, timestamp, timestampType, leaderEpoch, key: seen(record.key), value: seen(record.value), headers }
}

/** The batch encoded anew from its header fields and records. */
function encodeAgain(batch: BatchView): Buffer {
  const { deleteHorizonMs } = batch
  const fields: BatchFields = {
    baseOffset: batch.baseOffset,
    leaderEpoch: batch.partitionLeaderEpoch,
    timestampType: batch.timestampType,
    now: batch.maxTimestamp,
    producerId: batch.producerId,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    transactional: batch.isTransactional,
    control: batch.isControl,
    ...(deleteHorizonMs === undefined ? {} : { deleteHorizonMs })
  }
  const bytes = Buffer.alloc(batch.size + 64)
  const builder = new BatchBuilder()
  builder.begin(bytes, 0, fields)
  for (const cursor = batch.records(); cursor.next(); ) {
    const { key, value, headers, timestamp } = cursor.toRecord()
    builder.add(headers.length === 0 ? { key, value, timestamp } : { key, value, timestamp, headers }, cursor.offset)
  }
  const maxTimestamp = batch.recordCount === 0 ? { maxTimestamp: batch.maxTimestamp } : {}
  return bytes.subarray(0, builder.finish({ lastOffset: batch.lastOffset, ...maxTimestamp }))
}

for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
  for (const [state, expectations] of [
    ['clean', 'expect'],
    ['compacted', 'expect-compacted']
  ] as const) {
    const folders = readdirSync(fixture('golden', version, state)).filter(name => name.endsWith('-0'))
    for (const name of folders) {
      const folder = fixture('golden', version, state, name)

      t.test(`${version} ${state} ${name}: every batch is sound and its offsets increase`, async t => {
        let next = 0
        let count = 0
        for (const batch of batchesOf(folder)) {
          batch.verify()
          if (batch.baseOffset < next) throw new Error(`${batch.baseOffset} after ${next}`)
          let last = batch.baseOffset - 1
          let max = -1
          for (const cursor = batch.records(); cursor.next(); count++) {
            if (cursor.offset <= last || cursor.offset > batch.lastOffset) throw new Error(`offset ${cursor.offset}`)
            last = cursor.offset
            max = Math.max(max, cursor.timestamp)
          }
          if (batch.recordCount > 0 && max !== batch.maxTimestamp) throw new Error(`max timestamp ${max}`)
          next = batch.nextOffset
        }
        t.pass(`${count} records`)
      })

      t.test(`${version} ${state} ${name}: encoding a batch again gives Kafka's bytes`, async t => {
        let same = 0
        for (const batch of batchesOf(folder)) {
          // Under log append time a record's own timestamp is no longer shown; vectors.test.ts covers that.
          if (batch.timestampType === 'LogAppendTime') continue
          const plain = compressBatch(batch, 'none')
          if (batch.compression === 'none' && !plain.equals(batch.payload()))
            throw new Error(`copy of ${batch.baseOffset}`)
          const again = encodeAgain(new BatchView(plain))
          if (!again.equals(plain)) {
            t.same(again.toString('hex'), plain.toString('hex'), `batch ${batch.baseOffset}`)
            return
          }
          same += 1
        }
        t.pass(`${same} batches`)
      })

      t.test(`${version} ${state} ${name}: transaction markers are encoded as Kafka does`, async t => {
        let count = 0
        for (const batch of batchesOf(folder)) {
          if (!batch.isControl) continue
          const cursor = batch.records()
          if (!cursor.next()) continue
          const { type, coordinatorEpoch, version } = parseControlRecord(cursor.key(), cursor.value())
          if (type !== 'abort' && type !== 'commit') throw new Error(type)
          t.equal(version, 0)
          count += 1
          if (batch.deleteHorizonMs !== undefined) continue // compaction has rewritten it
          const marker = encodeEndTransactionMarker({
            type,
            producerId: batch.producerId,
            producerEpoch: batch.producerEpoch,
            coordinatorEpoch: coordinatorEpoch!,
            baseOffset: batch.baseOffset,
            leaderEpoch: batch.partitionLeaderEpoch,
            timestamp: cursor.timestamp
          })
          t.ok(marker.equals(batch.payload()), `${type} at ${batch.baseOffset}`)
        }
        if (/^transactions|^open-transaction/.test(name) && state === 'clean')
          t.ok(count > 0 || name.startsWith('open'))
      })

      const expected = readExpected(fixture('golden', version, expectations, `${name.slice(0, -2)}.json`))
      if (expected === undefined) continue
      t.test(`${version} ${state} ${name}: the records are those that Kafka's consumer saw`, async t => {
        const records: SeenRecord[] = []
        for (const batch of batchesOf(folder)) {
          if (batch.isControl) continue
          for (const cursor = batch.records(); cursor.next(); ) {
            if (cursor.offset >= expected.logStartOffset) records.push(asSeen(cursor.lazy()))
          }
        }
        t.equal(records.length, expected.readUncommitted.length)
        const different = records.findIndex((record, i) => !equal(record, expected.readUncommitted[i]))
        if (different >= 0) t.same(records[different], expected.readUncommitted[different])
      })
    }
  }
}

function readExpected(path: string): { logStartOffset: number; readUncommitted: SeenRecord[] } | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as { logStartOffset: number; readUncommitted: SeenRecord[] }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined // Kafka's own topics have none
    throw error
  }
}

function equal(a: SeenRecord, b: SeenRecord | undefined): boolean {
  return b !== undefined && Object.keys(a).every(key => text(a[key as 'key']) === text(b[key as 'key']))
}

function text(value: unknown): string {
  return JSON.stringify(value)
}
