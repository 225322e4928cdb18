import type { BatchView } from '../record/batch-view.ts'
import { LogError } from '../util/errors.ts'
import { IndexBuilder, type IndexLimits, maxTimestampAt } from './index-builder.ts'
import type { LogFile } from './log-file.ts'
import { BatchScanner, isZeroFilled, type ScanEnd } from './scan.ts'
import type { BatchFacts } from './segment-types.ts'
import type { Timestamp } from './time-index.ts'

const MAX_INT32 = 2 ** 31 - 1
/** Read at a time where only a few headers are wanted. */
const LOOK_BYTES = 64 * 1024

/** Sees each sound batch, which is valid until its promise resolves. */
export type BatchVisitor = (batch: BatchView, position: number) => void | Promise<void>

export interface RebuildResult {
  /** Bytes from the start that are sound batches in order. */
  readonly validBytes: number
  readonly end: ScanEnd['kind']
  /** What is wrong behind them. */
  readonly reason?: string
  /** Where the scan ended: `validBytes`. */
  readonly position: number
  /** One past the last offset; the base offset of an empty segment. */
  readonly nextOffset: number
  /** Whatever lies behind `validBytes` is zeros: preallocated room, or what a power cut leaves of a tail. */
  readonly zerosToEnd: boolean
}

export interface RebuildOptions {
  readonly baseOffset: number
  readonly limits: IndexLimits
  readonly checkCrc: boolean
  readonly visit?: BatchVisitor | undefined
}

/**
 * Builds the offset and the time index from the batches of a log, up to the first that does not hold. What is written
 * meanwhile is taken along, so that whoever uses the builder at once has all of the log in it.
 */
export async function buildFromLog(
  log: LogFile,
  { baseOffset, limits, checkCrc, visit }: RebuildOptions
): Promise<{ builder: IndexBuilder; result: RebuildResult }> {
  const builder = IndexBuilder.empty(baseOffset)
  let nextOffset = baseOffset
  let end: ScanEnd = { kind: 'end', position: 0 }
  while (end.kind === 'end' && end.position < log.size) {
    const scanner = new BatchScanner(log, { from: end.position, to: log.size, checkCrc, reuseBuffer: true })
    while (await scanner.fill()) {
      for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
        const wrong = whatIsWrong(batch, nextOffset, baseOffset)
        if (wrong !== undefined) {
          scanner.refuse(wrong)
          break
        }
        builder.add(scanner.position, batch.lastOffset, maxTimestampAt(batch.bytes, batch.start), limits)
        nextOffset = batch.lastOffset + 1
        const visited = visit?.(batch, scanner.position)
        if (visited !== undefined) await visited
      }
    }
    end = scanner.end as ScanEnd
    // The file is shorter than it is said to be: nothing more will come.
    if (end.kind === 'end' && end.position < log.size && (await isCut(log, end.position))) break
  }
  const { kind, position, reason } = end
  const zerosToEnd = reason === 'zeros' && (await isZeroFilled(log, position, log.size))
  builder.finish()
  const result = { validBytes: position, end: kind, position, nextOffset, zerosToEnd }
  return { builder, result: reason === undefined ? result : { ...result, reason } }
}

async function isCut(log: LogFile, position: number): Promise<boolean> {
  return (await log.read(Buffer.alloc(1), position)) === 0
}

/** The CRC does not cover the base offset: what it says must fit what comes before. */
function whatIsWrong(batch: BatchView, nextOffset: number, segmentBase: number): string | undefined {
  const { baseOffset, lastOffset } = batch
  if (baseOffset < nextOffset) return `base offset ${baseOffset} where ${nextOffset} is the least`
  if (lastOffset < baseOffset) return `last offset ${lastOffset} below the base offset`
  if (lastOffset - segmentBase > MAX_INT32) return `offset ${lastOffset} is too far from the segment's base`
  return undefined
}

/**
 * Hands out the batches from `from` on, until `visit` answers false. Headers only: no CRC is checked.
 *
 * @throws {LogError} CORRUPT_LOG when what comes next is no batch.
 */
export async function walkBatches(
  log: LogFile,
  from: number,
  visit: (batch: BatchFacts, maxTimestamp: Timestamp) => boolean,
  chunkBytes = LOOK_BYTES
): Promise<void> {
  const scanner = new BatchScanner(log, {
    from,
    to: log.size,
    chunkBytes,
    checkCrc: false,
    reuseBuffer: true
  })
  while (await scanner.fill()) {
    for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
      const { size, baseOffset, lastOffset, maxTimestamp } = batch
      const facts = { position: scanner.position, size, baseOffset, lastOffset, maxTimestamp }
      if (!visit(facts, maxTimestampAt(batch.bytes, batch.start))) return
    }
  }
  const end = scanner.end as ScanEnd
  if (end.kind === 'end') return
  const reason = end.reason ?? 'the file ends within it'
  const message = `${log.path}: what begins at byte ${end.position} is no sound batch (${reason})`
  throw new LogError('CORRUPT_LOG', message, { path: log.path, position: end.position })
}
