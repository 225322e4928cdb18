/**
 * What a simulated program does, drawn from a seed: topics with their settings, and a flat list of operations. Numbers
 * are relative to the state that they meet (`at` is a fraction), so that every part of a list is a schedule too, which
 * shrinking lives on.
 */
import type { Durability } from '../../lib/log/log-config.ts'
import { Random } from './random.ts'

export interface SimulatedTopic {
  readonly name: string
  readonly partitions: number
  readonly durability: Durability
  readonly isCompacted: boolean
  /** At least so many offsets are kept; `undefined`: all. */
  readonly retentionRecords: number | undefined
  readonly configs: Readonly<Record<string, string>>
}

/** 0 is a record without a key; of the others every third number is a tombstone. */
export type Keys = readonly number[]

/** `sync`: EIO, of a sync alone. `full`: half of a write, then ENOSPC. */
export type FaultKind = 'EIO' | 'sync' | 'full' | 'ENOSPC' | 'EMFILE' | 'short' | 'lie' | 'lose'

export type Operation =
  | {
      readonly kind: 'append' | 'batch'
      readonly log: number
      readonly keys: Keys
      readonly own: boolean
      readonly level: Durability | undefined
      readonly wait: boolean
    }
  | {
      readonly kind: 'produce' | 'transact'
      readonly log: number
      readonly id: number
      readonly keys: Keys
      readonly again: boolean
      readonly wait: boolean
    }
  | { readonly kind: 'end'; readonly log: number; readonly id: number; readonly commit: boolean }
  | { readonly kind: 'lead'; readonly log: number; readonly keys: Keys }
  | { readonly kind: 'read'; readonly log: number; readonly at: number }
  | { readonly kind: 'truncate'; readonly log: number; readonly at: number }
  | { readonly kind: 'delete'; readonly log: number; readonly at: number }
  | { readonly kind: 'hold'; readonly log: number; readonly at: number }
  | { readonly kind: 'roll' | 'sync'; readonly log: number }
  | { readonly kind: 'check' | 'follow' | 'reopen-log' | 'release'; readonly log: number }
  | { readonly kind: 'retain' | 'compact' | 'checkpoint' | 'settle' | 'heal' | 'alter' | 'recreate' }
  | { readonly kind: 'advance' | 'jump'; readonly ms: number }
  | {
      readonly kind: 'fault'
      readonly fault: FaultKind
      readonly after: number
      readonly forever: boolean
      /** So many changes after it the life ends. */
      readonly endsAfter?: number | undefined
    }
  /** Arms the end: after so many calls that change the disk, or at the end of the schedule, nothing happens any more. */
  | { readonly kind: 'crash'; readonly after: number }
  /** The end after so many turns of the event loop, whatever is under way then. */
  | { readonly kind: 'end-now'; readonly turns: number }
  | { readonly kind: 'reopen' }

export interface Schedule {
  readonly seed: number
  readonly topics: readonly SimulatedTopic[]
  /** Upkeep by itself: retention, compaction, rolling by age, as time passes. */
  readonly background: boolean
  /** Calls take turns of the event loop, so that others come between their beginning and their end. */
  readonly isSlow: boolean
  /** Every claim that something is durable is held against the disk, not one of a few. */
  readonly looksAtAll?: boolean
  readonly operations: readonly Operation[]
}

const DURABILITIES: readonly Durability[] = ['batch', 'batch', 'interval', 'none', 'buffered']

/** Thresholds of `interval` and `buffered` topics. */
export const FLUSH_MESSAGES = 7
export const FLUSH_BYTES = 4096
/** The topic that comes and goes. */
export const GUEST = 'guest'

export function scheduleOf(seed: number): Schedule {
  const random = new Random(seed)
  const topics = [topicOf('events', random, false), topicOf('state', random, true)].slice(0, random.chance(60) ? 1 : 2)
  // One in eight has the compacted topic alone.
  if (random.chance(12)) topics.splice(0, topics.length, topicOf('state', random, true))
  const operations: Operation[] = []
  const count = random.between(10, 40)
  while (operations.length < count) {
    if (random.chance(10)) operations.push({ kind: 'crash', after: random.pick([1, 3, 9, 27]) + random.below(9) })
    const operation = operationOf(random)
    if (RARE.has(operation.kind) && random.chance(25)) operations.push({ kind: 'crash', after: random.below(24) })
    operations.push(operation)
  }
  return { seed, topics, background: random.chance(40), isSlow: random.chance(50), operations }
}

