/** The topics of the writer: every durability, and every way in which a log grows and shrinks. */

export interface TopicRules {
  readonly configs: Readonly<Record<string, string>>
  readonly isCompacted: boolean
  /** Records at the end that no retention takes; undefined where none is set. */
  readonly retained: number | undefined
  /** Records that may be acknowledged as `accepted` and lost with the process. */
  readonly atRiskInMemory: number
  /** Records that may be acknowledged as `written` and lost with the power; undefined: any number. */
  readonly atRiskOnDisk: number | undefined
  /** What a full disk refuses stays in memory, and is written when there is room. */
  readonly keepsRefused?: boolean
  readonly does: {
    readonly producer?: 'idempotent' | 'transactional'
    /** Ends of the log are cut off. */
    readonly cuts?: boolean
    /** Beginnings are deleted. */
    readonly trims?: boolean
    /** Some appends ask for more than the topic's durability. */
    readonly asks?: boolean
  }
}

/** Nothing here is an hour old, whatever a clock that jumps says. */
const SMALL = {
  'segment.bytes': '2500',
  'file.delete.delay.ms': '20',
  'heartwood.retention.records': '400',
  'retention.ms': '3600000'
}
const FEW = 20

export const TOPICS: Readonly<Record<string, TopicRules>> = {
  events: {
    configs: { ...SMALL, 'heartwood.durability': 'batch' },
    isCompacted: false,
    retained: 400,
    atRiskInMemory: 0,
    atRiskOnDisk: 0,
    does: { producer: 'idempotent' }
  },
  ledger: {
    configs: { ...SMALL, 'heartwood.durability': 'batch' },
    isCompacted: false,
    retained: 400,
    atRiskInMemory: 0,
    atRiskOnDisk: 0,
    does: { producer: 'transactional' }
  },
  metrics: {
    configs: { ...SMALL, 'heartwood.durability': 'interval', 'flush.messages': String(FEW), 'flush.ms': '50' },
    isCompacted: false,
    retained: 400,
    atRiskInMemory: 0,
    atRiskOnDisk: 2 * FEW,
    does: { trims: true }
  },
  traces: {
    configs: { ...SMALL, 'heartwood.durability': 'none' },
    isCompacted: false,
    retained: 400,
    atRiskInMemory: 0,
    atRiskOnDisk: undefined,
    does: { asks: true, cuts: true }
  },
  clicks: {
    configs: { ...SMALL, 'heartwood.durability': 'buffered', 'flush.messages': String(FEW), 'flush.ms': '30' },
    isCompacted: false,
    retained: 400,
    atRiskInMemory: 2 * FEW,
    keepsRefused: true,
    atRiskOnDisk: undefined,
    does: { asks: true }
  },
  table: {
    configs: {
      'segment.bytes': '2000',
      'file.delete.delay.ms': '20',
      'heartwood.durability': 'batch',
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0.3'
    },
    isCompacted: true,
    retained: undefined,
    atRiskInMemory: 0,
    atRiskOnDisk: 0,
    does: {}
  }
}
