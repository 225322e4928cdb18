/** Cleaning invented histories, several times over, against plain code that remembers everything. */
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { CleaningInput } from '../../lib/compaction/cleaning-types.ts'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { IndexBuilder } from '../../lib/segment/index-builder.ts'
import { type AbortedTransaction, TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { cleanAndSwap, inputFor, sourcesIn } from '../helpers/cleaning.ts'
import { type History, type HistoryBatch, type HistoryRecord, historyOf, steps } from '../helpers/keyed-history.ts'
import { DIR, file, memoryFolder, readFile } from '../helpers/partition-folder.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'

t.setTimeout(600_000)

const RETENTION_MS = 100
const INTERVAL = 200

/** What is there of a history, in the model's words. */
class Model {
  readonly #history: History
  readonly #batches: Map<number, { batch: HistoryBatch; horizon: number | undefined; records: HistoryRecord[] }>

  constructor(history: History) {
    this.#history = history
    this.#batches = new Map(
      history.batches.map(batch => [batch.baseOffset, { batch, horizon: undefined, records: [...batch.records] }])
    )
  }

  /** @param rewritten - exclusive bound of the segments that are written anew. */
  clean(latestOffset: number, rewritten: number, now: number): void {
    const last = new Map<string | undefined, number>()
    for (const { batch, records } of this.#batches.values()) {
      if (batch.fate !== 'committed') continue
      for (const { offset, key } of records) if (offset <= latestOffset) last.set(key, offset)
    }
    for (const held of this.#batches.values()) {
      const { batch, horizon, records } = held
      if (batch.baseOffset >= rewritten || batch.isMarker) continue
      held.records = records.filter(({ offset, key, value }) => {
        if (batch.fate === 'aborted') return false
        if (offset > latestOffset) return true
        if (key === undefined || last.get(key) !== offset) return false
        return value !== undefined || horizon === undefined || now < horizon
      })
      const hasTombstone = held.records.some(({ value }) => value === undefined)
      if (hasTombstone) held.horizon ??= now + RETENTION_MS
    }
  }

  /** What a reader of committed records sees. */
  visible(): string[] {
    return [...this.#batches.values()]
      .filter(({ batch }) => batch.fate === 'committed' && !batch.isMarker)
      .flatMap(({ records }) => records.map(textOf))
  }

  /**
   * Where the map was full, it may know of keys in the batch behind its end: then earlier records of theirs may be gone
   * already. Lets go of those that are not in `found`.
   */
  letGo(found: ReadonlySet<string>, endOffset: number, present: readonly number[]): void {
    const cut = this.#history.batches.find(
      ({ baseOffset, lastOffset, fate, isMarker }) =>
        lastOffset >= endOffset && fate === 'committed' && !isMarker && present.includes(baseOffset)
    )
    const later = cut?.records ?? []
    for (const held of this.#batches.values()) {
      held.records = held.records.filter(record => {
        const { offset, key } = record
        const isSuperseded = later.some(other => other.key === key && other.offset > offset)
        return found.has(textOf(record)) || held.batch.fate !== 'committed' || offset >= endOffset || !isSuperseded
      })
    }
  }

  /** Batches that stay though they be empty: the last one of a producer, and that in front of the end, if it was there. */
  mustStay(end: number, present: readonly number[]): number[] {
    const last = this.#history.producers.map(({ lastDataOffset }) => lastDataOffset)
    return this.#history.batches
      .filter(
        ({ baseOffset, lastOffset }) =>
          last.includes(lastOffset) || (lastOffset + 1 === end && present.includes(baseOffset))
      )
      .map(({ baseOffset }) => baseOffset)
  }
}

function textOf({ offset, key, value }: { offset: number; key: unknown; value: unknown }): string {
  return `${offset}:${key ?? ''}=${value ?? ''}`
}

interface Found {
  readonly visible: string[]
  readonly bases: number[]
}

