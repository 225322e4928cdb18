/**
 * Takes appends in: checks them, gives them their offsets, puts their bytes into the arena.
 *
 * Everything from the check to the offsets is one synchronous step, so appends are in order without a lock; the
 * writer carries them to the file. What must wait (for room, for a truncation) waits before that step, first come
 * first served.
 */
import { BatchBuilder } from '../record/batch-builder.ts'
import { setBaseOffset, setPartitionLeaderEpoch } from '../record/batch-edit.ts'
import { BatchView } from '../record/batch-view.ts'
import { encodeEndTransactionMarker } from '../record/control-record.ts'
import { encodeBatch } from '../record/encode-batch.ts'
import type { RecordInput } from '../record/record.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { validateClientBatch, validateReplicatedBatches } from './append-validator.ts'
import type { Accepted, BatchArena } from './batch-arena.ts'
import type { FlushPolicy } from './flush-policy.ts'
import type { LogMetrics } from './log-metrics.ts'
import type { LogState } from './log-state.ts'
import { checkRecords, codecFor, levelFor, type RecordRules, recordRules } from './record-rules.ts'
import type { AppendOptions, EndTransactionOptions } from './types.ts'
import type { Writer } from './writer.ts'

export class Appends {
  readonly #state: LogState
  readonly #arena: BatchArena
  readonly #writer: Writer
  readonly #flush: FlushPolicy
  readonly #metrics: LogMetrics
  readonly #clock: Clock
  readonly #name: string
  /** Of the configuration that the last append met. */
  #rules: RecordRules

  constructor(from: {
    state: LogState
    arena: BatchArena
    writer: Writer
    flush: FlushPolicy
    metrics: LogMetrics
    clock: Clock
    name: string
  }) {
    this.#state = from.state
    this.#arena = from.arena
    this.#writer = from.writer
    this.#flush = from.flush
    this.#metrics = from.metrics
    this.#clock = from.clock
    this.#name = from.name
    this.#rules = recordRules(from.state.config)
  }