function topicOf(name: string, random: Random, isCompacted: boolean): SimulatedTopic {
  const durability = random.pick(DURABILITIES)
  const retentionRecords = !isCompacted && random.chance(40) ? random.between(5, 30) : undefined
  const configs: Record<string, string> = {
    'segment.bytes': String(random.between(640, 1600)),
    'index.interval.bytes': String(random.pick([0, 100, 400])),
    'message.timestamp.after.max.ms': String(2 ** 50),
    'heartwood.durability': durability,
    'file.delete.delay.ms': random.pick(['0', '60000']),
    'cleanup.policy': isCompacted ? 'compact' : 'delete'
  }
  if (durability === 'interval' || durability === 'buffered') {
    configs['flush.messages'] = String(FLUSH_MESSAGES)
    configs['flush.ms'] = '1000'
    configs['heartwood.flush.bytes'] = String(FLUSH_BYTES)
  }
  if (isCompacted) {
    configs['min.cleanable.dirty.ratio'] = '0'
    configs['delete.retention.ms'] = random.pick(['0', '86400000000'])
  }
  if (retentionRecords !== undefined) configs['heartwood.retention.records'] = String(retentionRecords)
  if (random.chance(25)) Object.assign(configs, { preallocate: 'true', 'segment.index.bytes': '4096' })
  if (random.chance(15)) configs['compression.type'] = random.pick(['lz4', 'snappy'])
  return { name, partitions: random.chance(35) ? 2 : 1, durability, isCompacted, retentionRecords, configs }
}

/** Which operation, and how often among a hundred or so. */
const WEIGHTS: readonly (readonly [Operation['kind'], number])[] = [
  ['append', 26],
  ['batch', 4],
  ['produce', 14],
  ['transact', 10],
  ['end', 8],
  ['lead', 2],
  ['roll', 5],
  ['sync', 3],
  ['read', 4],
  ['check', 2],
  ['follow', 2],
  ['truncate', 4],
  ['delete', 3],
  ['hold', 2],
  ['release', 1],
  ['retain', 3],
  ['compact', 6],
  ['checkpoint', 3],
  ['advance', 6],
  ['jump', 1],
  ['settle', 2],
  ['fault', 3],
  ['heal', 2],
  ['reopen', 2],
  ['reopen-log', 2],
  ['alter', 1],
  ['recreate', 2],
  ['end-now', 4]
]
const KINDS: readonly Operation['kind'][] = WEIGHTS.flatMap(([kind, weight]) => Array(weight).fill(kind))

/** Of what happens seldom and takes many calls, every step is to be the last one now and then. */
const RARE: ReadonlySet<Operation['kind']> = new Set([
  'roll',
  'truncate',
  'delete',
  'retain',
  'compact',
  'checkpoint',
  'recreate',
  'reopen',
  'reopen-log'
])

function operationOf(random: Random): Operation {
  const kind = random.pick(KINDS)
  const log = random.below(4)
  switch (kind) {
    case 'append':
    case 'batch': {
      const level = random.chance(15) ? random.pick(['batch', 'none'] as const) : undefined
      return { kind, log, keys: keysOf(random), own: random.chance(50), level, wait: random.chance(50) }
    }
    case 'produce':
    case 'transact': {
      const id = random.between(1, 3)
      return { kind, log, id, keys: keysOf(random), again: random.chance(25), wait: random.chance(50) }
    }
    case 'end':
      return { kind, log, id: random.between(1, 3), commit: random.chance(50) }
    case 'lead':
      return { kind, log, keys: keysOf(random) }
    case 'read':
    case 'truncate':
    case 'delete':
    case 'hold':
      return { kind, log, at: random.fraction() }
    case 'advance':
      return { kind, ms: random.pick([1, 10, 1000, 16_000, 70_000, 400_000]) }
    case 'jump':
      return { kind, ms: random.pick([-3_600_000, 3_600_000 * 30]) }
    case 'fault': {
      const fault = random.pick([
        'EIO',
        'EIO',
        'sync',
        'sync',
        'ENOSPC',
        'full',
        'ENOSPC',
        'EMFILE',
        'short',
        'short',
        'lie',
        'lose'
      ] as const)
      const after = random.below(fault === 'sync' ? 5 : 30)
      return {
        kind,
        fault,
        after,
        forever: random.chance(30),
        endsAfter: random.chance(40) ? random.below(12) : undefined
      }
    }
    case 'crash':
      return { kind, after: 1 }
    case 'end-now':
      return { kind, turns: random.below(16) }
    case 'retain':
    case 'compact':
    case 'checkpoint':
    case 'settle':
    case 'heal':
    case 'alter':
    case 'recreate':
    case 'reopen':
      return { kind }
    default:
      return { kind, log }
  }
}

function keysOf(random: Random): Keys {
  return Array.from({ length: random.pick([1, 1, 2, 3, 5]) }, () => random.below(20))
}
