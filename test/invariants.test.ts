/**
 * Invariants of a whole log that no single file can hold, watched at every call that it makes to the file system.
 * lib/ARCHITECTURE.md names them by number.
 */
import fc from 'fast-check'
import t from 'tap'
import { HandleCache } from '../lib/fs/handle-cache.ts'
import { type FileSystemCall, MemoryFileSystem } from '../lib/fs/memory-file-system.ts'
import { readWholeFile } from '../lib/fs/replace-file.ts'
import { ArenaPool, LARGE_CHUNK_BYTES, MAX_POOLED_BYTES, SMALL_CHUNK_BYTES } from '../lib/log/arena.ts'
import { type Durability, type LogConfig, logConfig } from '../lib/log/log-config.ts'
import { sharedParts } from '../lib/log/open-log.ts'
import { PartitionLog } from '../lib/log/partition-log.ts'
import { parseSlot, SLOT_BYTES, WATERMARK_FILE, type Watermark } from '../lib/log/watermark-file.ts'
import { BatchView } from '../lib/record/batch-view.ts'
import { parseSegmentFileName } from '../lib/segment/file-names.ts'
import { OffsetIndex } from '../lib/segment/offset-index.ts'
import { TimeIndex } from '../lib/segment/time-index.ts'
import { Store } from '../lib/store/store.ts'
import { ManualClock } from './helpers/manual-clock.ts'

const DIR = '/data/orders-0'
const MAX_BYTES = 1 << 24
const PRODUCER = { producerId: 7, producerEpoch: 0 }

interface Made {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly log: PartitionLog
}

async function openIn(fs: MemoryFileSystem, config: Partial<LogConfig>, clock = new ManualClock()): Promise<Made> {
  if ((await fs.stat('/data')) === undefined) await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const log = await PartitionLog.open({
    dir: DIR,
    topic: 'orders',
    partition: 0,
    config: logConfig({ segmentBytes: 600, indexIntervalBytes: 150, ...config }),
    persistLogStart: async () => undefined,
    shared: sharedParts({ fs, clock, handles: new HandleCache(fs) })
  })
  return { fs, clock, log }
}

const fails = (code: string): Error => Object.assign(new Error(`${code}: made to fail`), { code })

type Step =
  | { do: 'append'; records: number; awaited: boolean }
  | { do: 'transaction' | 'sync' | 'roll' | 'wait' }
  | { do: 'truncate' | 'deleteBefore'; part: number }

const part = fc.double({ min: 0, max: 1, noNaN: true })
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        records: fc.integer({ min: 1, max: 4 }),
        awaited: fc.boolean()
      })
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('transaction', 'sync', 'roll', 'wait') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('truncate', 'deleteBefore'), part }) }
  ) as fc.Arbitrary<Step>,
  { minLength: 5, maxLength: 30 }
)

class Life {
  readonly made: Made
  #pending: Promise<unknown>[] = []
  #sequence = 0

  constructor(made: Made) {
    this.made = made
  }