  /** Plain records: shares the open batch where that is allowed. */
  records(records: readonly RecordInput[], options: AppendOptions): Accepted {
    const { config } = this.#state
    const now = this.#clock.now()
    if (!Array.isArray(records) || records.length === 0) {
      throw new LogError('INVALID_RECORD', `${this.#name}: an append needs an array of at least one record.`)
    }
    if (this.#rules.config !== config) this.#rules = recordRules(config)
    checkRecords(records, this.#rules, now, this.#name)
    if (options.transactional === true && options.producerId === undefined) {
      throw new LogError('INVALID_RECORD', `${this.#name}: only a producer has transactions, so give its producerId.`)
    }
    const codec = codecFor(config, options)
    if (codec !== 'none' || options.producerId !== undefined) return this.#ownBatch(records, options, codec, now)
    if (options.expectedEndOffset !== undefined) this.#assertEnd(options.expectedEndOffset)
    const bound = BatchBuilder.sizeBound(records)
    this.#refuseHopeless(bound)
    const { leaderEpoch } = this.#state
    const timestampType = config.messageTimestampType
    const limit = Math.min(config.maxMessageBytes, config.segmentBytes)
    // Its neighbours must not make a batch too large that is not: it begins another one then.
    const mergedLimit = Math.min(config.maxMergedBatchBytes, limit)
    if (options.ownBatch === true || !this.#arena.canMerge(bound, leaderEpoch, timestampType, mergedLimit)) {
      this.#writer.sealOpen()
      this.#arena.beginBatch(bound, { baseOffset: this.#state.logEndOffset, leaderEpoch, timestampType, now })
    }
    const accepted = this.#arena.addRecords(records, limit, now, this.#tooLargeBatch)
    this.#state.epochs.assign(leaderEpoch, accepted.baseOffset)
    this.#state.logEndOffset = accepted.lastOffset + 1
    this.#flush.gathered(records.length)
    if (options.ownBatch === true) this.#writer.sealOpen()
    return accepted
  }

  /** A ready-made batch, as a client sends it. */
  clientBatch(bytes: Buffer, { expectedEndOffset }: AppendOptions): Accepted {
    const { config } = this.#state
    const now = this.#clock.now()
    const valid = validateClientBatch(bytes, config, now)
    if (valid.bytes.length > config.segmentBytes) throw this.#tooLarge(valid.bytes.length)
    const appendTime = config.messageTimestampType === 'LogAppendTime' ? now : undefined
    return this.#batch(valid.bytes, 'client', { appendTime, expectedEndOffset })
  }

  /** One or more batches whose offsets and epochs a leader has assigned. All are checked before one is taken. */
  followerBatches(bytes: Buffer, options: AppendOptions): Accepted {
    this.#refuseExpectation(options, 'batches that a leader has given offsets')
    this.#writer.sealOpen()
    const batches = validateReplicatedBatches(bytes, this.#state.logEndOffset)
    let result: Accepted | undefined
    for (const view of batches) {
      const accepted = this.#take(
        view,
        view.partitionLeaderEpoch < 0 ? undefined : view.partitionLeaderEpoch,
        view.baseOffset,
        'replica'
      )
      result = { ...accepted, baseOffset: result?.baseOffset ?? accepted.baseOffset }
    }
    if (result === undefined)
      throw new LogError('INVALID_RECORD', `${this.#name}: no whole batch in ${bytes.length} bytes.`)
    return result
  }

  /** The marker that ends a transaction in this partition. */
  endTransaction(options: EndTransactionOptions, appendOptions: AppendOptions): Accepted {
    this.#refuseExpectation(appendOptions, 'the end of a transaction')
    const marker = encodeEndTransactionMarker({
      type: options.type,
      producerId: options.producerId,
      producerEpoch: options.producerEpoch,
      coordinatorEpoch: options.coordinatorEpoch ?? 0,
      baseOffset: 0,
      leaderEpoch: 0,
      timestamp: options.timestamp ?? this.#clock.now()
    })
    return this.#batch(marker, 'coordinator', {})
  }

  #ownBatch(
    records: readonly RecordInput[],
    options: AppendOptions,
    codec: ReturnType<typeof codecFor>,
    now: number
  ): Accepted {
    const { config } = this.#state
    this.#refuseHopeless(codec === 'none' ? BatchBuilder.sizeBound(records) : 0)
    const bytes = encodeBatch(records, {
      baseOffset: 0,
      leaderEpoch: 0,
      timestampType: config.messageTimestampType,
      now,
      compression: codec,
      ...levelFor(config, codec, options),
      ...(options.producerId === undefined ? {} : { producerId: options.producerId }),
      ...(options.producerEpoch === undefined ? {} : { producerEpoch: options.producerEpoch }),
      ...(options.baseSequence === undefined ? {} : { baseSequence: options.baseSequence }),
      transactional: options.transactional ?? false
    })
    if (bytes.length > Math.min(config.maxMessageBytes, config.segmentBytes)) throw this.#tooLarge(bytes.length)
    const appendTime = config.messageTimestampType === 'LogAppendTime' ? now : undefined
    return this.#batch(bytes, 'client', { appendTime, expectedEndOffset: options.expectedEndOffset })
  }

  #batch(
    bytes: Buffer,
    origin: 'client' | 'coordinator',
    { appendTime, expectedEndOffset }: { appendTime?: number | undefined; expectedEndOffset?: number | undefined }
  ): Accepted {
    this.#writer.sealOpen()
    const { leaderEpoch, logEndOffset } = this.#state
    const accepted = this.#take(new BatchView(bytes), leaderEpoch, logEndOffset, origin, expectedEndOffset)
    return appendTime === undefined || accepted.duplicate ? accepted : { ...accepted, timestamp: appendTime }
  }

