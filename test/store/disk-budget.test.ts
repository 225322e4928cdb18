import fc from 'fast-check'
import { test } from 'tap'
import { logConfig } from '../../lib/log/log-config.ts'
import { decideRetention } from '../../lib/log/retention.ts'
import {
  type DiskLimits,
  type DiskPartition,
  type DiskPlan,
  type DiskSegment,
  decideDiskBudget
} from '../../lib/store/disk-budget.ts'

const NOW = 1_700_000_000_000

/** Segments of ten offsets and 100 bytes each, by their timestamps; the last one is active. */
function partition(topic: string, times: readonly number[], given: Partial<DiskPartition> = {}): DiskPartition {
  const end = times.length * 10
  const segments = times.map((time, i): DiskSegment => {
    return { baseOffset: i * 10, bytes: 100, largestTimestamp: time, modifiedMs: NOW }
  })
  const facts = { segments, logStartOffset: 0, highWatermark: end, lastStableOffset: end, logEndOffset: end }
  const settings = 'settings' in given ? given.settings : logConfig()
  const plan = decideRetention(given.facts ?? facts, settings, NOW)
  return { topic, partition: 0, internal: false, facts, ...given, settings, plan }
}

const taken = ({ deletions }: DiskPlan): string[] => deletions.map(d => `${d.topic}-${d.partition}@${d.segment}`)

test('which segments go: the table of the policy', async t => {
  const many = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)
  const held = (topic: string, times: number[], offset: number): DiskPartition => {
    const plain = partition(topic, times)
    return { ...plain, facts: { ...plain.facts, holds: [{ name: 'billing', offset }] } }
  }
  const table: { what: string; logs: DiskPartition[]; limits: DiskLimits; gone: string[]; missing?: number }[] = [
    { what: 'no limit', logs: [partition('a', many(1, 9))], limits: {}, gone: [] },
    { what: 'within the budget', logs: [partition('a', many(1, 4))], limits: { budgetBytes: 400 }, gone: [] },
    {
      what: 'a byte too many takes one segment',
      logs: [partition('a', many(1, 4))],
      limits: { budgetBytes: 399 },
      gone: ['a-0@0']
    },
    {
      what: 'the topic most over its share pays, though the other one is older',
      logs: [partition('big', many(100, 6)), partition('small', many(1, 2))],
      limits: { budgetBytes: 600 },
      gone: ['big-0@0', 'big-0@10']
    },
    {
      what: 'two that are over take turns, the older segment first where they are equal',
      logs: [partition('a', many(50, 4)), partition('b', many(10, 4))],
      limits: { budgetBytes: 500 },
      gone: ['b-0@0', 'a-0@0', 'b-0@10']
    },
    {
      what: 'of the partitions of a topic the one with the oldest segment pays',
      logs: [partition('a', [7, 8, 9]), partition('a', [1, 8, 9], { partition: 1 })],
      limits: { budgetBytes: 400 },
      gone: ['a-1@0', 'a-0@0']
    },
    {
      what: 'an old segment behind a young one does not go before it',
      logs: [partition('a', [9, 1, 9]), partition('a', [5, 8, 9], { partition: 1 })],
      limits: { budgetBytes: 500 },
      gone: ['a-1@0']
    },
    {
      what: 'active segments stay, and the limit is missed by so much',
      logs: [partition('a', many(1, 3))],
      limits: { budgetBytes: 0 },
      gone: ['a-0@0', 'a-0@10'],
      missing: 100
    },
    {
      what: 'unknown settings, internal topics, compacted, without a policy, exempt: never, though they count',
      logs: [
        partition('unknown', many(1, 3), { settings: undefined }),
        partition('__consumer_offsets', many(1, 3), { internal: true }),
        partition('compacted', many(1, 3), { settings: logConfig({ cleanupPolicy: ['compact'] }) }),
        partition('kept', many(1, 3), { settings: logConfig({ cleanupPolicy: [] }) }),
        partition('exempt', many(1, 3), { settings: logConfig({ diskBudgetExempt: true }) }),
        partition('plain', many(1, 3))
      ],
      limits: { budgetBytes: 0 },
      gone: ['plain-0@0', 'plain-0@10'],
      missing: 1600
    },
    {
      what: 'compacted and deleted is touched',
      logs: [partition('both', many(1, 3), { settings: logConfig({ cleanupPolicy: ['compact', 'delete'] }) })],
      limits: { budgetBytes: 200 },
      gone: ['both-0@0']
    },
    {
      what: 'what a hold needs stays; another topic within its share does not pay for it',
      logs: [held('held', many(1, 6), 10), partition('other', many(1, 2))],
      limits: { budgetBytes: 500 },
      gone: ['held-0@0'],
      missing: 200
    },
    {
      what: 'what retention takes in any case is counted first',
      logs: [partition('a', [1, NOW, NOW], { settings: logConfig({ retentionMs: 1000 }) })],
      limits: { budgetBytes: 200 },
      gone: []
    },
    {
      what: 'room on the volume: as much as is missing',
      logs: [partition('a', many(1, 5))],
      limits: { freeMinBytes: 1000, freeBytes: 850 },
      gone: ['a-0@0', 'a-0@10']
    },
    {
      what: 'room that comes by itself, because removed files only wait for their delay',
      logs: [partition('a', many(1, 5))],
      limits: { freeMinBytes: 1000, freeBytes: 850, reclaimableBytes: 60 },
      gone: ['a-0@0']
    },
    {
      what: 'nobody knows how much is free',
      logs: [partition('a', many(1, 5))],
      limits: { freeMinBytes: 1000 },
      gone: []
    },
    {
      what: 'of both limits the tighter one',
      logs: [partition('a', many(1, 5))],
      limits: { budgetBytes: 400, freeMinBytes: 1000, freeBytes: 750 },
      gone: ['a-0@0', 'a-0@10', 'a-0@20']
    }
  ]
  for (const { what, logs, limits, gone, missing = 0 } of table) {
    const plan = decideDiskBudget(logs, limits)
    t.same(taken(plan), gone, what)
    t.equal(plan.missingBytes, missing, what)
  }
})

