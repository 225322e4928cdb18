import fc from 'fast-check'
import { test } from 'tap'
import {
  decideRetention,
  type RetentionDecision,
  type RetentionFacts,
  type RetentionPlan,
  type RetentionSegment,
  type RetentionSettings
} from '../../lib/log/retention.ts'

const NOW = 1_700_000_000_000
const RUNS = 5000

const settings = (given: Partial<RetentionSettings> = {}): RetentionSettings => ({
  cleanupPolicy: ['delete'],
  retentionMs: undefined,
  retentionBytes: undefined,
  retentionRecords: undefined,
  ...given
})

/** Segments of ten offsets each, `ages` ms old, of 100 bytes; the last one is active. */
function facts(ages: readonly (number | undefined)[], given: Partial<RetentionFacts> = {}): RetentionFacts {
  const segments = ages.map((age, i) => ({
    baseOffset: i * 10,
    bytes: 100,
    largestTimestamp: age === undefined ? undefined : NOW - age,
    modifiedMs: NOW
  }))
  const end = ages.length * 10
  return { segments, logStartOffset: 0, highWatermark: end, lastStableOffset: end, logEndOffset: end, ...given }
}

const rules = ({ decisions }: RetentionPlan): string[] =>
  decisions.map(({ decision, rule }) => `${decision === 'delete' ? '-' : '+'} ${rule}`)

const last = ({ decisions }: RetentionPlan): RetentionDecision => decisions[decisions.length - 1]!

// ---- the model: Kafka's loops, as they stand in UnifiedLog.deleteOldSegments, with our own limit before that of time

interface ModelLog {
  segments: RetentionSegment[]
  start: number
}

function model(given: RetentionFacts, config: RetentionSettings, now: number): { rules: string[]; log: ModelLog } {
  const log: ModelLog = { segments: [...given.segments], start: given.logStartOffset }
  const gone: string[] = []
  const deleteWhile = (
    rule: string,
    bound: number,
    condition: (s: RetentionSegment, next?: RetentionSegment) => boolean
  ) => {
    for (;;) {
      const [segment, next] = log.segments
      const upper = next?.baseOffset ?? given.logEndOffset
      const isLastAndEmpty = next === undefined && segment!.bytes === 0
      if (bound < upper || isLastAndEmpty || !condition(segment!, next)) return
      log.segments.shift()
      if (next === undefined) {
        log.segments.push({ baseOffset: given.logEndOffset, bytes: 0, largestTimestamp: undefined, modifiedMs: now })
      }
      log.start = Math.max(log.start, log.segments[0]!.baseOffset)
      gone.push(rule)
    }
  }
  deleteWhile('log-start-offset', given.highWatermark, (_, next) => next !== undefined && next.baseOffset <= log.start)
  if (!config.cleanupPolicy.includes('delete')) return { rules: gone, log }
  const bound = Math.min(given.highWatermark, given.lastStableOffset, ...(given.holds ?? []).map(hold => hold.offset))
  const { retentionMs, retentionBytes, retentionRecords } = config
  if (retentionBytes !== undefined) {
    let excess = log.segments.reduce((sum, { bytes }) => sum + bytes, 0) - retentionBytes
    deleteWhile('retention.bytes', bound, ({ bytes }) => {
      if (excess < 0 || excess - bytes < 0) return false
      excess -= bytes
      return true
    })
  }
  if (retentionRecords !== undefined) {
    deleteWhile('heartwood.retention.records', bound, (_, next) => {
      return given.logEndOffset - (next?.baseOffset ?? given.logEndOffset) >= retentionRecords
    })
  }
  if (retentionMs !== undefined) {
    deleteWhile('retention.ms', bound, ({ largestTimestamp = -1, modifiedMs }) => {
      return now - (largestTimestamp >= 0 ? largestTimestamp : modifiedMs) > retentionMs
    })
  }
  return { rules: gone, log }
}

