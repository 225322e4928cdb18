/**
 * What a batch must be before a log takes it: from a client (everything is checked, and set right where Kafka's leader
 * sets it right) or from a leader (bytes intact, offsets in order).
 *
 * Rules as in Kafka's LogValidator and UnifiedLog.analyzeAndValidateRecords. Where this is stricter than Kafka, it
 * refuses what no client sends: offset deltas with gaps, a producer id without an epoch, a delete horizon, a
 * transactional batch without a producer id.
 *
 * The caller's bytes are never changed: the first thing that has to be set right makes a copy.
 */
import { setMaxTimestampAndType } from '../record/batch-edit.ts'
import type { CompressionName } from '../record/batch-format.ts'
import { scanBatch } from '../record/batch-scan.ts'
import { BatchView } from '../record/batch-view.ts'
import { compressBatch } from '../record/encode-batch.ts'
import type { DecodeOptions } from '../record/records-section.ts'
import { LogError } from '../util/errors.ts'
import { compressionLevelFor, type LogConfig } from './log-config.ts'
import { checkRecords } from './record-checks.ts'

export interface ValidatedBatch {
  /** Exactly one batch, to be given its offsets. */
  readonly batch: BatchView
  /** The bytes of `batch`. */
  readonly bytes: Buffer
  /** False: these are the caller's own bytes, to be copied before anything is set in them. */
  readonly copied: boolean
  /** Largest timestamp, or the log append time; `undefined` where no record has one. */
  readonly maxTimestamp: number | undefined
}

/**
 * Judges a batch as a client sends it.
 *
 * An incomplete batch behind the first one is cut off, as Kafka does.
 *
 * @param bytes - one record batch of magic 2, base offset 0.
 * @param now - wall clock, ms.
 * @param limits - bounds on decompression.
 * @throws {LogError} INVALID_RECORD for what is not one whole batch, contradicts itself, does not decode, or has a
 *   record that the topic refuses; `index` is the first such record, `recordErrors` the first of them as JSON.
 * @throws {LogError} CORRUPT_MESSAGE for a wrong CRC or an impossible length.
 * @throws {LogError} RECORD_BATCH_TOO_LARGE, RECORD_LIST_TOO_LARGE above max.message.bytes or segment.bytes.
 * @throws {LogError} INVALID_TIMESTAMP for a timestamp that the topic refuses.
 * @throws {LogError} UNSUPPORTED_COMPRESSION_TYPE, UNSUPPORTED_FOR_MESSAGE_FORMAT, DECOMPRESSION_LIMIT.
 */
export function validateClientBatch(
  bytes: Uint8Array,
  config: LogConfig,
  now: number,
  limits: Omit<DecodeOptions, 'checkCrc'> = {}
): ValidatedBatch {
  const given = onlyBatch(asBuffer(bytes))
  if (given.baseOffset !== 0) {
    throw invalid(`a client's batch begins at offset 0, not ${given.baseOffset}`, { baseOffset: given.baseOffset })
  }
  checkSize(given.size, config)
  given.verify()
  checkClientHeader(given, config)
  const editor = new BatchEditor(given)
  const createTime = config.messageTimestampType === 'CreateTime'
  // Readers will take timestamps from the records once the bit is cleared, so that is what is checked and summed up.
  if (createTime && given.timestampType === 'LogAppendTime') editor.setTime(given.maxTimestampExact, 'CreateTime')
  const largest = checkRecords(editor.batch, config, now, limits)
  const codec = codecFor(config, given.compression)
  if (codec !== given.compression) {
    editor.replace(compressBatch(editor.batch, codec, compressionLevelFor(config, codec), limits))
    checkSize(editor.batch.size, config)
  }
  if (createTime) editor.setTime(largest, 'CreateTime')
  else editor.setTime(now, 'LogAppendTime')
  const { batch, copied } = editor
  const maxTimestamp = batch.maxTimestamp < 0 ? undefined : batch.maxTimestamp
  return { batch, bytes: batch.payload(), copied, maxTimestamp }
}

/**
 * Judges batches whose offsets a leader has assigned: sizes and records are the leader's affair, bytes and order are
 * checked. An incomplete batch at the end is cut off.
 *
 * @returns views of `bytes`, in order; none when there is not one whole batch.
 * @throws {LogError} CORRUPT_MESSAGE for a wrong CRC or an impossible header.
 * @throws {LogError} UNEXPECTED_APPEND_OFFSET `{ baseOffset, expectedAtLeast }` for an offset that is taken already.
 */