  /** Producer check, offsets, bytes into the arena: one synchronous step, undone by nobody. */
  #take(
    given: BatchView,
    leaderEpoch: number | undefined,
    baseOffset: number,
    origin: 'client' | 'coordinator' | 'replica',
    expectedEndOffset?: number
  ): Accepted {
    const state = this.#state
    const producer = given.hasProducerId
    if (producer) {
      const judged = state.acceptedProducers.check(given, origin)
      if (judged.kind === 'duplicate') {
        this.#metrics.duplicates += 1
        return {
          baseOffset: judged.baseOffset,
          lastOffset: judged.lastOffset,
          timestamp: judged.timestamp,
          duplicate: true
        }
      }
    }
    // Behind the producer's check: what was appended before is answered, whatever has come after it.
    if (expectedEndOffset !== undefined) this.#assertEnd(expectedEndOffset)
    const staged = this.#arena.stage(given.payload())
    setBaseOffset(staged.buffer, staged.start, baseOffset)
    if (leaderEpoch !== undefined) setPartitionLeaderEpoch(staged.buffer, staged.start, leaderEpoch)
    const view = new BatchView(staged.buffer, staged.start)
    const batch = this.#arena.commit({
      size: view.size,
      baseOffset: view.baseOffset,
      lastOffset: view.lastOffset,
      maxTimestamp: view.maxTimestamp,
      records: view.recordCount,
      producer
    })
    if (producer) {
      const completed = state.acceptedProducers.apply(view)
      const aborted = completed === undefined ? undefined : state.acceptedProducers.completeTransaction(completed)
      if (aborted !== undefined) state.unwrittenAborts = [...state.unwrittenAborts, aborted]
    }
    if (leaderEpoch !== undefined) state.epochs.assign(leaderEpoch, batch.baseOffset)
    state.logEndOffset = batch.lastOffset + 1
    state.sealedOffset = state.logEndOffset
    this.#flush.gathered(batch.records)
    state.advanced()
    return {
      baseOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      timestamp: batch.maxTimestamp < 0 ? undefined : batch.maxTimestamp,
      duplicate: false
    }
  }

  #assertEnd(expectedEndOffset: number): void {
    const { logEndOffset } = this.#state
    if (expectedEndOffset === logEndOffset) return
    if (!Number.isSafeInteger(expectedEndOffset) || expectedEndOffset < 0) {
      const message = `${this.#name}: expectedEndOffset is ${expectedEndOffset}; offsets are whole numbers from 0 on.`
      throw new LogError('INVALID_REQUEST', message, { expectedEndOffset })
    }
    const message =
      `${this.#name}: nothing was appended, because the log ends at ${logEndOffset}, not at ${expectedEndOffset} as ` +
      'expected. Read what has come since, decide again, and append with the new end.'
    throw new LogError('WRONG_EXPECTED_OFFSET', message, { expectedEndOffset, logEndOffset })
  }

  #refuseExpectation({ expectedEndOffset }: AppendOptions, what: string): void {
    if (expectedEndOffset === undefined) return
    throw new LogError('INVALID_REQUEST', `${this.#name}: ${what} cannot have an expectedEndOffset.`)
  }

  /** Before memory is taken: what cannot fit whatever the exact size is. A string's bytes are at least a third of its bound. */
  #refuseHopeless(bound: number): void {
    const { config } = this.#state
    const limit = Math.min(config.maxMessageBytes, config.segmentBytes)
    if (bound > 3 * limit + 4096) throw this.#tooLarge(Math.ceil(bound / 3))
  }

  readonly #tooLargeBatch = (size: number): LogError => this.#tooLarge(size)

  #tooLarge(size: number): LogError {
    const { maxMessageBytes, segmentBytes } = this.#state.config
    if (size > maxMessageBytes) {
      return new LogError(
        'RECORD_BATCH_TOO_LARGE',
        `${this.#name}: a batch of ${size} bytes is above max.message.bytes (${maxMessageBytes}). Append fewer records at once, or raise the setting.`,
        { size, maxMessageBytes }
      )
    }
    return new LogError(
      'RECORD_LIST_TOO_LARGE',
      `${this.#name}: a batch of ${size} bytes does not fit into a segment of segment.bytes (${segmentBytes}).`,
      { size, segmentBytes }
    )
  }
}
