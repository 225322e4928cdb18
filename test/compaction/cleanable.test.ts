import fc from 'fast-check'
import t from 'tap'
import {
  type CleanableFacts,
  type CleanableSegment,
  type CleanableSettings,
  judgeCleanable
} from '../../lib/compaction/cleanable.ts'
import { SEED } from '../helpers/seed.ts'

const NOW = 1_000_000

const SETTINGS: CleanableSettings = {
  cleanupPolicy: ['compact'],
  minCompactionLagMs: 0,
  maxCompactionLagMs: undefined,
  minCleanableDirtyRatio: 0.5
}

function segment(baseOffset: number, more: Partial<CleanableSegment> = {}): CleanableSegment {
  return { baseOffset, bytes: 100, largestTimestamp: 500, firstTimestamp: 400, modifiedMs: 900, ...more }
}

/** Segments at 0, 10, 20 and an active one at 30, of which all is decided. */
function facts(more: Partial<CleanableFacts> = {}): CleanableFacts {
  return {
    segments: [segment(0), segment(10), segment(20), segment(30, { bytes: 50 })],
    logStartOffset: 0,
    logEndOffset: 35,
    lastStableOffset: 35,
    checkpoint: undefined,
    ...more
  }
}

t.test('a log whose settings nobody has stated is never due, nor one that is not compacted', async t => {
  const unknown = judgeCleanable(facts(), undefined, NOW)
  t.match(unknown, { due: false, reason: 'unknown-settings', cleanableBytes: 300 })
  t.match(judgeCleanable(facts(), { ...SETTINGS, cleanupPolicy: ['delete'] }, NOW), {
    due: false,
    reason: 'not-compacted'
  })
  t.match(judgeCleanable(facts(), { ...SETTINGS, cleanupPolicy: [] }, NOW), { due: false, reason: 'not-compacted' })
  t.match(judgeCleanable(facts(), { ...SETTINGS, cleanupPolicy: ['delete', 'compact'] }, NOW), { due: true })
})

t.test('the ratio must exceed the limit; being equal is not enough', async t => {
  const half = { segments: [segment(0), segment(10), segment(20)], logEndOffset: 20, lastStableOffset: 20 }
  t.match(judgeCleanable(facts({ ...half, checkpoint: 10 }), SETTINGS, NOW), {
    due: false,
    reason: 'below-ratio',
    dirtyRatio: 0.5,
    cleanBytes: 100,
    cleanableBytes: 100
  })
  t.match(judgeCleanable(facts({ ...half, checkpoint: 10 }), { ...SETTINGS, minCleanableDirtyRatio: 0.49 }, NOW), {
    due: true,
    reason: 'ratio'
  })
})

t.test('nothing is cleaned from the active segment on', async t => {
  t.match(judgeCleanable(facts({ checkpoint: 30 }), SETTINGS, NOW), {
    due: false,
    reason: 'nothing-dirty',
    firstDirtyOffset: 30,
    firstUncleanableOffset: 30,
    heldBackBy: 'active-segment',
    uncleanableBytes: 50,
    heldBackBytes: 0
  })
})

t.test('an open transaction holds back the segment that it begins in, and all behind', async t => {
  t.match(judgeCleanable(facts({ lastStableOffset: 15 }), SETTINGS, NOW), {
    due: true,
    firstUncleanableOffset: 10,
    heldBackBy: 'last-stable-offset',
    cleanableBytes: 100,
    uncleanableBytes: 250,
    heldBackBytes: 200
  })
  t.match(judgeCleanable(facts({ lastStableOffset: 9 }), SETTINGS, NOW), {
    due: false,
    reason: 'held-back',
    firstUncleanableOffset: 0,
    heldBackBytes: 300
  })
})

t.test('min.compaction.lag.ms holds back the first segment with a young record, to the millisecond', async t => {
  const segments = [segment(0), segment(10, { largestTimestamp: NOW - 99 }), segment(20), segment(30)]
  const lag = (minCompactionLagMs: number): CleanableSettings => ({ ...SETTINGS, minCompactionLagMs })
  t.match(judgeCleanable(facts({ segments }), lag(100), NOW), {
    firstUncleanableOffset: 10,
    heldBackBy: 'min-compaction-lag'
  })
  t.match(judgeCleanable(facts({ segments }), lag(99), NOW), { firstUncleanableOffset: 30 })
  // What has no timestamp is as young as its file.
  const untimed = [segment(0, { largestTimestamp: undefined, modifiedMs: NOW - 99 }), segment(10)]
  t.match(judgeCleanable(facts({ segments: untimed }), lag(100), NOW), { reason: 'held-back' })
  t.match(judgeCleanable(facts({ segments: untimed }), lag(99), NOW), { due: true })
  // What is clean already is not asked.
  t.match(judgeCleanable(facts({ segments, checkpoint: 20 }), lag(100), NOW), { firstUncleanableOffset: 30 })
})

