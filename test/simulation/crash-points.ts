/**
 * Every call that reference workloads make to the file system, and each way in which it can be the last one or fail:
 * the simulator's schedules, with the end or the fault at a given call.
 */
import type { CrashOutcome } from './outcomes.ts'
import { anyhow, DROP_ALL, KEEP_ALL, KILL, ZEROS } from './outcomes.ts'
import type { FaultKind, Operation, Schedule, SimulatedTopic } from './schedule.ts'
import { type SimulationResult, simulate } from './simulation.ts'

const small = {
  'segment.bytes': '700',
  'index.interval.bytes': '100',
  'message.timestamp.after.max.ms': String(2 ** 50)
}

const events: SimulatedTopic = {
  name: 'events',
  partitions: 1,
  durability: 'batch',
  isCompacted: false,
  retentionRecords: 8,
  configs: { ...small, 'cleanup.policy': 'delete', 'heartwood.retention.records': '8', 'file.delete.delay.ms': '0' }
}

const state: SimulatedTopic = {
  name: 'state',
  partitions: 1,
  durability: 'none',
  isCompacted: true,
  retentionRecords: undefined,
  configs: {
    ...small,
    'heartwood.durability': 'none',
    'cleanup.policy': 'compact',
    'min.cleanable.dirty.ratio': '0',
    'delete.retention.ms': '0',
    'file.delete.delay.ms': '0'
  }
}

const append = (keys: readonly number[], wait = true): Operation => ({
  kind: 'append',
  log: 0,
  keys,
  own: true,
  level: undefined,
  wait
})
const produce = (keys: readonly number[]): Operation => ({
  kind: 'produce',
  log: 0,
  id: 1,
  keys,
  again: true,
  wait: true
})
const transact = (id: number, keys: readonly number[]): Operation => ({
  kind: 'transact',
  log: 0,
  id,
  keys,
  again: false,
  wait: true
})
const end = (id: number, commit: boolean): Operation => ({ kind: 'end', log: 0, id, commit })

export interface Workload {
  readonly name: string
  readonly topics: readonly SimulatedTopic[]
  readonly operations: readonly Operation[]
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'append, roll, produce, cut, delete, retain, hold, close',
    topics: [events],
    operations: [
      append([3, 6, 9], false),
      produce([12, 15]),
      transact(1, [3, 5]),
      append([8, 11, 14]),
      end(1, false),
      { kind: 'roll', log: 0 },
      { kind: 'lead', log: 0, keys: [3, 6] },
      transact(2, [9]),
      { kind: 'hold', log: 0, at: 0.3 },
      append([2, 5, 8, 11, 14]),
      { kind: 'truncate', log: 0, at: 0.8 },
      append([3, 3, 3]),
      { kind: 'delete', log: 0, at: 0.2 },
      end(2, true),
      { kind: 'checkpoint' },
      { kind: 'roll', log: 0 },
      { kind: 'release', log: 0 },
      append([5, 5, 5, 8, 8]),
      { kind: 'retain' },
      append([6, 9]),
      { kind: 'reopen' },
      produce([15]),
      { kind: 'reopen' }
    ]
  },
  {
    name: 'append to a compacted topic, roll, compact twice, checkpoint, close',
    topics: [state],
    operations: [
      append([3, 6, 9, 12]),
      transact(1, [3, 6]),
      end(1, false),
      produce([9, 12, 4]),
      { kind: 'roll', log: 0 },
      append([3, 6, 7]),
      { kind: 'sync', log: 0 },
      { kind: 'roll', log: 0 },
      { kind: 'compact' },
      append([3, 12, 15]),
      { kind: 'checkpoint' },
      { kind: 'roll', log: 0 },
      { kind: 'compact' },
      append([6]),
      { kind: 'reopen' },
      append([9])
    ]
  },
  {
    name: 'create, alter and delete topics beside appends, checkpoints, close',
    topics: [events],
    operations: [
      append([3, 6]),
      { kind: 'recreate' },
      { kind: 'alter' },
      append([9]),
      { kind: 'checkpoint' },
      { kind: 'recreate' },
      append([12]),
      { kind: 'recreate' },
      { kind: 'alter' },
      { kind: 'reopen' },
      { kind: 'recreate' },
      append([15]),
      { kind: 'reopen' }
    ]
  }
]

export interface Way {
  readonly name: string
  /** What is done before the workload so that call number `at` is the one. */
  readonly arm: (at: number) => Operation
  readonly outcomes: readonly CrashOutcome[]
  readonly isSlow?: boolean
}

const fault = (name: string, kind: FaultKind, forever: boolean): Way => ({
  name,
  arm: after => ({ kind: 'fault', fault: kind, after, forever }),
  outcomes: [KILL, DROP_ALL, anyhow(11)]
})

/** The end at every call that changes the disk, and each fault at every call that it fits. */
export const WAYS: readonly Way[] = [
  {
    name: 'the end, of the process or of the power',
    arm: after => ({ kind: 'crash', after }),
    outcomes: [KILL, DROP_ALL, KEEP_ALL, ZEROS, ...Array.from({ length: 28 }, (_, n) => anyhow(n + 1))]
  },
  fault('EIO once', 'EIO', false),
  fault('EIO for ever', 'EIO', true),
  fault('ENOSPC', 'ENOSPC', true),
  fault('a short write', 'short', false),
  {
    name: 'the end, while calls of a slow disk are under way',
    arm: after => ({ kind: 'crash', after }),
    outcomes: [KILL, DROP_ALL, anyhow(12)],
    isSlow: true
  },
  {
    name: 'a sync that fails, and the end soon after',
    arm: after => ({ kind: 'fault', fault: 'sync', after, forever: false, endsAfter: 3 + (after % 9) }),
    outcomes: [KILL, DROP_ALL, anyhow(13)]
  },
  fault('half a write, then ENOSPC once', 'full', false),
  {
    name: 'a write that the device loses, and the end soon after',
    arm: after => ({ kind: 'fault', fault: 'lose', after, forever: false, endsAfter: 2 + (after % 13) }),
    outcomes: [KILL, DROP_ALL, anyhow(14)]
  }
]

/** @param at - 0-based, among the calls that this way fits. `undefined` when the workload has no such call. */
export async function crashPoint(workload: Workload, way: Way, at: number): Promise<SimulationResult | undefined> {
  const { topics, operations } = workload
  const schedule: Schedule = {
    seed: at,
    topics,
    background: false,
    isSlow: way.isSlow === true,
    operations: [way.arm(at), ...operations]
  }
  const result = await simulate(schedule, { endsAtCrash: true, outcomes: way.outcomes, isTraced: false })
  return result.wasReached || result.failure !== undefined ? result : undefined
}