  async take(step: Step): Promise<void> {
    const { log, clock } = this.made
    const span = log.highWatermark - log.logStartOffset
    switch (step.do) {
      case 'append': {
        const records = Array.from({ length: step.records }, () => ({ value: 'v'.repeat(40) }))
        const appended = log.append(records)
        if (step.awaited) await appended
        else this.#leave(appended)
        return
      }
      case 'transaction': {
        const options = { ...PRODUCER, transactional: true, baseSequence: this.#sequence }
        this.#sequence += 1
        this.#leave(log.append([{ value: 'in' }], options))
        this.#leave(log.appendEndTransaction({ type: 'abort', ...PRODUCER }))
        return
      }
      case 'sync':
        return log.sync()
      case 'roll':
        return log.roll()
      case 'wait':
        return clock.advanceAsync(1500)
      case 'truncate':
        await log.truncateTo(log.logEndOffset - Math.floor((log.logEndOffset - log.logStartOffset) * step.part * 0.3))
        // Which of its sequences are gone the producer does not know: it begins a new transaction at any number.
        this.#sequence = 0
        return
      case 'deleteBefore':
        await log.deleteRecordsBefore(log.logStartOffset + Math.floor(span * step.part))
    }
  }

  async settle(): Promise<void> {
    await Promise.all(this.#pending)
  }

  /** Appends may be refused, after a cut has taken what their producer had, or by a fault: that is no matter here. */
  #leave(appended: Promise<unknown>): void {
    this.#pending.push(appended.catch(() => undefined))
  }
}

/** G1 and G2. */
function disorder(log: PartitionLog): string | undefined {
  const { logStartOffset, lastStableOffset, highWatermark, logEndOffset } = log
  const { recoveryPoint, durableOffset, writtenOffset } = log
  const readers = [logStartOffset, lastStableOffset, highWatermark, logEndOffset]
  const disk = [recoveryPoint, durableOffset, writtenOffset, logEndOffset]
  const ascends = (offsets: number[]): boolean => offsets.every((offset, i) => i === 0 || offset >= offsets[i - 1]!)
  return ascends(readers) && ascends(disk) ? undefined : `readers ${readers.join()}, disk ${disk.join()}`
}

async function watermarkIn(fs: MemoryFileSystem): Promise<Watermark | undefined> {
  const bytes = await readWholeFile(fs, `${DIR}/${WATERMARK_FILE}`, MAX_BYTES)
  const slots = [0, SLOT_BYTES].map(at => parseSlot(bytes!.subarray(at, at + SLOT_BYTES)))
  const sound = slots.flatMap(slot => (slot.kind === 'sound' ? [slot] : []))
  return sound.sort((a, b) => b.sequence - a.sequence)[0]?.watermark
}

for (const durability of ['batch', 'interval', 'none', 'buffered'] as const satisfies readonly Durability[]) {
  t.test(`under "${durability}" the offsets of a log keep their order at every call`, async t => {
    const property = fc.asyncProperty(steps, async steps => {
      const made = await openIn(new MemoryFileSystem(), { durability })
      const life = new Life(made)
      const broken = new Set<string>()
      const look = (call?: FileSystemCall): void => {
        const found = disorder(made.log)
        if (found !== undefined) broken.add(`${call?.operation} ${call?.path}: ${found}`)
      }
      made.fs.onCall = look
      for (const step of steps) {
        await life.take(step).catch(() => undefined)
        look()
      }
      await life.settle()
      await made.log.close()
      if (broken.size > 0) throw new Error([...broken].join('\n'))
    })
    await fc.assert(property, { numRuns: 40 })
    t.pass()
  })

  t.test(`under "${durability}" the watermark never speaks of more than the disk has`, async t => {
    // Some call hangs, what does not wait for it goes on, then the power goes, and all that was not synced with it, but
    // for the watermark's own file: that one may be written back early, so the worst case is that it always is.
    const property = fc.asyncProperty(steps, fc.nat({ max: 250 }), async (steps, at) => {
      const made = await openIn(new MemoryFileSystem(), { durability })
      const life = new Life(made)
      let release = (): void => undefined
      const hanging = new Promise<void>(resolve => {
        release = resolve
      })
      let calls = 0
      made.fs.onCall = () => {
        calls += 1
        return calls === at ? hanging : undefined
      }
      const lived = (async () => {
        for (const step of steps) await life.take(step).catch(() => undefined)
        await life.settle()
      })()
      let isOver = false
      void lived.then(() => {
        isOver = true
      })
      while (calls < at && !isOver) await new Promise(setImmediate)
      for (let i = 0; i < 10; i += 1) await new Promise(setImmediate)
      made.fs.powerCut({ sector: ({ path }) => (path.endsWith(WATERMARK_FILE) ? 'keep' : 'drop') })
      made.fs.onCall = () => {
        throw fails('EIO')
      }
      release()
      for (let i = 0; i < 300 && !isOver; i += 1) await made.clock.advanceAsync(1000)
      if (!isOver) throw new Error('something waits for ever')
      made.fs.onCall = undefined
      const watermark = await watermarkIn(made.fs)
      const { log } = await openIn(made.fs, { durability })
      if (watermark !== undefined && log.logEndOffset < watermark.offset) throw new Error('a log ends below it')
      await log.close()
    })
    await fc.assert(property, { numRuns: 30 })
    t.pass()
  })
}

t.test('an index of a closed log describes batches of its log, and nothing behind its end', async t => {
  const property = fc.asyncProperty(steps, async steps => {
    const { fs, clock, log } = await openIn(new MemoryFileSystem(), { durability: 'none' })
    const life = new Life({ fs, clock, log })
    for (const step of steps) await life.take(step).catch(() => undefined)
    await life.settle()
    await log.close()
    for (const { name } of await fs.readDirectory(DIR)) {
      const file = parseSegmentFileName(name)
      if (file?.suffix !== '.log') continue
      const read = (suffix: string) => readWholeFile(fs, `${DIR}/${name.replace('.log', suffix)}`, MAX_BYTES)
      const bytes = (await read('.log')) as Buffer
      const offsets = OffsetIndex.parse((await read('.index')) as Buffer, file.offset)
      for (let i = 0; i < offsets.entryCount; i += 1) {
        const batch = new BatchView(bytes, offsets.positionAt(i))
        if (batch.lastOffset !== offsets.offsetAt(i)) throw new Error(`${name}: entry ${i}`)
      }
      const times = TimeIndex.parse((await read('.timeindex')) as Buffer, file.offset)
      const ends = new Map<number, number>()
      for (let at = 0; at < bytes.length; at += new BatchView(bytes, at).size) {
        const batch = new BatchView(bytes, at)
        ends.set(batch.lastOffset, batch.maxTimestamp)
      }
      for (let i = 0; i < times.entryCount; i += 1) {
        if (ends.get(times.offsetAt(i)) !== Number(times.timestampAt(i))) throw new Error(`${name}: time entry ${i}`)
      }
    }
  })
  await fc.assert(property, { numRuns: 60 })
  t.pass()
})

t.test('a read takes no turn: it answers while a sync hangs', async t => {
  const { fs, log } = await openIn(new MemoryFileSystem(), { durability: 'none' })
  await log.append([{ value: 'a' }])
  let release = (): void => undefined
  const hanging = new Promise<void>(resolve => {
    release = resolve
  })
  fs.onCall = ({ operation, path }) => (operation === 'datasync' && path.endsWith('.log') ? hanging : undefined)
  const synced = log.sync()
  const { nextOffset } = await log.read(0)
  t.equal(nextOffset, 1)
  t.equal(log.durableOffset, 0, 'the sync has not returned')
  release()
  await synced
  await log.close()
})

t.test('appends made beside a cut come after it, in the order they were made', async t => {
  const { log } = await openIn(new MemoryFileSystem(), {})
  await log.append(
    Array.from({ length: 5 }, (_, i) => ({ value: `old ${i}` })),
    { ownBatch: true }
  )
  await log.append([{ value: 'old 5' }], { ownBatch: true })
  const before = log.append([{ value: 'before' }])
  const cut = log.truncateTo(5)
  const after = [log.append([{ value: 'after 0' }]), log.append([{ value: 'after 1' }])]
  t.equal((await before).baseOffset, 6, 'it was accepted, and then cut off')
  await cut
  t.same(
    (await Promise.all(after)).map(ack => ack.baseOffset),
    [5, 6]
  )
  const values: string[] = []
  for await (const record of log.records({ from: 4 })) values.push(String(record.value))
  t.same(values, ['old 4', 'after 0', 'after 1'])
  await log.close()
})

t.test('a start that was allowed before a cut is judged again after it', async t => {
  // It once was not, and the log began behind its end.
  const { log } = await openIn(new MemoryFileSystem(), {})
  for (let i = 0; i < 10; i += 1) await log.append([{ value: 'a' }], { ownBatch: true })
  const cut = log.truncateTo(2)
  await t.rejects(log.deleteRecordsBefore(5), { code: 'OFFSET_OUT_OF_RANGE' })
  await cut
  t.same([log.logStartOffset, log.highWatermark, log.logEndOffset], [0, 2, 2])
  await log.close()
})

t.test('records appended after a cut below the log start survive a power cut', async t => {
  // The checkpoint once kept the old start, and what lay below it was taken for the rest of a lost log.
  const fs = new MemoryFileSystem()
  const log = await (await Store.open('/data', { fs })).openLog('orders', 0)
  for (let i = 0; i < 10; i += 1) await log.append([{ value: 'a' }])
  await log.deleteRecordsBefore(8)
  await log.truncateTo(5)
  t.match(await log.append([{ value: 'kept' }]), { baseOffset: 5, level: 'synced' })
  fs.powerCut()
  const store = await Store.open('/data', { fs })
  const again = await store.openLog('orders', 0)
  const records: string[] = []
  for await (const { offset, value } of again.records({ from: 5 })) records.push(`${offset} ${value}`)
  t.same(records, ['5 kept'])
  await store.close()
})

t.test('a write that fails takes back offsets, epochs and producers, and nothing of what was there', async t => {
  const { fs, log } = await openIn(new MemoryFileSystem(), {})
  await log.append([{ value: 'a' }], { ...PRODUCER, baseSequence: 0 })
  fs.onCall = ({ operation, path }) => {
    if (operation === 'write' && path.endsWith('.log')) throw fails('ENOSPC')
  }
  const both = [log.append([{ value: 'b' }], { ...PRODUCER, baseSequence: 1 }), log.append([{ value: 'c' }])]
  for (const one of both) await t.rejects(one, { code: 'NO_SPACE' })
  t.equal(log.logEndOffset, 1)
  t.equal(log.condition, 'open')
  fs.onCall = undefined
  const again = await log.append([{ value: 'b' }], { ...PRODUCER, baseSequence: 1 })
  t.equal(again.baseOffset, 1, 'the sequence was not used up')
  const repeated = await log.append([{ value: 'b' }], { ...PRODUCER, baseSequence: 1 })
  t.equal(repeated.baseOffset, 1)
  await log.close()
})

t.test('a sync that fails poisons the log: nothing is appended or synced any more, reading goes on', async t => {
  const { fs, log } = await openIn(new MemoryFileSystem(), {})
  await log.append([{ value: 'a' }])
  let syncs = 0
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'datasync' || !path.endsWith('.log')) return
    syncs += 1
    throw fails('EIO')
  }
  await t.rejects(log.append([{ value: 'b' }]), { code: 'SYNC_FAILED' })
  await t.rejects(log.append([{ value: 'c' }]), { code: 'LOG_POISONED' })
  t.equal(syncs, 1)
  t.equal((await log.read(0)).nextOffset, 1)
  t.match(await watermarkIn(fs), { syncFailed: true, offset: 1 })
  await log.close()
  t.equal(syncs, 1, 'not when closing either')
})