/** Reads as a consumer of committed records does, and checks what can be checked on the way. */
async function read(fs: MemoryFileSystem, history: History, originals: ReadonlyMap<number, string>): Promise<Found> {
  const sources = await sourcesIn(fs)
  const entries: AbortedTransaction[] = []
  for (const { baseOffset } of sources) {
    const path = join(DIR, file(baseOffset, '.txnindex'))
    if ((await fs.stat(path)) === undefined) continue
    const index = TransactionIndex.parse(await readFile(fs, path), baseOffset)
    for (let i = 0; i < index.entryCount; i += 1) entries.push(index.entryAt(i))
  }
  const visible: string[] = []
  const bases: number[] = []
  let next = 0
  const open = new Set(history.batches.filter(({ fate }) => fate === 'open').map(({ baseOffset }) => baseOffset))
  const aborting = new Set<number>()
  for (const { baseOffset } of sources) {
    const bytes = await readFile(fs, join(DIR, file(baseOffset)))
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      batch.verify()
      at = batch.end
      if (batch.baseOffset < next) throw new Error(`batch ${batch.baseOffset} where ${next} is due`)
      next = batch.nextOffset
      bases.push(batch.baseOffset)
      const { producerId } = batch
      const begun = entries.some(
        e => e.producerId === producerId && e.firstOffset <= batch.lastOffset && e.lastOffset >= batch.lastOffset
      )
      if (begun) aborting.add(producerId)
      if (batch.isControl) {
        aborting.delete(producerId)
        continue
      }
      const isVisible = !(batch.isTransactional && aborting.has(producerId)) && !open.has(batch.baseOffset)
      const cursor = batch.records()
      while (cursor.next()) {
        const { offset, timestamp } = cursor
        const text = textOf({ offset, key: cursor.key(), value: cursor.value() })
        const whole = `${text} ${timestamp} ${JSON.stringify(cursor.headers())} ${batch.partitionLeaderEpoch}`
        if (originals.size > 0 && originals.get(offset) !== whole)
          throw new Error(`${whole} was ${originals.get(offset)}`)
        if (isVisible) visible.push(text)
      }
    }
  }
  return { visible, bases }
}

async function originalsOf(fs: MemoryFileSystem): Promise<Map<number, string>> {
  const originals = new Map<number, string>()
  for (const { baseOffset } of await sourcesIn(fs)) {
    const bytes = await readFile(fs, join(DIR, file(baseOffset)))
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      at = batch.end
      const cursor = batch.records()
      while (cursor.next()) {
        const text = textOf({ offset: cursor.offset, key: cursor.key(), value: cursor.value() })
        const rest = `${cursor.timestamp} ${JSON.stringify(cursor.headers())} ${batch.partitionLeaderEpoch}`
        originals.set(cursor.offset, `${text} ${rest}`)
      }
    }
  }
  return originals
}

/** The index files say what the log files do. */
async function checkIndexes(fs: MemoryFileSystem, input: CleaningInput, upTo: number): Promise<void> {
  for (const { baseOffset } of await sourcesIn(fs)) {
    if (baseOffset >= upTo) continue
    const bytes = await readFile(fs, join(DIR, file(baseOffset)))
    const indexes = IndexBuilder.empty(baseOffset)
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      indexes.add(at, batch.lastOffset, batch.maxTimestamp, input.settings)
      at = batch.end
    }
    indexes.finish()
    const files = [await readFile(fs, join(DIR, file(baseOffset, '.index')))]
    files.push(await readFile(fs, join(DIR, file(baseOffset, '.timeindex'))))
    const expected = [indexes.offsets.bytes(), indexes.times.bytes()]
    if (!files.every((found, i) => found.equals(expected[i]!))) throw new Error(`indexes of ${baseOffset}`)
  }
}

interface Round {
  readonly upTo: number
  readonly keys: number
  readonly passed: number
  readonly segmentBytes: number
}