const inventedLog = fc
  .record({
    segments: fc.array(
      fc.record({
        offsets: fc.integer({ min: 1, max: 20 }),
        bytes: fc.integer({ min: 1, max: 50 }),
        age: fc.oneof(fc.integer({ min: -30, max: 120 }), fc.constant(undefined), fc.constant('negative' as const)),
        modified: fc.integer({ min: -30, max: 120 })
      }),
      { minLength: 1, maxLength: 12 }
    ),
    lastIsEmpty: fc.boolean(),
    base: fc.integer({ min: 0, max: 40 }),
    fractions: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
    isWhollyCommitted: fc.boolean(),
    holds: fc.oneof(fc.constant<number[]>([]), fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 2 })),
    stable: fc.oneof(fc.constant(undefined), fc.constant(undefined), fc.integer({ min: 0, max: 200 }))
  })
  .map(({ segments: drawn, lastIsEmpty, base, fractions, isWhollyCommitted, holds, stable }): RetentionFacts => {
    let next = base
    const segments = drawn.map(({ offsets, bytes, age, modified }, i): RetentionSegment => {
      const isEmpty = lastIsEmpty && i === drawn.length - 1
      const baseOffset = next
      next += isEmpty ? 0 : offsets
      const largestTimestamp = isEmpty || age === undefined ? undefined : age === 'negative' ? -5 : NOW - age
      return { baseOffset, bytes: isEmpty ? 0 : bytes, largestTimestamp, modifiedMs: NOW - modified }
    })
    const highWatermark = base + Math.round((next - base) * (isWhollyCommitted ? 1 : Math.max(...fractions)))
    const logStartOffset = base + Math.round((highWatermark - base) * Math.min(...fractions) * 0.5)
    const within = (offset: number): number => Math.min(Math.max(base + offset, logStartOffset), highWatermark)
    return {
      segments,
      logStartOffset,
      highWatermark,
      lastStableOffset: stable === undefined ? highWatermark : within(stable),
      logEndOffset: next,
      holds: holds.map((offset, i) => ({ name: `reader-${i}`, offset: within(offset) }))
    }
  })

const inventedSettings = fc
  .record({
    cleanupPolicy: fc.subarray(['delete', 'compact'] as const, { minLength: 0 }),
    retentionMs: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
    retentionBytes: fc.option(fc.integer({ min: 0, max: 300 }), { nil: undefined }),
    retentionRecords: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined })
  })
  .map(given =>
    settings({ ...given, cleanupPolicy: given.cleanupPolicy.length === 0 ? ['delete'] : given.cleanupPolicy })
  )

/** The log as it is after the plan was carried out. */
function carriedOut(given: RetentionFacts, plan: RetentionPlan): RetentionFacts {
  const left = given.segments.slice(plan.deletedSegments)
  const fresh = { baseOffset: given.logEndOffset, bytes: 0, largestTimestamp: undefined, modifiedMs: NOW }
  return { ...given, segments: plan.rollFirst ? [fresh] : left, logStartOffset: plan.logStartOffset }
}

test("what goes, by which rule, and the new start are those of Kafka's loops", async t => {
  let deleted = 0
  let rolled = 0
  fc.assert(
    fc.property(inventedLog, inventedSettings, (given, config) => {
      const plan = decideRetention(given, config, NOW)
      const expected = model(given, config, NOW)
      const gone = plan.decisions.filter(({ decision }) => decision === 'delete').map(({ rule }) => rule)
      deleted += gone.length
      rolled += Number(plan.rollFirst)
      return (
        JSON.stringify(gone) === JSON.stringify(expected.rules) &&
        plan.deletedSegments === gone.length &&
        plan.logStartOffset === expected.log.start &&
        plan.decisions.length === given.segments.length &&
        JSON.stringify(carriedOut(given, plan).segments.map(s => s.baseOffset)) ===
          JSON.stringify(expected.log.segments.map(s => s.baseOffset))
      )
    }),
    { numRuns: RUNS }
  )
  t.ok(deleted > RUNS && rolled > RUNS / 100, `${deleted} segments went, ${rolled} logs were emptied`)
})

test('what goes is a prefix, below every bound, and the same question again takes nothing more', async t => {
  fc.assert(
    fc.property(inventedLog, inventedSettings, (given, config) => {
      const plan = decideRetention(given, config, NOW)
      const kinds = plan.decisions.map(({ decision }) => decision)
      const isPrefix = !kinds.slice(plan.deletedSegments).includes('delete')
      const belowBounds = plan.logStartOffset <= given.highWatermark
      const heldBack = [given.lastStableOffset, ...(given.holds ?? []).map(({ offset }) => offset)]
      const isHeld = plan.logStartOffset === given.logStartOffset || heldBack.every(held => plan.logStartOffset <= held)
      const again = decideRetention(carriedOut(given, plan), config, NOW)
      return isPrefix && belowBounds && isHeld && again.deletedSegments === 0
    }),
    { numRuns: RUNS }
  )
  t.pass()
})

