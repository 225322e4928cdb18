/** Files of a partition in binary: indexes, producer snapshots, the watermark. */
import fc from 'fast-check'
import { ProducerEntry } from '../../lib/log/producer-entry.ts'
import { formatProducerSnapshot, parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { ACK_LEVELS } from '../../lib/log/types.ts'
import { formatSlot, parseSlot, SLOT_BYTES } from '../../lib/log/watermark-file.ts'
import { OFFSET_ENTRY_BYTES, OffsetIndex } from '../../lib/segment/offset-index.ts'
import { TIME_ENTRY_BYTES, TimeIndex } from '../../lib/segment/time-index.ts'
import { TRANSACTION_ENTRY_BYTES, TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { goldenFiles } from './golden-files.ts'
import { claim, entryFields, type Target } from './target.ts'

const BASE = 1000

/** Ascending, from strides. */
const ascending = (count: number): fc.Arbitrary<number[]> =>
  fc
    .array(fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 2 ** 24 })), { maxLength: count })
    .map(strides => {
      let at = 0
      return strides.map(stride => (at += stride))
    })

function isRefused(parse: () => unknown): boolean {
  try {
    parse()
    return false
  } catch (error) {
    return isLogError(error, 'CORRUPT_FILE')
  }
}

function checkOffsetIndex(index: OffsetIndex): void {
  let [lastOffset, lastPosition] = [BASE - 1, 0]
  for (let i = 0; i < index.entryCount; i += 1) {
    const [offset, position] = [index.offsetAt(i), index.positionAt(i)]
    claim(offset > lastOffset && position > lastPosition, `entry ${i} is not in order`)
    claim(index.lookup(offset).position === position, `entry ${i} is not found`)
    lastOffset = offset
    lastPosition = position
  }
  claim(index.lookup(BASE - 1).position === 0, 'something below the base')
}

const offsetIndex: Target = {
  name: 'offset-index',
  modules: ['segment/offset-index', 'segment/entry-bytes'],
  refusals: ['CORRUPT_FILE'],
  sound: fc.tuple(ascending(30), fc.boolean()).map(([steps, preallocated]) => {
    const index = new OffsetIndex(BASE)
    for (const step of steps) index.append(BASE + step, step)
    return Buffer.concat([index.bytes(), Buffer.alloc(preallocated ? 40 : 0)])
  }),
  samples: () => goldenFiles('.index'),
  fields: entryFields(0, OFFSET_ENTRY_BYTES, [0, 4]),
  decode: bytes => {
    const index = OffsetIndex.parse(Buffer.from(bytes), BASE, { preallocated: true })
    checkOffsetIndex(index)
    claim(index.bytes().equals(bytes.subarray(0, index.byteLength)), 'an index that is not what the file has')
    if (index.byteLength === bytes.length) claim(OffsetIndex.parse(bytes, BASE).bytes().equals(bytes), 'two readings')
    else
      claim(
        isRefused(() => OffsetIndex.parse(bytes, BASE)),
        'what lies behind the entries is taken for some'
      )
    return index.byteLength
  }
}

function checkTimeIndex(index: TimeIndex): void {
  for (let i = 1; i < index.entryCount; i += 1) {
    claim(index.timestampAt(i) > index.timestampAt(i - 1), `timestamp ${i} is not in order`)
    claim(index.offsetAt(i) >= index.offsetAt(i - 1), `offset ${i} is not in order`)
    claim(index.lookup(index.timestampAt(i)) === index.offsetAt(i), `entry ${i} is not found`)
  }
}

const timeIndex: Target = {
  name: 'time-index',
  modules: ['segment/time-index', 'segment/entry-bytes'],
  refusals: ['CORRUPT_FILE'],
  sound: fc.tuple(ascending(30), fc.nat({ max: 2 ** 45 }), fc.boolean()).map(([steps, time, preallocated]) => {
    const index = new TimeIndex(BASE)
    for (const step of steps) index.maybeAppend(time + step, BASE + step)
    return Buffer.concat([index.bytes(), Buffer.alloc(preallocated ? 60 : 0)])
  }),
  samples: () => goldenFiles('.timeindex'),
  fields: entryFields(0, TIME_ENTRY_BYTES, [0, 8]),
  decode: bytes => {
    const index = TimeIndex.parse(Buffer.from(bytes), BASE, { preallocated: true })
    checkTimeIndex(index)
    claim(index.bytes().equals(bytes.subarray(0, index.byteLength)), 'an index that is not what the file has')
    if (index.byteLength === bytes.length) claim(TimeIndex.parse(bytes, BASE).bytes().equals(bytes), 'two readings')
    else
      claim(
        isRefused(() => TimeIndex.parse(bytes, BASE)),
        'what lies behind the entries is taken for some'
      )
    return index.byteLength
  }
}