export function validateReplicatedBatches(bytes: Uint8Array, logEndOffset: number): BatchView[] {
  const buffer = asBuffer(bytes)
  const batches: BatchView[] = []
  let expectedAtLeast = logEndOffset
  for (let at = 0; ; ) {
    const found = scanBatch(buffer, at, buffer.length)
    if (found.kind === 'end' || found.kind === 'incomplete') return batches
    if (found.kind === 'corrupt') throw corrupt(found.reason, at)
    const batch = new BatchView(buffer, at)
    batch.verify()
    // Throws for an id beyond 2^53 - 1, under which no transaction can be kept.
    if (batch.isTransactional) void batch.producerId
    const { baseOffset } = batch
    if (baseOffset < expectedAtLeast) {
      const message = `the batch at offset ${baseOffset} does not continue the log: ${expectedAtLeast} is next`
      throw new LogError('UNEXPECTED_APPEND_OFFSET', message, { baseOffset, expectedAtLeast, logEndOffset })
    }
    batches.push(batch)
    expectedAtLeast = batch.nextOffset
    at = batch.end
  }
}

/** One batch that changes hands: the caller's bytes until something has to be set, a copy from then on. */
class BatchEditor {
  #batch: BatchView
  #copied = false

  constructor(given: BatchView) {
    this.#batch = given
  }

  get batch(): BatchView {
    return this.#batch
  }

  get copied(): boolean {
    return this.#copied
  }

  replace(bytes: Buffer): void {
    this.#batch = new BatchView(bytes)
    this.#copied = true
  }

  setTime(maxTimestamp: number | bigint, type: LogConfig['messageTimestampType']): void {
    const { timestampType, maxTimestampExact } = this.#batch
    if (timestampType === type && maxTimestampExact === BigInt(maxTimestamp)) return
    if (!this.#copied) this.replace(Buffer.from(this.#batch.payload()))
    setMaxTimestampAndType(this.#batch.bytes, this.#batch.start, maxTimestamp, type)
  }
}

/** The first batch, if it is whole and nothing but the beginning of another follows. */
function onlyBatch(bytes: Buffer): BatchView {
  const first = scanBatch(bytes, 0, bytes.length)
  if (first.kind === 'end' || first.kind === 'incomplete') {
    const need = first.kind === 'incomplete' ? first.need : undefined
    throw invalid(`no whole batch in ${bytes.length} bytes`, { bytes: bytes.length, need })
  }
  if (first.kind === 'corrupt') throw corrupt(first.reason, 0)
  const batch = new BatchView(bytes)
  const next = scanBatch(bytes, batch.end, bytes.length)
  if (next.kind === 'corrupt') throw corrupt(next.reason, batch.end)
  if (next.kind === 'batch') throw invalid('more than one batch', { secondAt: batch.end })
  return batch
}

function checkSize(size: number, { maxMessageBytes, segmentBytes }: LogConfig): void {
  if (size > maxMessageBytes) {
    const message = `a batch of ${size} bytes is above max.message.bytes (${maxMessageBytes})`
    throw new LogError('RECORD_BATCH_TOO_LARGE', message, { size, maxMessageBytes })
  }
  if (size > segmentBytes) {
    const message = `a batch of ${size} bytes does not fit into a segment of segment.bytes (${segmentBytes})`
    throw new LogError('RECORD_LIST_TOO_LARGE', message, { size, segmentBytes })
  }
}

function checkClientHeader(batch: BatchView, config: LogConfig): void {
  const { recordCount, lastOffsetDelta, producerEpoch, baseSequence } = batch
  if (batch.isControl) throw invalid('a client may not write control records')
  if (batch.deleteHorizonMs !== undefined) throw invalid('only compaction sets a delete horizon')
  if (recordCount < 1 || recordCount !== lastOffsetDelta + 1) {
    const message = `${recordCount} records do not match a last offset delta of ${lastOffsetDelta}`
    throw invalid(message, { recordCount, lastOffsetDelta })
  }
  if (batch.hasProducerId && (producerEpoch < 0 || baseSequence < 0)) {
    const { producerId } = batch
    throw invalid(`producer ${producerId} without an epoch and a sequence`, { producerId, producerEpoch, baseSequence })
  }
  if (batch.isTransactional && !batch.hasProducerId) throw invalid('a transactional batch without a producer id')
  if (batch.timestampType === 'LogAppendTime' && config.messageTimestampType === 'LogAppendTime') {
    throw new LogError('INVALID_TIMESTAMP', 'a client may not set the timestamp type LogAppendTime: the log does')
  }
}

/** The codec that the topic's `compression.type` asks for. */
function codecFor({ compressionType }: LogConfig, given: CompressionName): CompressionName {
  if (compressionType === 'producer') return given
  return compressionType === 'uncompressed' ? 'none' : compressionType
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const invalid = (message: string, details: Record<string, number | undefined> = {}): LogError =>
  new LogError('INVALID_RECORD', message, details)

const corrupt = (reason: string, position: number): LogError =>
  new LogError('CORRUPT_MESSAGE', `at byte ${position} there is no record batch: ${reason}`, { position })
