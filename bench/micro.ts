/**
 * What do the smallest steps cost?
 *
 * Nanoseconds for each record encoded and decoded, each checksum, each variable-length integer and each look into an
 * index, on memory that is in the processor's caches; nothing is read or written. Measured with the package
 * `benchmark`, which repeats each until the mean is known well enough. `ceiling` is the code of the bare loops.
 *
 * What limits it: instructions. Expect 70 to 80 ns to encode a record of 100 B, 45 ns to pass over one with a cursor,
 * 130 ns for a call into native code and then 6 bytes a nanosecond, 1 to 2 ns for a short integer.
 *
 * `heartwood` in a row of checksums is the function that the engine calls, which chooses by size among the others.
 */
import Benchmark from 'benchmark'
import { BatchBuilder, BatchView } from '../lib/record/index.ts'
import { OffsetIndex } from '../lib/segment/offset-index.ts'
import { type Crc32cKind, crc32c, makeCrc32c } from '../lib/util/crc32c.ts'
import { readVarint, skipVarint, writeVarint } from '../lib/util/varint.ts'
import { Arena, BareEncoder } from './engines/ceiling-encoder.ts'
import { BareCursor, checkCrc, find } from './engines/ceiling-read.ts'
import type { Rec } from './engines/engine.ts'
import { RivalMissing } from './engines/load.ts'
import { randomFrom, recordPool } from './harness/data.ts'
import type { Context, Measurement, Question, Row, Shape } from './harness/question.ts'

/** What is done once, and how many of what the row counts that is. Gives back something that depends on its work. */
interface Work {
  readonly count: number
  run(): number
}

interface Spec {
  readonly id: string
  readonly title: string
  readonly contestants: Readonly<Record<string, () => Work>>
}

const BATCH = 100
const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }
const LARGE: Shape = { keyBytes: 16, valueBytes: 1008 }
const NOW = 1_750_000_000_000

