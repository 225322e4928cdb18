/**
 * Schedules that are told, not drawn: what a drawn one does so seldom that a fault of the engine in it would be found by
 * chance. Each is carried out with all outcomes of its crashes, and every claim of durability is looked at.
 */
import type { Operation, Schedule, SimulatedTopic } from './schedule.ts'

export interface Story extends Omit<Schedule, 'seed' | 'looksAtAll' | 'background'> {
  readonly name: string
  /** How often it is told: on a slow disk each time goes another way. */
  readonly times: number
}

const SMALL = {
  'segment.bytes': '700',
  'index.interval.bytes': '100',
  'message.timestamp.after.max.ms': String(2 ** 50),
  'file.delete.delay.ms': '0'
}

const EVENTS: SimulatedTopic = {
  name: 'events',
  partitions: 1,
  durability: 'batch',
  isCompacted: false,
  retentionRecords: undefined,
  configs: { ...SMALL, 'cleanup.policy': 'delete' }
}

const UNSYNCED: SimulatedTopic = {
  ...EVENTS,
  durability: 'none',
  configs: { ...EVENTS.configs, 'heartwood.durability': 'none' }
}

const state = (tombstonesStayMs: string): SimulatedTopic => ({
  name: 'state',
  partitions: 1,
  durability: 'none',
  isCompacted: true,
  retentionRecords: undefined,
  configs: {
    ...SMALL,
    'heartwood.durability': 'none',
    'cleanup.policy': 'compact',
    'min.cleanable.dirty.ratio': '0',
    'delete.retention.ms': tombstonesStayMs
  }
})

type Plain = 'roll' | 'sync' | 'check' | 'release' | 'reopen-log'

const append = (keys: readonly number[], wait = true): Operation => ({
  kind: 'append',
  log: 0,
  keys,
  own: true,
  level: undefined,
  wait
})
const on = (kind: Plain): Operation => ({ kind, log: 0 })
const part = (kind: 'truncate' | 'delete' | 'hold', at: number): Operation => ({ kind, log: 0, at })
const transact = (keys: readonly number[]): Operation => ({
  kind: 'transact',
  log: 0,
  id: 1,
  keys,
  again: false,
  wait: true
})
const many = (count: number, of: (n: number) => Operation[]): Operation[] =>
  Array.from({ length: count }, (_, n) => of(n)).flat()
const COMPACT: Operation = { kind: 'compact' }
const FAILING_SYNC: Operation = { kind: 'fault', fault: 'sync', after: 0, forever: true }

export const STORIES: readonly Story[] = [
  {
    name: 'more is appended than a slow disk takes, over many segments',
    topics: [EVENTS],
    isSlow: true,
    times: 2,
    operations: many(8, n => [...many(6, i => [append([2, 5, 8, 11, (n + i) % 20], false)]), on('check')])
  },
  {
    name: 'as that, unsynced, with rolls and syncs',
    topics: [UNSYNCED],
    isSlow: true,
    times: 2,
    operations: many(8, n => [
      ...many(4, i => [append([2, 5, 8, 11, (n + i) % 20], false)]),
      on(n % 2 === 0 ? 'roll' : 'sync'),
      append([3], false)
    ])
  },
  {
    name: 'compaction beside a hold, an open transaction and tombstones that stay',
    topics: [state('86400000000')],
    isSlow: false,
    times: 1,
    operations: [
      append([3, 6, 9, 12]),
      part('hold', 0.5),
      append([3, 6, 9, 12]),
      append([4, 7]),
      on('roll'),
      COMPACT,
      on('check'),
      on('release'),
      transact([3, 6]),
      append([3, 6, 9, 15]),
      on('roll'),
      COMPACT,
      on('check'),
      append([3, 6]),
      on('roll'),
      COMPACT,
      on('check'),
      { kind: 'end', log: 0, id: 1, commit: true },
      append([18, 16, 13]),
      on('roll'),
      COMPACT,
      on('check'),
      COMPACT,
      on('check'),
      { kind: 'reopen' },
      on('check')
    ]
  },
  {
    name: 'compaction leaves next to nothing of many segments, and nothing was synced',
    topics: [state('0')],
    isSlow: false,
    times: 1,
    operations: [
      ...many(12, () => [append([3, 6, 9, 12, 15]), on('roll')]),
      COMPACT,
      on('check'),
      { kind: 'end-now', turns: 3 },
      ...many(4, () => [append([3, 6, 9, 12, 15]), on('roll')]),
      append([18]),
      COMPACT,
      on('check')
    ]
  },
  {
    name: 'deletions meet a hold',
    topics: [EVENTS],
    isSlow: false,
    times: 1,
    operations: [
      ...many(6, () => [append([2, 5, 8])]),
      part('hold', 0.4),
      part('delete', 0.9),
      on('check'),
      on('release'),
      part('delete', 0.6),
      on('check')
    ]
  },
  {
    name: 'a sync fails, more is sent, and the store is closed',
    topics: [EVENTS],
    isSlow: false,
    times: 1,
    operations: [
      append([2, 5]),
      FAILING_SYNC,
      append([8]),
      { kind: 'heal' },
      append([11]),
      append([14]),
      { kind: 'reopen' }
    ]
  },
  {
    name: 'a sync fails of a segment that is full',
    topics: [UNSYNCED],
    isSlow: false,
    times: 1,
    operations: [
      append([2, 5]),
      FAILING_SYNC,
      on('roll'),
      append([8]),
      { kind: 'heal' },
      on('sync'),
      append([11]),
      append([14]),
      { kind: 'reopen' }
    ]
  },
  {
    name: 'cut to far below a checkpoint, written on, and ended',
    topics: [UNSYNCED],
    isSlow: true,
    times: 5,
    operations: [
      ...many(8, () => [append([2, 5, 8, 11, 14])]),
      { kind: 'checkpoint' },
      part('truncate', 0.1),
      ...many(6, n => [append([3, 6, 9, 12, n], false)]),
      { kind: 'end-now', turns: 2 }
    ]
  }
]

/** @param time - 0-based. */
export function scheduleOfStory({ name: _, times: __, ...story }: Story, time: number): Schedule {
  return { ...story, seed: 1 + time, background: false, looksAtAll: true }
}