test('why a segment is still there answers what happens once that is gone', async t => {
  // The reason is held against the decision itself: the moment it names is the one, a bound it names is the one.
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(inventedLog, inventedSettings, (given, config) => {
      const plan = decideRetention(given, config, NOW)
      const first = plan.decisions[plan.deletedSegments]
      if (first === undefined) return plan.rollFirst
      seen.set(first.rule, (seen.get(first.rule) ?? 0) + 1)
      const goneAt = (now: number, facts = given): boolean =>
        decideRetention(facts, config, now).deletedSegments > plan.deletedSegments
      if (first.rule === 'retention.ms') {
        const goesAtMs = first.because['goesAtMs'] as number
        if (first.because['leftMs'] !== goesAtMs - NOW || plan.nextDueMs !== goesAtMs) return false
        const unbound = { ...given, highWatermark: given.logEndOffset, lastStableOffset: given.logEndOffset, holds: [] }
        const isEmpty = given.segments[plan.deletedSegments]?.bytes === 0
        return !goneAt(goesAtMs - 1, unbound) && (isEmpty || goneAt(goesAtMs, unbound))
      }
      if (first.rule === 'hold') {
        const others = given.holds?.filter(({ name }) => name !== first.because['hold']) ?? []
        const freed = { ...given, holds: others }
        const next = decideRetention(freed, config, NOW).decisions[plan.deletedSegments]
        return next?.decision === 'delete' || next?.because['hold'] !== first.because['hold']
      }
      if (first.rule === 'high-watermark') {
        return (first.because['nextBaseOffset'] as number) > given.highWatermark
      }
      return true
    }),
    { numRuns: RUNS }
  )
  for (const rule of [
    'retention.ms',
    'retention.bytes',
    'hold',
    'high-watermark',
    'open-transaction',
    'empty-active-segment'
  ])
    t.ok((seen.get(rule) ?? 0) > 20, `${rule} was the reason ${seen.get(rule)} times`)
})

test('nothing goes from a log whose settings are unknown, and the reason says so', async t => {
  const plan = decideRetention(facts([1e9, 1e9, 1e9], { logStartOffset: 15 }), undefined, NOW)
  t.same(rules(plan), ['+ unknown-settings', '+ unknown-settings', '+ unknown-settings'])
  t.match(plan, { deletedSegments: 0, deletedBytes: 0, logStartOffset: 15, rollFirst: false, nextDueMs: undefined })
  t.match(last(plan).because, { remedy: /topics alter/ })
})

test('a log that is only compacted, or has no policy, loses what lies below its start and no more', async t => {
  for (const [policy, named] of [
    [['compact'], 'compact'],
    [[], 'none']
  ] as const) {
    const config = settings({ cleanupPolicy: policy, retentionMs: 0, retentionBytes: 0, retentionRecords: 0 })
    const plan = decideRetention(facts([1e9, 1e9, 1e9], { logStartOffset: 12 }), config, NOW)
    t.same(rules(plan), ['- log-start-offset', '+ cleanup.policy', '+ cleanup.policy'])
    t.equal(last(plan).because['cleanupPolicy'], named)
    t.equal(plan.logStartOffset, 12, 'a start within a segment stays')
  }
})

test('time takes a segment in the first millisecond beyond the limit, and the segments before it with it', async t => {
  const config = settings({ retentionMs: 1000 })
  t.same(rules(decideRetention(facts([1000, 10]), config, NOW)), ['+ retention.ms', '+ retention.ms'])
  const plan = decideRetention(facts([1000, 10]), config, NOW + 1)
  t.same(rules(plan), ['- retention.ms', '+ retention.ms'])
  t.match(plan, { logStartOffset: 10, deletedBytes: 100, rollFirst: false, nextDueMs: NOW - 10 + 1001 })
  t.match(last(plan).because, { largestTimestamp: NOW - 10, goesAtMs: NOW + 991, leftMs: 990, retentionMs: 1000 })
})

test('a segment with younger records in front keeps the older ones behind it, and is named', async t => {
  const plan = decideRetention(facts([10, 5000, 5000]), settings({ retentionMs: 1000 }), NOW)
  t.same(rules(plan), ['+ retention.ms', '+ segment-in-front', '+ segment-in-front'])
  t.match(last(plan).because, { segmentInFront: 0, itsRule: 'retention.ms', waitsMs: 991, reached: 'retention.ms' })
})

test('a future timestamp keeps its segment until the limit has passed from then on', async t => {
  const plan = decideRetention(facts([-5000, 5000]), settings({ retentionMs: 1000 }), NOW)
  t.same(rules(plan), ['+ retention.ms', '+ segment-in-front'])
  t.match(plan.decisions[0]?.because, { largestTimestamp: NOW + 5000, leftMs: 6001 })
})