t.test('max.compaction.lag.ms makes a log due however little of it is dirty, to the millisecond', async t => {
  const some = { checkpoint: 20, segments: facts().segments.map(s => ({ ...s, firstTimestamp: s.baseOffset * 1000 })) }
  const lag = (maxCompactionLagMs: number): CleanableSettings => ({ ...SETTINGS, maxCompactionLagMs })
  t.match(judgeCleanable(facts(some), lag(NOW - 20_000), NOW), { due: false, overdueMs: 0, dueAtMs: NOW })
  t.match(judgeCleanable(facts(some), lag(NOW - 20_001), NOW), { due: true, reason: 'max-lag', overdueMs: 1 })
  t.match(judgeCleanable(facts({ ...some, lastStableOffset: 25 }), lag(1), NOW), { due: false, reason: 'held-back' })
})

t.test('a checkpoint below the start or beyond the end counts as none', async t => {
  for (const checkpoint of [4, 36]) {
    t.match(judgeCleanable(facts({ checkpoint, logStartOffset: 5 }), SETTINGS, NOW), {
      checkpointIsInvalid: true,
      firstDirtyOffset: 5
    })
  }
  t.match(judgeCleanable(facts({ checkpoint: 35 }), SETTINGS, NOW), {
    checkpointIsInvalid: false,
    firstDirtyOffset: 35,
    firstUncleanableOffset: 35,
    due: false
  })
})

/** An invented log, in which bases ascend. */
const logs = fc
  .record({
    sizes: fc.array(fc.record({ span: fc.integer({ min: 1, max: 9 }), bytes: fc.nat(50), time: fc.nat(100) }), {
      minLength: 1,
      maxLength: 8
    }),
    first: fc.nat(20),
    start: fc.nat(9),
    stable: fc.nat(80),
    checkpoint: fc.option(fc.nat(90), { nil: undefined }),
    minLag: fc.nat(60),
    maxLag: fc.option(fc.nat(120), { nil: undefined }),
    ratio: fc.double({ min: 0, max: 1, noNaN: true }),
    now: fc.integer({ min: 100, max: 200 })
  })
  .map(({ sizes, first, start, stable, checkpoint, minLag, maxLag, ratio, now }) => {
    let base = first
    const segments = sizes.map(({ span, bytes, time }) => {
      const made = segment(base, { bytes, largestTimestamp: time, firstTimestamp: time })
      base += span
      return made
    })
    const log: CleanableFacts = {
      segments,
      logStartOffset: Math.min(first + start, base),
      logEndOffset: base,
      lastStableOffset: Math.min(base, Math.max(first + start, stable)),
      checkpoint
    }
    const settings: CleanableSettings = {
      cleanupPolicy: ['compact'],
      minCompactionLagMs: minLag,
      maxCompactionLagMs: maxLag,
      minCleanableDirtyRatio: ratio
    }
    return { log, settings, now }
  })

t.test('of any log all that is sealed, decided, dirty and old enough is cleanable, and nothing else', async t => {
  await fc.assert(
    fc.property(logs, ({ log, settings, now }) => {
      const { segments } = log
      const j = judgeCleanable(log, settings, now)
      const end = (i: number): number => segments[i + 1]?.baseOffset ?? Number.POSITIVE_INFINITY
      // Offset by offset, as if nobody had heard of segments' order.
      const mayGo = segments.map((s, i) => {
        const isSealed = i < segments.length - 1
        return isSealed && end(i) > j.firstDirtyOffset && end(i) <= log.lastStableOffset && isOldEnough(s)
      })
      function isOldEnough({ largestTimestamp = 0 }: CleanableSegment): boolean {
        return settings.minCompactionLagMs === 0 || largestTimestamp <= now - settings.minCompactionLagMs
      }
      const firstDirty = segments.findIndex((_, i) => end(i) > j.firstDirtyOffset)
      let last = firstDirty
      while (mayGo[last] === true) last += 1
      const expected = segments.slice(firstDirty, last)
      const bytes = expected.reduce((sum, s) => sum + s.bytes, 0)
      t.equal(j.cleanableBytes, bytes)
      t.equal(j.firstUncleanableOffset, expected.length === 0 ? j.firstDirtyOffset : end(last - 1))
      const clean = segments.filter(s => s.baseOffset < j.firstDirtyOffset).reduce((sum, s) => sum + s.bytes, 0)
      t.equal(j.cleanBytes, clean)
      const ratio = bytes + clean === 0 ? 0 : bytes / (bytes + clean)
      const oldest = Math.min(
        ...segments
          .filter((s, i) => i < segments.length - 1 && i >= firstDirty && s.firstTimestamp! > 0)
          .map(s => s.firstTimestamp!)
      )
      const isOverdue = settings.maxCompactionLagMs !== undefined && oldest < now - settings.maxCompactionLagMs
      t.equal(j.due, bytes > 0 && (ratio > settings.minCleanableDirtyRatio || isOverdue))
      t.equal(j.due, j.reason === 'ratio' || j.reason === 'max-lag')
    }),
    { seed: SEED, numRuns: 3000 }
  )
})
