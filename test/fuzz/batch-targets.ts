/** Record batches, what is in them, and the streams that they are compressed to. */

import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { COMPRESSION_NAMES, type CompressionName, HEADER_BYTES } from '../../lib/record/batch-format.ts'
import { BatchHead } from '../../lib/record/batch-head.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { compress, decompress, decompressStream } from '../../lib/record/compression/index.ts'
import { xxHash32 } from '../../lib/record/compression/xxhash32.ts'
import { encodeEndTransactionMarker, parseControlRecord } from '../../lib/record/control-record.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { readOlderEntry } from '../../lib/record/older-magic.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { recordInputs } from '../helpers/record-arbitraries.ts'
import { soundVectors } from '../helpers/vectors.ts'
import { claim, type Target } from './target.ts'

/** Of a batch: enough to go over it. */
const MOST_OUTPUT = MiB

const records = fc.array(recordInputs, { minLength: 1, maxLength: 6 })

const soundBatch: fc.Arbitrary<Buffer> = fc
  .tuple(records, fc.constantFrom(...COMPRESSION_NAMES), fc.nat({ max: 2 ** 40 }), fc.boolean())
  .map(([inputs, compression, baseOffset, isIdempotent]) =>
    encodeBatch(inputs, {
      now: 1_700_000_000_000,
      compression,
      baseOffset,
      ...(isIdempotent ? { producerId: 7, producerEpoch: 1, baseSequence: 3 } : {})
    })
  )

const soundMarker = fc.constantFrom('commit' as const, 'abort' as const).map(type =>
  encodeEndTransactionMarker({
    type,
    producerId: 9,
    producerEpoch: 2,
    coordinatorEpoch: 4,
    baseOffset: 100,
    leaderEpoch: 1,
    timestamp: 1_700_000_000_000
  })
)

/** Everything there is to read of the batch at `at`; how many bytes it gave. */
function readBatch(bytes: Buffer, at: number): number {
  const view = new BatchView(bytes, at)
  const cursor = view.records({ checkCrc: true, maxDecompressedBytes: MOST_OUTPUT })
  claim(crc32c(bytes, at + 21, view.end) === bytes.readUInt32BE(at + 17), 'a batch is read whose CRC is wrong')
  const head = new BatchHead()
  head.lieIn(bytes)
  claim(head.take(at) && head.hasRightCrc() && head.lastOffset === view.lastOffset, 'two readings of one header')
  let output = 0
  let last = view.baseOffset - 1
  while (cursor.next()) {
    claim(Number.isSafeInteger(cursor.offset) && cursor.offset > last, `offset ${cursor.offset} behind ${last}`)
    claim(cursor.offset <= view.lastOffset, `offset ${cursor.offset} in a batch up to ${view.lastOffset}`)
    last = cursor.offset
    const { key, value, headers, timestamp, timestampExact } = cursor.lazy()
    const eager = cursor.toRecord()
    claim(Number(timestampExact) === timestamp && eager.timestamp === timestamp, `timestamps of ${cursor.offset}`)
    claim(headers.length === cursor.headerCount && eager.headers.length === headers.length, 'a number of headers')
    claim((key?.length ?? -1) === (eager.key?.length ?? -1), 'keys of two lengths')
    claim((value?.length ?? -1) === (eager.value?.length ?? -1), 'values of two lengths')
    output += (key?.length ?? 0) + (value?.length ?? 0) + 100 * (1 + headers.length)
    if (view.isControl) parseControlRecord(key, value)
  }
  return output
}

/** As from a file: batches one after the other, up to what is none. */
function readFileOfBatches(bytes: Buffer): number {
  let output = 0
  for (let at = 0; ; ) {
    const scanned = scanBatch(bytes, at, bytes.length)
    if (scanned.kind !== 'batch') return output
    claim(scanned.size > 0 && at + scanned.size <= bytes.length, 'a batch beyond the end')
    if (bytes[at + 16] === 2) output += readBatch(bytes, at)
    else readOlderEntry(bytes, at, at + scanned.size)
    at += scanned.size
  }
}

/** Lengths that lead out of the bytes, and the checksums of all batches that are whole. */
function mendBatches(bytes: Buffer): void {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readInt32BE(at + 8)
    if (length < HEADER_BYTES - 12 || at + 12 + length > bytes.length)
      bytes.writeInt32BE(bytes.length - at - 12, at + 8)
    bytes[at + 16] = 2
    bytes[at] = 0
    bytes[at + 1]! &= 0x1f
    updateCrc(bytes, at)
    at += 12 + bytes.readInt32BE(at + 8)
  }
}

const HEADER_FIELDS = [0, 8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57, 61, 62, 63, 64, 65, 66, 67, 68, 70, 75, 80]