test('a deletion names the limit and the numbers that decided', async t => {
  const logs = [partition('big', [1, 2, 3, 4]), partition('small', [1])]
  const [first] = decideDiskBudget(logs, { budgetBytes: 400 }).deletions
  t.match(first, {
    rule: 'heartwood.disk.budget.bytes',
    bytes: 100,
    because: { usedBytes: 500, allowedBytes: 400, topicBytes: 400, shareBytes: 200, timestamp: 1 }
  })
  const [floor] = decideDiskBudget(logs, { freeMinBytes: 2, freeBytes: 1 }).deletions
  t.match(floor, { rule: 'heartwood.disk.free.min.bytes', because: { usedBytes: 500, allowedBytes: 499 } })
})

test('indexes count', async t => {
  const plain = partition('a', [1, 2])
  const segments = plain.facts.segments.map(segment => ({ ...segment, indexBytes: 10, timeIndexBytes: 5 }))
  const plan = decideDiskBudget([{ ...plain, facts: { ...plain.facts, segments } }], { budgetBytes: 229 })
  t.match(plan, { usedBytes: 230, deletions: [{ bytes: 115 }], missingBytes: 0 })
})

test('of each log a prefix goes, no more than is needed, and no topic below its share pays', async t => {
  const logs = fc.array(
    fc.record({
      topic: fc.constantFrom('a', 'b', 'c'),
      times: fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 })
    }),
    { minLength: 1, maxLength: 5 }
  )
  let deletions = 0
  fc.assert(
    fc.property(logs, fc.integer({ min: 0, max: 3000 }), fc.boolean(), (drawn, budgetBytes, exempt) => {
      const partitions = drawn.map(({ topic, times }, i) =>
        partition(topic, times, { partition: i, settings: logConfig({ diskBudgetExempt: exempt && topic === 'c' }) })
      )
      const plan = decideDiskBudget(partitions, { budgetBytes })
      deletions += plan.deletions.length
      const isPrefix = partitions.every(({ topic, partition: number, facts }) => {
        const gone = plan.deletions.filter(d => d.topic === topic && d.partition === number).map(d => d.segment)
        const bases = facts.segments.slice(0, gone.length).map(segment => segment.baseOffset)
        return JSON.stringify(gone) === JSON.stringify(bases) && gone.length < facts.segments.length
      })
      const freed = plan.deletions.reduce((sum, { bytes }) => sum + bytes, 0)
      const isNeeded = plan.deletions.length === 0 || plan.usedBytes - freed + 100 > budgetBytes
      const wasOver = plan.deletions.every(({ because }) => because['topicBytes']! > because['shareBytes']!)
      return isPrefix && isNeeded && wasOver && plan.missingBytes === Math.max(0, plan.usedBytes - freed - budgetBytes)
    }),
    { numRuns: 2000 }
  )
  t.ok(deletions > 1000, `${deletions} segments went`)
})