test('without any timestamp the time of the file counts', async t => {
  const given = facts([undefined, undefined])
  const old = { ...given, segments: given.segments.map(segment => ({ ...segment, modifiedMs: NOW - 2000 })) }
  t.same(rules(decideRetention(given, settings({ retentionMs: 1000 }), NOW)), ['+ retention.ms', '+ retention.ms'])
  const plan = decideRetention(old, settings({ retentionMs: 1000 }), NOW)
  t.same(rules(plan), ['- retention.ms', '- retention.ms'])
  t.match(plan.decisions[0]?.because, { modifiedMs: NOW - 2000 })
})

test('of the time of a file whole milliseconds count, so that the moment that is named is the moment', async t => {
  // Where files have microseconds, the moment named was a fraction late, and leftMs no whole number.
  const [segment] = facts([undefined]).segments
  const given = { ...facts([undefined]), segments: [{ ...segment!, modifiedMs: NOW - 1000 + 0.75 }] }
  const config = settings({ retentionMs: 1000 })
  t.match(last(decideRetention(given, config, NOW)).because, { modifiedMs: NOW - 1000, goesAtMs: NOW + 1, leftMs: 1 })
  t.equal(decideRetention(given, config, NOW + 1).deletedSegments, 1)
})

test('when all are to go a new segment comes first, and the log begins at its end', async t => {
  const plan = decideRetention(facts([5000, 5000]), settings({ retentionMs: 1000 }), NOW)
  t.match(plan, { deletedSegments: 2, deletedBytes: 200, logStartOffset: 20, rollFirst: true, nextDueMs: undefined })
})

test('size takes segments as long as what is left behind them reaches the limit', async t => {
  const config = settings({ retentionBytes: 200 })
  t.same(rules(decideRetention(facts([1, 1]), config, NOW)), ['+ retention.bytes', '+ retention.bytes'])
  const plan = decideRetention(facts([1, 1, 1]), config, NOW)
  t.same(rules(plan), ['- retention.bytes', '+ retention.bytes', '+ retention.bytes'])
  t.match(last(plan).because, { retentionBytes: 200, bytesBehind: 0 })
  t.ok(decideRetention(facts([1]), settings({ retentionBytes: 0 }), NOW).rollFirst, 'zero takes the active one too')
})

test('a number of records takes segments as long as that many offsets are behind them', async t => {
  const config = (retentionRecords: number): RetentionSettings => settings({ retentionRecords })
  t.equal(decideRetention(facts([1, 1, 1]), config(20), NOW).logStartOffset, 10)
  t.equal(decideRetention(facts([1, 1, 1]), config(21), NOW).logStartOffset, 0)
  t.match(decideRetention(facts([1, 1, 1]), config(0), NOW), { logStartOffset: 30, rollFirst: true })
})

test('high watermark, open transaction and hold each keep what they need, whatever the limits say', async t => {
  const config = settings({ retentionMs: 0, retentionBytes: 0, retentionRecords: 0 })
  const bound = (given: Partial<RetentionFacts>): RetentionPlan => decideRetention(facts([9, 9, 9], given), config, NOW)
  t.same(rules(bound({ highWatermark: 29, lastStableOffset: 29 })), [
    '- retention.bytes',
    '- retention.bytes',
    '+ high-watermark'
  ])
  t.same(rules(bound({ lastStableOffset: 19 })).slice(1), ['+ open-transaction', '+ open-transaction'])
  const held = bound({
    holds: [
      { name: 'audit', offset: 25 },
      { name: 'billing', offset: 10 }
    ]
  })
  t.same(rules(held), ['- retention.bytes', '+ hold', '+ hold'])
  t.match(held.decisions[1]?.because, { hold: 'billing', holdOffset: 10, reached: 'retention.bytes' })
  t.equal(held.logStartOffset, 10)
})

test('a clock that jumped takes nothing by time, and everything that size says', async t => {
  const config = settings({ retentionMs: 1000, retentionBytes: 250 })
  const plan = decideRetention(facts([9e9, 9e9, 9e9, 9e9], { clockJumpMs: 8e9 }), config, NOW)
  t.same(rules(plan), ['- retention.bytes', '+ clock-jump', '+ clock-jump', '+ clock-jump'])
  t.match(last(plan).because, { clockJumpMs: 8e9, reached: 'retention.ms' })
})

test('a folder without a segment, open for reading only, has nothing to decide', async t => {
  const plan = decideRetention({ ...facts([]), logStartOffset: 7 }, settings({ retentionMs: 0 }), NOW)
  t.same(plan, {
    decisions: [],
    deletedSegments: 0,
    deletedBytes: 0,
    logStartOffset: 7,
    rollFirst: false,
    nextDueMs: undefined
  })
})

test('without a limit everything stays, and the reason says so', async t => {
  t.same(rules(decideRetention(facts([9e9]), settings(), NOW)), ['+ no-limit'])
})
