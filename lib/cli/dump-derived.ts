/** Entries of indexes, snapshots, checkpoints and side-cars. */
import { parseCheckpoint } from '../fs/checkpoint-file.ts'
import type { FileHandle } from '../fs/file-system.ts'
import { parseProducerSnapshot } from '../log/producer-snapshot.ts'
import { parseSlot, SLOT_BYTES, WATERMARK_FILE } from '../log/watermark-file.ts'
import { OffsetIndex } from '../segment/offset-index.ts'
import { TimeIndex } from '../segment/time-index.ts'
import { TransactionIndex } from '../segment/transaction-index.ts'
import { parseTopicsFile, TOPICS_FILE } from '../store/topics-file.ts'
import { MiB } from '../util/sizes.ts'
import type { Emit } from './dump.ts'

const MAX_BYTES = 256 * MiB

export async function dumpDerived(
  handle: FileHandle,
  name: string,
  suffix: string | undefined,
  baseOffset: number | undefined,
  emit: Emit
): Promise<void> {
  const { size } = await handle.stat()
  if (size > MAX_BYTES) {
    await emit('damage', { position: 0, length: size, reason: `larger than any such file (${MAX_BYTES} bytes)` })
    return
  }
  const bytes = Buffer.alloc(size)
  await handle.read(bytes, 0)
  try {
    if (suffix !== undefined && baseOffset !== undefined) await dumpBySuffix(suffix, baseOffset, bytes, emit)
    else await dumpByName(name, bytes, emit)
  } catch (error) {
    await emit('damage', { position: 0, length: size, reason: (error as Error).message })
  }
}

async function dumpBySuffix(suffix: string, baseOffset: number, bytes: Buffer, emit: Emit): Promise<void> {
  switch (suffix) {
    case '.index': {
      const index = OffsetIndex.parse(bytes, baseOffset, { preallocated: true })
      for (let i = 0; i < index.entryCount; i += 1)
        await emit('offset-index-entry', { offset: index.offsetAt(i), position: index.positionAt(i) })
      return
    }
    case '.timeindex': {
      const index = TimeIndex.parse(bytes, baseOffset, { preallocated: true })
      for (let i = 0; i < index.entryCount; i += 1)
        await emit('time-index-entry', { timestamp: index.timestampAt(i), offset: index.offsetAt(i) })
      return
    }
    case '.txnindex': {
      const index = TransactionIndex.parse(bytes, baseOffset)
      for (let i = 0; i < index.entryCount; i += 1) await emit('aborted-transaction', { ...index.entryAt(i) })
      return
    }
    case '.snapshot':
      for (const entry of parseProducerSnapshot(bytes)) {
        const last = entry.batches[entry.batches.length - 1]
        await emit('producer-state', {
          producerId: entry.producerId,
          producerEpoch: entry.epoch,
          lastSequence: last?.lastSequence ?? null,
          lastOffset: last?.lastOffset ?? null,
          timestamp: entry.lastTimestamp ?? null,
          coordinatorEpoch: entry.coordinatorEpoch ?? null,
          currentTxnFirstOffset: entry.currentTxnFirstOffset ?? null
        })
      }
      return
    default:
      await emit('file', { suffix, bytes: bytes.length })
  }
}

async function dumpByName(name: string, bytes: Buffer, emit: Emit): Promise<void> {
  if (name === WATERMARK_FILE) {
    for (let at = 0; at + SLOT_BYTES <= bytes.length; at += SLOT_BYTES) {
      const slot = parseSlot(bytes.subarray(at, at + SLOT_BYTES))
      await emit('watermark-slot', {
        slot: at / SLOT_BYTES,
        state: slot.kind,
        ...(slot.kind === 'sound' ? { sequence: slot.sequence, ...slot.watermark } : {})
      })
    }
  } else if (name === TOPICS_FILE) {
    for (const [topic, entry] of parseTopicsFile(bytes, name).topics)
      await emit('topic', { topic, ...entry, configs: Object.fromEntries(entry.configs) })
  } else if (name === 'leader-epoch-checkpoint') {
    for (const [epoch, startOffset] of numbers(bytes, name)) await emit('leader-epoch', { epoch, startOffset })
  } else if (name.endsWith('-offset-checkpoint')) {
    const rows = parseCheckpoint(bytes, name, fields => (fields.length === 3 ? [...fields] : undefined))
    for (const [topic, partition, offset] of rows)
      await emit('offset-checkpoint', { topic, partition: Number(partition), offset: Number(offset) })
  } else {
    for (const line of bytes.toString('utf8').split('\n')) if (line !== '') await emit('line', { text: line })
  }
}

function numbers(bytes: Buffer, name: string): number[][] {
  return parseCheckpoint(bytes, name, fields =>
    fields.every(field => /^-?\d+$/.test(field)) ? fields.map(Number) : undefined
  )
}