const batch: Target = {
  name: 'batch',
  modules: [
    ...['batch-view', 'batch-head', 'batch-scan', 'record-cursor', 'records-section', 'headers', 'lazy-record'],
    ...['control-record', 'older-magic', 'record-content', 'plain-record']
  ].map(name => `record/${name}`),
  refusals: ['CORRUPT_MESSAGE', 'INVALID_RECORD', 'DECOMPRESSION_LIMIT', 'UNSUPPORTED_COMPRESSION_TYPE'],
  sound: fc
    .array(fc.oneof({ weight: 5, arbitrary: soundBatch }, soundMarker), { minLength: 1, maxLength: 3 })
    .map(parts => Buffer.concat(parts)),
  samples: () => soundVectors().flatMap(({ bytes }) => (bytes.length < 4000 ? [bytes] : [])),
  fields: () => HEADER_FIELDS,
  mend: mendBatches,
  decode: readFileOfBatches
}

/** What `record` is given: count, last offset delta and attributes as the header has them, then the records. */
const RECORDS_AT = 10

function forged(input: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(HEADER_BYTES), input.subarray(RECORDS_AT)])
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes[16] = 2
  input.copy(bytes, 57, 0, 4)
  input.copy(bytes, 23, 4, 8)
  input.copy(bytes, 21, 8, 10)
  updateCrc(bytes, 0)
  return bytes
}

const record: Target = {
  name: 'record',
  modules: ['record-cursor', 'records-section', 'headers', 'lazy-record', 'record-content', 'plain-record'].map(
    name => `record/${name}`
  ),
  refusals: batch.refusals,
  sound: fc
    .tuple(records, fc.constantFrom('none', 'none', 'none', ...COMPRESSION_NAMES))
    .map(([inputs, compression]) => {
      const bytes = encodeBatch(inputs, { now: 1, compression })
      return Buffer.concat([bytes.subarray(57, 61), bytes.subarray(23, 27), bytes.subarray(21, 23), bytes.subarray(61)])
    }),
  fields: bytes => [0, 4, 8, ...Array.from({ length: Math.min(60, bytes.length) }, (_, i) => RECORDS_AT + i)],
  decode: input => (input.length < RECORDS_AT ? 0 : readBatch(forged(input), 0))
}

type Decoded = { readonly bytes: Buffer } | { readonly code: string }

function attempt(decode: () => Buffer): Decoded {
  try {
    return { bytes: decode() }
  } catch (error) {
    if (isLogError(error)) return { code: error.code }
    throw error
  }
}

let sinceTurn = 0

async function decodeStream(name: CompressionName, payload: Buffer): Promise<number> {
  // node:zlib lets go of what an engine held only when the event loop turns.
  sinceTurn += 1
  if (sinceTurn % 50 === 0) await turn()
  const limits = { maxBytes: MOST_OUTPUT }
  const inPieces = attempt(() => Buffer.concat([...decompressStream(name, payload, limits)]))
  const whole = attempt(() => decompress(name, payload, limits))
  if ('code' in whole) {
    claim(
      'code' in inPieces && inPieces.code === whole.code,
      `${JSON.stringify(inPieces)} in pieces, ${whole.code} whole`
    )
    return decompress(name, payload, limits).length
  }
  claim('bytes' in inPieces && inPieces.bytes.equals(whole.bytes), 'pieces that are not the whole')
  claim(whole.bytes.length <= MOST_OUTPUT, 'more than the limit')
  // Twice in memory here.
  return 2 * whole.bytes.length
}

const content = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map(array => Buffer.from(array)),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.nat({ max: 3000 }))
    .map(([part, times]) => Buffer.concat(Array.from({ length: times }, () => Buffer.from(part)))),
  fc.nat({ max: 200_000 }).map(size => Buffer.alloc(size, 'log line, log line; '))
)

function mendLz4(bytes: Buffer): void {
  if (bytes.length < 7) return
  bytes.writeUInt32LE(0x184d2204, 0)
  const end = 6 + (bytes[4]! & 8 ? 8 : 0) + (bytes[4]! & 1 ? 4 : 0)
  if (end < bytes.length) bytes[end] = (xxHash32(bytes, 4, end) >>> 8) & 0xff
}

const MAGIC: Readonly<Partial<Record<CompressionName, Buffer>>> = {
  gzip: Buffer.from([0x1f, 0x8b, 8]),
  snappy: Buffer.from('82534e41505059000000000100000001', 'hex'),
  zstd: Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
}

function codec(name: CompressionName, files: readonly string[]): Target {
  const magic = MAGIC[name]
  return {
    name,
    modules: [...files, 'limits', 'pieces', 'index'].map(file => `record/compression/${file}`),
    refusals: ['INVALID_RECORD', 'DECOMPRESSION_LIMIT'],
    sound: content.map(bytes => compress(name, bytes)),
    fields: bytes => Array.from({ length: Math.min(40, bytes.length) }, (_, i) => i),
    mend: name === 'lz4' ? mendLz4 : bytes => void magic?.copy(bytes),
    decode: payload => decodeStream(name, payload)
  }
}

export const BATCH_TARGETS: readonly Target[] = [
  batch,
  record,
  codec('gzip', ['gzip', 'zlib-pump']),
  codec('snappy', ['snappy', 'snappy-block']),
  codec('lz4', ['lz4', 'lz4-block', 'lz4-codec', 'xxhash32']),
  codec('zstd', ['zstd', 'zstd-frame', 'zstd-wasm', 'zlib-pump'])
]