const rounds = fc.array(
  fc.record({
    /** Share of the segments that is cleaned, in tenths. */
    upTo: fc.nat(10),
    keys: fc.integer({ min: 1, max: 30 }),
    passed: fc.integer({ min: 0, max: 150 }),
    segmentBytes: fc.integer({ min: 100, max: 2000 })
  }),
  { minLength: 1, maxLength: 4 }
)

async function run(history: History, given: readonly Round[]): Promise<void> {
  const fs = await memoryFolder(history.files)
  const originals = await originalsOf(fs)
  const model = new Model(history)
  let bases: readonly number[] = history.batches.map(({ baseOffset }) => baseOffset)
  let firstDirtyOffset = 0
  let now = 1_800_000_000_000
  const activeBase = history.bases.at(-1)!
  const decided = history.bases.filter(base => base <= history.lastStableOffset)
  for (const { upTo, keys, passed, segmentBytes } of given) {
    now += passed
    const wanted = decided[Math.min(decided.length - 1, Math.ceil((upTo / 10) * decided.length))]!
    const present = (await sourcesIn(fs)).map(({ baseOffset }) => baseOffset)
    // A segment that was joined to the one before it begins no more where it did.
    const bound = Math.max(firstDirtyOffset, present.findLast(base => base <= wanted)!)
    const firstUncleanableOffset = present.find(base => base >= bound) ?? activeBase
    if (firstUncleanableOffset > history.lastStableOffset) break
    const input = await inputFor({
      fs,
      firstDirtyOffset,
      firstUncleanableOffset,
      now,
      producers: history.producers,
      mapBytes: Math.ceil(keys / 0.9) * 24,
      abortedLater: history.aborted.filter(({ lastOffset }) => lastOffset >= activeBase),
      settings: { deleteRetentionMs: RETENTION_MS, segmentBytes, indexIntervalBytes: INTERVAL }
    })
    const { endOffset, isPartial, all } = await cleanAndSwap(fs, input)
    if (endOffset <= firstDirtyOffset && firstUncleanableOffset > firstDirtyOffset) throw new Error('no way forward')
    if (isPartial !== endOffset < firstUncleanableOffset) throw new Error(`ends at ${endOffset}, partial: ${isPartial}`)
    const rewritten = input.segments.filter(
      ({ baseOffset }) => baseOffset < Math.min(endOffset, firstUncleanableOffset)
    )
    if (rewritten.length > 0 !== all.length > 0) throw new Error('groups')
    const bytesBehind = rewritten.length === 0 ? 0 : Math.max(...rewritten.map(({ nextOffset }) => nextOffset))
    model.clean(endOffset - 1, bytesBehind, now)
    const found = await read(fs, history, originals)
    if (isPartial) model.letGo(new Set(found.visible), endOffset, bases)
    const expected = model.visible()
    if (found.visible.join(' ') !== expected.join(' ')) {
      throw new Error(`round at ${now}: found ${found.visible.join(' ')}, expected ${expected.join(' ')}`)
    }
    for (const base of model.mustStay(firstUncleanableOffset, bases)) {
      if (!found.bases.includes(base)) throw new Error(`batch ${base} must stay`)
    }
    await checkIndexes(fs, input, bytesBehind)
    bases = found.bases
    firstDirtyOffset = endOffset
  }
}

const HISTORIES = IS_LONG_RUN ? 5000 : 500

t.test('whatever is cleaned, records, offsets and visibility are those of plain code that forgets nothing', async t => {
  let cleaned = 0
  await fc.assert(
    fc.asyncProperty(steps, rounds, fc.nat(63), async (given, rounds, forgotten) => {
      await run(historyOf(given, forgotten), rounds)
      cleaned += 1
    }),
    { seed: SEED, numRuns: HISTORIES }
  )
  t.ok(cleaned >= HISTORIES)
})
