/**
 * Entries of binary index and snapshot files, decoded without trust: every entry is shown, and what is wrong with it
 * or around it is shown as damage. The layouts are those of offset-index.ts, time-index.ts, transaction-index.ts and
 * producer-snapshot.ts.
 */
import { crc32c } from '../util/crc32c.ts'
import type { Emit } from './dump.ts'

const OFFSET_ENTRY_BYTES = 8
const TIME_ENTRY_BYTES = 12
const TRANSACTION_ENTRY_BYTES = 34
const PRODUCER_ENTRY_BYTES = 46
const SNAPSHOT_HEADER_BYTES = 10

/** What there is to say about one entry, and what is wrong with it. */
interface Entry {
  readonly kind: string
  readonly facts: Record<string, unknown>
  readonly wrong: string | undefined
}

export async function dumpOffsetIndex(bytes: Buffer, baseOffset: number, emit: Emit): Promise<void> {
  let last: { offset: number; position: number } | undefined
  await dumpEntries(bytes, { from: 0, entryBytes: OFFSET_ENTRY_BYTES, mayBeZeros: false }, emit, at => {
    const facts = { offset: baseOffset + bytes.readInt32BE(at), position: bytes.readInt32BE(at + 4) }
    const wrong = facts.offset < baseOffset || facts.position < 0 ? 'a number of this entry is negative' : undefined
    const rises = last === undefined || (facts.offset > last.offset && facts.position > last.position)
    last = facts
    return {
      kind: 'offset-index-entry',
      facts,
      wrong: wrong ?? (rises ? undefined : 'this entry is not above the last')
    }
  })
}

export async function dumpTimeIndex(bytes: Buffer, baseOffset: number, emit: Emit): Promise<void> {
  let last: { timestamp: bigint; offset: number } | undefined
  // A single entry of zeros is one: the epoch's first millisecond, and the segment's first record.
  const mayBeZeros = bytes.length === TIME_ENTRY_BYTES
  await dumpEntries(bytes, { from: 0, entryBytes: TIME_ENTRY_BYTES, mayBeZeros }, emit, at => {
    const timestamp = bytes.readBigInt64BE(at)
    const offset = baseOffset + bytes.readInt32BE(at + 8)
    const rises = last === undefined || (timestamp > last.timestamp && offset >= last.offset)
    const wrong =
      offset < baseOffset
        ? 'a number of this entry is negative'
        : rises
          ? undefined
          : 'this entry is not above the last'
    last = { timestamp, offset }
    return { kind: 'time-index-entry', facts: { timestamp, offset }, wrong }
  })
}

export async function dumpTransactionIndex(bytes: Buffer, emit: Emit): Promise<void> {
  const shape = { from: 0, entryBytes: TRANSACTION_ENTRY_BYTES, mayBeZeros: true }
  await dumpEntries(bytes, shape, emit, at => {
    const version = bytes.readInt16BE(at)
    const facts = {
      producerId: bytes.readBigInt64BE(at + 2),
      firstOffset: bytes.readBigInt64BE(at + 10),
      lastOffset: bytes.readBigInt64BE(at + 18),
      lastStableOffset: bytes.readBigInt64BE(at + 26)
    }
    const wrong = version === 0 ? undefined : `this entry is of version ${version}, not 0`
    return { kind: 'aborted-transaction', facts, wrong }
  })
}

export async function dumpProducerSnapshot(bytes: Buffer, emit: Emit): Promise<void> {
  if (bytes.length < SNAPSHOT_HEADER_BYTES) {
    await emit('damage', { position: 0, length: bytes.length, reason: 'shorter than the header of a snapshot' })
    return
  }
  const version = bytes.readInt16BE(0)
  const stored = bytes.readUInt32BE(2)
  const count = bytes.readInt32BE(6)
  const computed = crc32c(bytes, 6, bytes.length)
  const all = { position: 0, length: bytes.length }
  if (version !== 1) {
    await emit('damage', { ...all, reason: `version ${version} of a snapshot is not known` })
    return
  }
  if (stored !== computed) await emit('damage', { ...all, reason: `the CRC is ${computed}, not ${stored} as written` })
  const there = Math.floor((bytes.length - SNAPSHOT_HEADER_BYTES) / PRODUCER_ENTRY_BYTES)
  if (count !== there)
    await emit('damage', { ...all, reason: `it announces ${count} entries and has room for ${there}` })
  const shape = { from: SNAPSHOT_HEADER_BYTES, entryBytes: PRODUCER_ENTRY_BYTES, mayBeZeros: true }
  await dumpEntries(bytes, shape, emit, at => ({
    kind: 'producer-state',
    facts: producerState(bytes, at),
    wrong: undefined
  }))
}

function producerState(bytes: Buffer, at: number): Record<string, unknown> {
  const lastOffset = notNegative(bytes.readBigInt64BE(at + 14))
  const hasBatch = lastOffset !== null
  return {
    producerId: bytes.readBigInt64BE(at),
    producerEpoch: bytes.readInt16BE(at + 8),
    lastSequence: hasBatch ? bytes.readInt32BE(at + 10) : null,
    lastOffset,
    offsetDelta: hasBatch ? bytes.readInt32BE(at + 22) : null,
    timestamp: notNegative(bytes.readBigInt64BE(at + 26)),
    coordinatorEpoch: notNegative(BigInt(bytes.readInt32BE(at + 34))),
    currentTxnFirstOffset: notNegative(bytes.readBigInt64BE(at + 38))
  }
}

function notNegative(value: bigint): bigint | null {
  return value < 0n ? null : value
}

/** @param shape - `mayBeZeros`: an entry of zeros means something, instead of being space set aside. */
async function dumpEntries(
  bytes: Buffer,
  shape: { readonly from: number; readonly entryBytes: number; readonly mayBeZeros: boolean },
  emit: Emit,
  decode: (at: number) => Entry
): Promise<void> {
  const { entryBytes, mayBeZeros } = shape
  const zerosFrom = mayBeZeros ? bytes.length : endOfContent(bytes)
  let at = shape.from
  for (; at + entryBytes <= bytes.length; at += entryBytes) {
    if (at >= zerosFrom) {
      await emit('preallocated', { position: at, length: bytes.length - at })
      return
    }
    const { kind, facts, wrong } = decode(at)
    await emit(kind, facts)
    if (wrong !== undefined) await emit('damage', { position: at, length: entryBytes, reason: wrong })
  }
  const left = bytes.length - at
  if (left > 0) await emit('damage', { position: at, length: left, reason: `${left} bytes are no whole entry` })
}

/** Position behind the last byte that is not zero. */
function endOfContent(bytes: Buffer): number {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end -= 1
  return end
}
