/** Indexes, snapshots, checkpoints and side-cars. What cannot be parsed is shown as damage, and then as it is. */
import { isUtf8 } from 'node:buffer'
import { parseCheckpoint } from '../fs/checkpoint-file.ts'
import type { FileHandle } from '../fs/file-system.ts'
import { HOLDS_FILE, parseHolds } from '../log/holds-file.ts'
import { HOLES_FILE, parseHoles } from '../log/holes.ts'
import { MANIFEST_FILE, parseManifest } from '../log/manifest.ts'
import { parseSlot, SLOT_BYTES, WATERMARK_FILE } from '../log/watermark-file.ts'
import { parseTopicsFile, TOPICS_FILE } from '../store/topics-file.ts'
import { MiB } from '../util/sizes.ts'
import type { Emit } from './dump.ts'
import { dumpOffsetIndex, dumpProducerSnapshot, dumpTimeIndex, dumpTransactionIndex } from './dump-indexes.ts'

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
  const whole = Buffer.alloc(size)
  // The file may have been shortened since.
  const bytes = whole.subarray(0, await handle.read(whole, 0))
  if (suffix !== undefined && baseOffset !== undefined) await dumpBySuffix(suffix, baseOffset, bytes, emit)
  else await dumpByName(name, bytes, emit)
}

async function dumpBySuffix(suffix: string, baseOffset: number, bytes: Buffer, emit: Emit): Promise<void> {
  switch (suffix) {
    case '.index':
      return dumpOffsetIndex(bytes, baseOffset, emit)
    case '.timeindex':
      return dumpTimeIndex(bytes, baseOffset, emit)
    case '.txnindex':
      return dumpTransactionIndex(bytes, emit)
    case '.snapshot':
      return dumpProducerSnapshot(bytes, emit)
    default:
      await emit('file', { suffix, bytes: bytes.length })
  }
}

async function dumpByName(name: string, bytes: Buffer, emit: Emit): Promise<void> {
  if (name === WATERMARK_FILE) return dumpWatermark(bytes, emit)
  let lines: [kind: string, facts: Record<string, unknown>][]
  try {
    lines = parsed(name, bytes)
  } catch (error) {
    await emit('damage', { position: 0, length: bytes.length, reason: (error as Error).message })
    lines = textLines(bytes)
  }
  for (const [kind, facts] of lines) await emit(kind, facts)
}

async function dumpWatermark(bytes: Buffer, emit: Emit): Promise<void> {
  for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
    if (at + SLOT_BYTES > bytes.length) {
      await emit('damage', { position: at, length: bytes.length - at, reason: 'no whole slot' })
      return
    }
    const slot = parseSlot(bytes.subarray(at, at + SLOT_BYTES))
    await emit('watermark-slot', {
      slot: at / SLOT_BYTES,
      state: slot.kind,
      ...(slot.kind === 'sound' ? { sequence: slot.sequence, ...slot.watermark } : {})
    })
  }
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION */
function parsed(name: string, bytes: Buffer): [string, Record<string, unknown>][] {
  if (name === TOPICS_FILE) {
    return [...parseTopicsFile(bytes, name).topics].map(([topic, entry]) => [
      'topic',
      { topic, ...entry, configs: Object.fromEntries(entry.configs) }
    ])
  }
  if (name === MANIFEST_FILE) {
    const { logStartOffset, sealed, active } = parseManifest(bytes)
    const of = {
      logStartOffset,
      activeBaseOffset: active?.baseOffset ?? null,
      activeNextOffset: active?.nextOffset ?? null,
      activeTransactions: active?.transactions ?? null
    }
    const lines = sealed.map(({ digest, verifiedMs, transactions, ...segment }): [string, Record<string, unknown>] => [
      'manifest-segment',
      {
        ...segment,
        batches: digest?.batches ?? null,
        hash: digest?.hash ?? null,
        verifiedMs: verifiedMs ?? null,
        transactions: transactions ?? null
      }
    ])
    return [['manifest', of], ...lines]
  }
  if (name === HOLES_FILE) {
    return parseHoles(bytes).map(hole => ['hole', { ...hole }])
  }
  if (name === HOLDS_FILE) {
    return parseHolds(bytes).map(({ name: hold, offset, movedMs, limitMs, limitBytes, brokenMs }) => [
      'hold',
      {
        hold,
        offset,
        movedMs,
        limitMs: limitMs ?? null,
        limitBytes: limitBytes ?? null,
        brokenMs: brokenMs ?? null
      }
    ])
  }
  if (name === 'leader-epoch-checkpoint') {
    const rows = parseCheckpoint(bytes, name, ([epoch, startOffset, ...more]) =>
      more.length === 0 && isWhole(epoch) && isWhole(startOffset) ? [BigInt(epoch), BigInt(startOffset)] : undefined
    )
    return rows.map(([epoch, startOffset]) => ['leader-epoch', { epoch, startOffset }])
  }
  if (name.endsWith('-offset-checkpoint')) {
    const rows = parseCheckpoint(bytes, name, ([topic, partition, offset, ...more]) =>
      topic !== undefined && more.length === 0 && isWhole(partition) && isWhole(offset)
        ? { topic, partition: BigInt(partition), offset: BigInt(offset) }
        : undefined
    )
    return rows.map(row => ['offset-checkpoint', row])
  }
  return textLines(bytes)
}

function isWhole(field: string | undefined): field is string {
  return field !== undefined && /^-?\d{1,19}$/.test(field)
}

function textLines(bytes: Buffer): [string, Record<string, unknown>][] {
  if (!isUtf8(bytes)) return [['file', { bytes: bytes.length }]]
  const lines = bytes.toString('utf8').split('\n')
  return lines.filter(line => line !== '').map(line => ['line', { text: line }])
}
