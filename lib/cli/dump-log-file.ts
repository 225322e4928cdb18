/** Batches and records of one `.log` file, past any damage. */
import type { FileHandle } from '../fs/file-system.ts'
import { findSoundBatch } from '../log/recovery-damage.ts'
import type { BatchView } from '../record/batch-view.ts'
import { parseControlRecord } from '../record/control-record.ts'
import { readOlderEntry } from '../record/older-magic.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { BatchScanner } from '../segment/scan.ts'
import { isLogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { DumpOptions, Emit } from './dump.ts'
import { encodeValue } from './encoding.ts'

/** Larger batches are shown as damage: no engine writes them, and a wrong length must not cost memory. */
const MAX_SHOWN_BATCH = 256 * MiB

export async function dumpLogFile(handle: FileHandle, options: DumpOptions, emit: Emit): Promise<void> {
  const { size } = await handle.stat()
  let position = 0
  let nextOffset = 0
  while (position < size) {
    const scanner = new BatchScanner(handle, { from: position, to: size, checkCrc: false, reuseBuffer: true })
    while (await scanner.fill()) {
      for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
        const at = scanner.position
        const crcValid = batch.isSound()
        await emit('batch', batchFacts(batch, at, crcValid))
        if (crcValid) nextOffset = Math.max(nextOffset, batch.nextOffset)
        if (options.records) await dumpRecords(batch, at, options, emit)
      }
    }
    const { end } = scanner
    if (end === undefined || end.kind === 'end') return
    position = await dumpDamage(
      handle,
      end.position,
      size,
      nextOffset,
      end.reason ?? 'the file ends inside this batch',
      emit
    )
  }
}

/** Shows what cannot be read, and gives the position of the next thing that can. */
async function dumpDamage(
  handle: FileHandle,
  position: number,
  size: number,
  nextOffset: number,
  reason: string,
  emit: Emit
): Promise<number> {
  const olderEnd = await dumpOlder(handle, position, size, emit)
  if (olderEnd > position) return olderEnd
  const sound = await findSoundBatch(handle, { from: position + 1, to: size, nextOffset })
  const end = sound?.position ?? size
  await emit('damage', { position, length: end - position, reason })
  return end
}

/** Entries from before Kafka 0.11, as far as they follow one another. Gives the position behind the last. */
async function dumpOlder(handle: FileHandle, from: number, size: number, emit: Emit): Promise<number> {
  let position = from
  for (;;) {
    const older = await readOlder(handle, position, size)
    if (older === undefined) return position
    await emit('message', {
      position,
      size: older.size,
      offset: older.offset,
      magic: older.magic,
      crc: older.crc,
      crcValid: older.isSound,
      compression: older.compression,
      timestamp: older.timestamp ?? null
    })
    position += older.size
  }
}

async function readOlder(
  handle: FileHandle,
  position: number,
  size: number
): Promise<ReturnType<typeof readOlderEntry> | undefined> {
  const header = Buffer.alloc(17)
  if ((await handle.read(header, position)) < header.length) return undefined
  const length = header.readInt32BE(8)
  const magic = header.readInt8(16)
  if ((magic !== 0 && magic !== 1) || length < 14 || length > MAX_SHOWN_BATCH || position + 12 + length > size)
    return undefined
  const bytes = Buffer.alloc(12 + length)
  await handle.read(bytes, position)
  try {
    return readOlderEntry(bytes, 0, bytes.length)
  } catch {
    return undefined
  }
}

function batchFacts(batch: BatchView, position: number, crcValid: boolean): Record<string, unknown> {
  return {
    position,
    size: batch.size,
    baseOffset: batch.baseOffset,
    lastOffset: batch.lastOffset,
    count: batch.recordCount,
    leaderEpoch: batch.partitionLeaderEpoch,
    magic: batch.magic,
    crc: batch.crc,
    crcValid,
    compression: orReason(() => batch.compression),
    timestampType: batch.timestampType,
    baseTimestamp: exactly(batch.baseTimestamp, () => batch.baseTimestampExact),
    maxTimestamp: exactly(batch.maxTimestamp, () => batch.maxTimestampExact),
    producerId: batch.producerIdExact,
    producerEpoch: batch.producerEpoch,
    baseSequence: batch.baseSequence,
    transactional: batch.isTransactional,
    control: batch.isControl,
    deleteHorizon:
      batch.deleteHorizonMs === undefined ? null : exactly(batch.deleteHorizonMs, () => batch.baseTimestampExact)
  }
}

async function dumpRecords(batch: BatchView, position: number, options: DumpOptions, emit: Emit): Promise<void> {
  let index = 0
  try {
    const cursor = batch.records({ checkCrc: false })
    while (cursor.next()) {
      await emit('record', recordFacts(cursor, batch, options))
      index += 1
    }
  } catch (error) {
    if (!isLogError(error)) throw error
    await emit('damage', { position, length: batch.size, reason: `record ${index}: ${error.message}` })
  }
}

function recordFacts(cursor: RecordCursor, batch: BatchView, options: DumpOptions): Record<string, unknown> {
  const facts: Record<string, unknown> = {
    offset: cursor.offset,
    timestamp: exactly(cursor.timestamp, () => cursor.timestampExact),
    key: encodeValue(cursor.key(), options.encoding),
    value: encodeValue(cursor.value(), options.encoding),
    headers: cursor.headers().map(([name, value]) => [name, encodeValue(value, options.encoding)])
  }
  if (!batch.isControl) return facts
  const control = parseControlRecord(cursor.key(), cursor.value())
  return {
    ...facts,
    controlType: control.type,
    ...('coordinatorEpoch' in control ? { coordinatorEpoch: control.coordinatorEpoch } : {})
  }
}

function exactly(nearest: number, exact: () => bigint): number | bigint {
  return Number.isSafeInteger(nearest) ? nearest : exact()
}

function orReason(read: () => string): string {
  try {
    return read()
  } catch (error) {
    return (error as Error).message
  }
}