const transactionIndex: Target = {
  name: 'transaction-index',
  modules: ['segment/transaction-index', 'segment/entry-bytes'],
  refusals: ['CORRUPT_FILE'],
  sound: fc.tuple(ascending(12), fc.nat({ max: 2 ** 40 })).map(([steps, producerId]) => {
    const index = new TransactionIndex(BASE)
    for (const step of steps) {
      const lastOffset = BASE + step
      index.append({ producerId, firstOffset: BASE + (step >> 1), lastOffset, lastStableOffset: lastOffset + 1 })
    }
    return index.bytes()
  }),
  samples: () => goldenFiles('.txnindex'),
  fields: entryFields(0, TRANSACTION_ENTRY_BYTES, [0, 2, 10, 18, 26]),
  decode: bytes => {
    const index = TransactionIndex.parse(bytes, BASE)
    for (let i = 0; i < index.entryCount; i += 1) {
      const { firstOffset, lastOffset, producerId, lastStableOffset } = index.entryAt(i)
      const all = [firstOffset, lastOffset, lastStableOffset, producerId]
      claim(all.every(Number.isSafeInteger) && firstOffset >= 0, `entry ${i} has impossible numbers`)
      claim(firstOffset <= lastOffset && lastOffset >= BASE, `entry ${i} ends before it begins`)
    }
    claim(index.collect(0, 2 ** 53 - 1).entries.length <= index.entryCount, 'more than there is')
    claim(index.bytes().equals(bytes), 'an index that is not what the file has')
    return 3 * index.byteLength
  }
}

const soundEntry = fc
  .record({
    producerId: fc.nat({ max: 2 ** 45 }),
    epoch: fc.nat({ max: 32767 }),
    lastOffset: fc.nat({ max: 2 ** 45 }),
    lastSequence: fc.nat(),
    isOpen: fc.boolean()
  })
  .map(
    ({ producerId, epoch, lastOffset, lastSequence, isOpen }) =>
      new ProducerEntry({
        producerId,
        epoch,
        lastBatch: { lastSequence, lastOffset, offsetDelta: 0, timestamp: 1_700_000_000_000 },
        lastTimestamp: 1_700_000_000_000,
        coordinatorEpoch: isOpen ? undefined : 3,
        currentTxnFirstOffset: isOpen ? lastOffset : undefined
      })
  )

const producerSnapshot: Target = {
  name: 'producer-snapshot',
  modules: ['log/producer-snapshot', 'log/producer-entry'],
  refusals: ['CORRUPT_FILE', 'UNSUPPORTED_VERSION'],
  sound: fc
    .uniqueArray(soundEntry, { maxLength: 8, selector: entry => entry.producerId })
    .map(entries => formatProducerSnapshot(entries)),
  samples: () => goldenFiles('.snapshot'),
  fields: bytes => [0, 2, 6, ...entryFields(10, 46, [0, 8, 10, 14, 22, 26, 34, 38])(bytes)],
  mend: bytes => {
    if (bytes.length < 10) return
    bytes.writeInt16BE(1, 0)
    bytes.writeInt32BE(Math.floor((bytes.length - 10) / 46), 6)
    bytes.writeUInt32BE(crc32c(bytes, 6, bytes.length), 2)
  },
  decode: bytes => {
    const entries = parseProducerSnapshot(bytes)
    const again = parseProducerSnapshot(formatProducerSnapshot(entries))
    claim(again.length === entries.length, 'what it gave cannot be written and read')
    for (const [index, entry] of entries.entries()) {
      const { lastBatch, currentTxnFirstOffset } = entry
      claim(lastBatch === undefined || lastBatch.firstOffset >= 0, 'an offset below 0')
      claim(again[index]!.producerId === entry.producerId, 'another producer id')
      claim(again[index]!.currentTxnFirstOffset === currentTxnFirstOffset, 'another transaction')
      claim(again[index]!.lastBatch?.lastOffset === lastBatch?.lastOffset, 'another last offset')
    }
    return 4 * bytes.length
  }
}

const watermark: Target = {
  name: 'watermark',
  modules: ['log/watermark-file', 'util/int64'],
  refusals: ['UNSUPPORTED_VERSION'],
  sound: fc
    .tuple(
      fc.nat(),
      fc.nat({ max: 2 ** 45 }),
      fc.nat({ max: 1000 }),
      fc.nat(),
      fc.boolean(),
      fc.constantFrom(...ACK_LEVELS)
    )
    .map(([sequence, segmentBaseOffset, more, position, syncFailed, level]) => {
      const offset = segmentBaseOffset + more
      return formatSlot(sequence, { offset, segmentBaseOffset, position, lastBatchCrc: 7, level, syncFailed })
    }),
  fields: () => [0, 4, 8, 10, 11, 12, 16, 24, 32, 40, 48, 508],
  mend: bytes => {
    if (bytes.length >= SLOT_BYTES) bytes.writeUInt32BE(crc32c(bytes, 8, SLOT_BYTES), 4)
  },
  decode: bytes => {
    // Only whole slots are read.
    const slot = parseSlot(Buffer.concat([bytes, Buffer.alloc(SLOT_BYTES)]).subarray(0, SLOT_BYTES))
    if (slot.kind !== 'sound') return SLOT_BYTES
    const { offset, segmentBaseOffset, position } = slot.watermark
    claim(
      [offset, segmentBaseOffset, position, slot.sequence].every(n => Number.isSafeInteger(n) && n >= 0),
      'numbers'
    )
    claim(offset >= segmentBaseOffset, 'a mark below its segment')
    return SLOT_BYTES
  }
}

export const FILE_TARGETS: readonly Target[] = [offsetIndex, timeIndex, transactionIndex, producerSnapshot, watermark]