function heartwoodEncode(shape: Shape): Work {
  const records = recordPool(shape).slice(0, BATCH)
  const buffer = Buffer.alloc(BatchBuilder.sizeBound(records))
  const builder = new BatchBuilder()
  return {
    count: BATCH,
    run() {
      builder.begin(buffer, 0, { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', now: NOW })
      for (const record of records) builder.add(record)
      return builder.finish()
    }
  }
}

function bareEncode(shape: Shape): Work {
  const records: readonly Rec[] = recordPool(shape).slice(0, BATCH)
  const encoder = new BareEncoder()
  let arena = new Arena()
  return {
    count: BATCH,
    run() {
      encoder.add(records)
      arena = encoder.swap(arena)
      return arena.used
    }
  }
}

function encodedBatch(shape: Shape): Buffer {
  const records = recordPool(shape).slice(0, BATCH)
  const buffer = Buffer.alloc(BatchBuilder.sizeBound(records))
  const builder = new BatchBuilder()
  builder.begin(buffer, 0, { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', now: NOW })
  for (const record of records) builder.add(record)
  return Buffer.from(buffer.subarray(0, builder.finish()))
}

function heartwoodCursor(shape: Shape): Work {
  const bytes = encodedBatch(shape)
  return {
    count: BATCH,
    run() {
      let sum = 0
      const cursor = new BatchView(bytes).records()
      while (cursor.next()) sum += cursor.offset + cursor.timestamp + cursor.keyStart + cursor.valueStart
      return sum
    }
  }
}

function bareCursor(shape: Shape): Work {
  const bytes = encodedBatch(shape)
  const cursor = new BareCursor()
  return {
    count: BATCH,
    run() {
      let sum = 0
      checkCrc(bytes, 0, bytes.length)
      cursor.begin(bytes, 0)
      while (cursor.next()) sum += cursor.offset + cursor.timestamp + cursor.keyStart + cursor.valueStart
      return sum
    }
  }
}

function heartwoodEager(shape: Shape): Work {
  const bytes = encodedBatch(shape)
  return {
    count: BATCH,
    run() {
      let sum = 0
      const cursor = new BatchView(bytes).records()
      while (cursor.next()) {
        const record = cursor.toRecord()
        sum += record.offset + record.timestamp + record.key!.length + record.value!.length
      }
      return sum
    }
  }
}

function bareEager(shape: Shape): Work {
  const bytes = encodedBatch(shape)
  const cursor = new BareCursor()
  return {
    count: BATCH,
    run() {
      let sum = 0
      checkCrc(bytes, 0, bytes.length)
      cursor.begin(bytes, 0)
      while (cursor.next()) {
        const { offset, timestamp } = cursor
        const key = bytes.subarray(cursor.keyStart, cursor.keyEnd)
        const value = bytes.subarray(cursor.valueStart, cursor.valueEnd)
        const record = { offset, timestamp, key, value }
        sum += record.offset + record.timestamp + record.key.length + record.value.length
      }
      return sum
    }
  }
}

function checksum(size: number, kind: Crc32cKind | 'chosen'): Work {
  const compute = kind === 'chosen' ? crc32c : makeCrc32c(kind)
  if (compute === undefined) throw new RivalMissing(`there is no ${kind} CRC-32C on this machine`)
  // Not from the beginning of its buffer: a batch never lies there either.
  const bytes = Buffer.alloc(size + 21, 'checksum')
  return { count: 1, run: () => compute(bytes, 21, size + 21) }
}

/** Numbers as records have them: mostly below 64, some lengths of two bytes, few of three. */
const INTEGERS = Int32Array.from({ length: 1024 }, (_, i) =>
  i % 16 === 0 ? 20_000 + i : i % 4 === 0 ? 90 + (i % 900) : i % 64
)

function writeIntegers(write: (bytes: Uint8Array, value: number, at: number) => number): Work {
  const bytes = new Uint8Array(5 * INTEGERS.length)
  return {
    count: INTEGERS.length,
    run() {
      let at = 0
      for (let i = 0; i < INTEGERS.length; i += 1) at = write(bytes, INTEGERS[i]!, at)
      return at
    }
  }
}

function readIntegers(read: (bytes: Uint8Array, end: number) => number): Work {
  const bytes = new Uint8Array(5 * INTEGERS.length)
  let end = 0
  for (const value of INTEGERS) end = writeVarint(bytes, value, end)
  return { count: INTEGERS.length, run: () => read(bytes, end) }
}

function bareWrite(bytes: Uint8Array, value: number, at: number): number {
  let zigzag = (value << 1) ^ (value >> 31)
  for (; zigzag >>> 7 !== 0; zigzag >>>= 7) bytes[at++] = (zigzag & 0x7f) | 0x80
  bytes[at] = zigzag
  return at + 1
}

function bareRead(bytes: Uint8Array, end: number): number {
  let sum = 0
  for (let at = 0; at < end; ) {
    let byte = bytes[at++]!
    let zigzag = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) zigzag |= ((byte = bytes[at++]!) & 0x7f) << shift
    sum += (zigzag >>> 1) ^ -(zigzag & 1)
  }
  return sum
}

function carefulRead(bytes: Uint8Array, end: number): number {
  let sum = 0
  for (let at = 0; at < end; at = skipVarint(bytes, at, end)) sum += readVarint(bytes, at, end)
  return sum
}

/** As many as a full segment of 1 GiB has, an entry for each 4 KiB, two batches of 2 KiB. */
const INDEX_ENTRIES = 262_144
const LOOK_UPS = 1024

function lookUps(look: (offset: number) => number): Work {
  const random = randomFrom(7)
  const offsets = Float64Array.from({ length: LOOK_UPS }, () => Math.floor(random() * INDEX_ENTRIES * 40))
  return {
    count: LOOK_UPS,
    run() {
      let sum = 0
      for (let i = 0; i < LOOK_UPS; i += 1) sum += look(offsets[i]!)
      return sum
    }
  }
}

function heartwoodLookUps(): Work {
  const index = new OffsetIndex(0)
  for (let i = 1; i <= INDEX_ENTRIES; i += 1) index.append(i * 40 - 1, i * 4096)
  return lookUps(offset => index.lookup(offset).position)
}

function bareLookUps(): Work {
  const offsets = Array.from({ length: INDEX_ENTRIES }, (_, i) => (i + 1) * 40 - 1)
  return lookUps(offset => (find(offsets, offset) + 1) * 4096)
}

const CHECKSUM_SIZES = [128, 1024, 1_048_576]

const SPECS: readonly Spec[] = [
  {
    id: 'encode-100B',
    title: 'encode a record of 100 B, in batches of 100 with CRC',
    contestants: { heartwood: () => heartwoodEncode(SMALL), ceiling: () => bareEncode(SMALL) }
  },
  {
    id: 'encode-1KiB',
    title: 'encode a record of 1 KiB, in batches of 100 with CRC',
    contestants: { heartwood: () => heartwoodEncode(LARGE), ceiling: () => bareEncode(LARGE) }
  },
  {
    id: 'cursor-100B',
    title: 'pass over a record of 100 B with a cursor, CRC checked',
    contestants: { heartwood: () => heartwoodCursor(SMALL), ceiling: () => bareCursor(SMALL) }
  },
  {
    id: 'eager-100B',
    title: 'decode a record of 100 B as an object, CRC checked',
    contestants: { heartwood: () => heartwoodEager(SMALL), ceiling: () => bareEager(SMALL) }
  },
  ...CHECKSUM_SIZES.map(size => ({
    id: `crc32c-${size}`,
    title: `CRC-32C of ${size.toLocaleString('en')} bytes`,
    contestants: {
      heartwood: () => checksum(size, 'chosen'),
      'crc32c-native': () => checksum(size, 'native'),
      'crc32c-wasm': () => checksum(size, 'wasm'),
      'crc32c-js': () => checksum(size, 'js')
    }
  })),
  {
    id: 'varint-write',
    title: 'write a variable-length integer, mostly of one byte',
    contestants: { heartwood: () => writeIntegers(writeVarint), ceiling: () => writeIntegers(bareWrite) }
  },
  {
    id: 'varint-read',
    title: 'read a variable-length integer and the position behind it, checked (ceiling: not checked)',
    contestants: { heartwood: () => readIntegers(carefulRead), ceiling: () => readIntegers(bareRead) }
  },
  {
    id: 'index-lookup',
    title: 'find an offset in the index of a full segment, 262,144 entries',
    contestants: { heartwood: heartwoodLookUps, ceiling: bareLookUps }
  }
]

/** Seconds that one benchmark runs for, in samples of 50 ms, at least five. */
const SECONDS = 0.15
/** No goal hangs on these figures, and each is a mean of many. */
const ROUNDS = 3

function rows(): Row[] {
  return SPECS.map(({ id, title, contestants }) => ({
    id,
    title,
    unit: 'ns',
    better: 'less',
    contestants: Object.keys(contestants),
    warmBytes: 0,
    params: { rounds: ROUNDS }
  }))
}

/** So that no work is without an effect. */
let sink = 0

async function measure({ row, contestant }: Context): Promise<Measurement> {
  const work = SPECS.find(({ id }) => id === row.id)!.contestants[contestant]!()
  const benchmark = new Benchmark(
    row.id,
    // In braces: the package looks at the text of what it is to run, and takes an expression for nothing.
    () => {
      sink += work.run()
    },
    { async: false, maxTime: SECONDS, initCount: 10 }
  )
  benchmark.run()
  if (benchmark.error !== undefined) throw benchmark.error
  if (Number.isNaN(sink)) throw new Error(`${row.id} gave no number`)
  const { mean, rme, sample } = benchmark.stats
  return { value: (mean * 1e9) / work.count, extras: { 'error %': rme, samples: sample.length } }
}

export const question: Question = {
  name: 'micro',
  asks: 'What do the smallest steps cost?',
  about:
    'Nanoseconds for each record encoded and decoded, each checksum, each variable-length integer and each look into ' +
    'an index, on memory that is in the caches; nothing is read or written. Expect 70 to 80 ns to encode a record of ' +
    '100 B, 45 ns to pass over one, and for a checksum 130 ns a native call and then 6 bytes a nanosecond. In the ' +
    'rows of checksums, heartwood is the function that chooses by size among the others.',
  rows,
  measure
}