t.test('what is read from memory is a copy', async t => {
  const { log } = await openIn(new MemoryFileSystem(), { durability: 'none' })
  await log.append([{ value: 'a' }])
  const first = (await log.read(0)).batches
  const shown = Buffer.from(first)
  first.fill(0xff)
  t.same((await log.read(0)).batches, shown)
  t.equal(log.stats().readsFromMemory, 2)
  await log.close()
})

t.test('a chunk that its log has come back to is not taken away, and is when the log goes idle again', async t => {
  const pool = new ArenaPool({ maxRetainedBytes: SMALL_CHUNK_BYTES })
  const evicted: string[] = []
  const first = pool.take(1, false)
  const second = pool.take(1, false)
  pool.retain(first, () => evicted.push('first'))
  first.held = true
  pool.retain(second, () => evicted.push('second'))
  t.same(evicted, ['second'], 'the one that is written to stays')
  pool.retain(first, () => evicted.push('first'))
  pool.retain(pool.take(1, false), () => evicted.push('third'))
  t.same(evicted, ['second', 'first'])
  t.equal(pool.retainedBytes, SMALL_CHUNK_BYTES)
})

t.test('the pool keeps no more memory than its bound, takes the oldest chunk first, and reuses it', async t => {
  const pool = new ArenaPool({ maxRetainedBytes: 4 * SMALL_CHUNK_BYTES })
  const evicted: number[] = []
  const chunks = Array.from({ length: 6 }, () => pool.take(1, false))
  for (const [i, chunk] of chunks.entries()) {
    pool.retain(chunk, () => evicted.push(i))
    t.ok(pool.retainedBytes <= pool.maxRetainedBytes)
  }
  t.same(evicted, [0, 1])
  t.equal(pool.take(1, false).buffer, chunks[1]?.buffer, 'the memory goes round')
  t.equal(pool.take(SMALL_CHUNK_BYTES + 1, false).buffer.length, LARGE_CHUNK_BYTES)
  t.equal(pool.take(1, true).buffer.length, LARGE_CHUNK_BYTES)
  t.equal(pool.take(LARGE_CHUNK_BYTES + 1, false).buffer.length, 2 * LARGE_CHUNK_BYTES)
  t.equal(pool.take(MAX_POOLED_BYTES, true).buffer.length, MAX_POOLED_BYTES)
  t.equal(pool.take(MAX_POOLED_BYTES + 1, false).buffer.length, MAX_POOLED_BYTES + 1)
})
