import fc from 'fast-check'
import { test } from 'tap'
import { formatProducerSnapshot, parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { ProducerStateManager } from '../../lib/log/producer-state.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { dataBatch, markerBatch } from '../helpers/producer-batches.ts'

/*
 * The producer state against a model that keeps everything that was ever written and answers by looking through it.
 */

type Written =
  | { kind: 'data'; id: number; epoch: number; first: number; count: number; offset: number; transactional: boolean }
  | { kind: 'marker'; id: number; epoch: number; coordinator: number; abort: boolean; offset: number }

const CYCLE = 2 ** 31
const plus = (sequence: number, count: number): number => (sequence + count) % CYCLE

class Model {
  readonly log: Written[] = []
  end = 0

  of(id: number): Written[] {
    return this.log.filter(item => item.id === id)
  }

  epoch(id: number): number | undefined {
    return this.of(id).at(-1)?.epoch
  }

  /** Data since the last change of epoch. */
  batches(id: number): Extract<Written, { kind: 'data' }>[] {
    const own = this.of(id)
    const epoch = this.epoch(id)
    const from = own.findLastIndex(item => item.epoch !== epoch) + 1
    return own.slice(from).filter(item => item.kind === 'data')
  }

  /** First offset of the transaction that is open. */
  open(id: number): number | undefined {
    const own = this.of(id)
    const from = own.findLastIndex(item => item.kind === 'marker') + 1
    return own.slice(from).find(item => item.kind === 'data' && item.transactional)?.offset
  }

  judge(id: number, epoch: number, first: number, count: number, transactional: boolean): string {
    const known = this.epoch(id)
    if (known === undefined) return 'accept'
    const batches = this.batches(id)
    if (epoch === known) {
      const original = batches.slice(-5).find(b => b.first === first && b.count === count)
      if (original !== undefined) return `duplicate ${original.offset}`
    }
    if (epoch < known) return 'INVALID_PRODUCER_EPOCH'
    const last = batches.at(-1)
    const expected = epoch > known || last === undefined ? 0 : plus(last.first, last.count)
    if (first !== expected) return 'OUT_OF_ORDER_SEQUENCE'
    return this.open(id) !== undefined && !transactional ? 'INVALID_TXN_STATE' : 'accept'
  }

  judgeMarker(id: number, epoch: number, coordinator: number): string {
    if (epoch < (this.epoch(id) ?? -1)) return 'INVALID_PRODUCER_EPOCH'
    const last = this.of(id).findLast(item => item.kind === 'marker')
    return last?.kind === 'marker' && coordinator < last.coordinator ? 'TRANSACTION_COORDINATOR_FENCED' : 'accept'
  }

  ids(): number[] {
    return [...new Set(this.log.map(item => item.id))]
  }

  opens(): { producerId: number; firstOffset: number }[] {
    return this.ids()
      .flatMap(producerId => {
        const firstOffset = this.open(producerId)
        return firstOffset === undefined ? [] : [{ producerId, firstOffset }]
      })
      .sort((one, other) => one.firstOffset - other.firstOffset)
  }

  /** Every transaction that was ever completed. */
  completed(): { id: number; first: number; marker: number }[] {
    return this.log.flatMap((item, at) => {
      if (item.kind !== 'marker') return []
      const before = new Model()
      before.log.push(...this.log.slice(0, at))
      const first = before.open(item.id)
      return first === undefined ? [] : [{ id: item.id, first, marker: item.offset }]
    })
  }

  /** @param seen - the largest high watermark so far. */
  lastStableOffset(highWatermark: number, seen: number): number {
    const pending = this.completed().filter(({ marker }) => marker >= seen)
    const firsts = [...this.opens().map(o => o.firstOffset), ...pending.map(p => p.first), highWatermark]
    return Math.min(...firsts)
  }
}

const id = fc.integer({ min: 1, max: 3 })
const epoch = fc.integer({ min: 0, max: 2 })
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('data' as const),
      id,
      // Mostly what continues, else a repeat of an earlier batch, else anything.
      how: fc.constantFrom('next', 'next', 'next', 'repeat', 'any'),
      back: fc.integer({ min: 1, max: 7 }),
      sequence: fc.constantFrom(0, 1, 2, CYCLE - 1, CYCLE - 2),
      count: fc.integer({ min: 1, max: 4 }),
      newer: fc.constantFrom(0, 0, 0, 0, 1, -1),
      transactional: fc.boolean()
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('marker' as const),
      id,
      epoch,
      coordinator: fc.integer({ min: 0, max: 2 }),
      abort: fc.boolean()
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('watermark' as const), behind: fc.integer({ min: 0, max: 9 }) })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reload' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clone' as const) }) }
)

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

/** The answer in the model's words. */
function ask(check: () => { kind: string; baseOffset?: number }): string {
  try {
    const answer = check()
    return answer.kind === 'duplicate' ? `duplicate ${answer.baseOffset}` : answer.kind
  } catch (error) {
    if (isLogError(error)) return error.code
    throw error
  }
}

class Run {
  readonly model = new Model()
  state = new ProducerStateManager()
  watermark = 0
  /** Since a snapshot keeps one batch of each producer, a repeat of an older one is then a gap. */
  reloadedAt = 0

  step(op: Operation): string | undefined {
    switch (op.kind) {
      case 'data':
        return this.#data(op)
      case 'marker':
        return this.#marker(op)
      case 'watermark':
        this.watermark = Math.max(this.watermark, this.model.end - op.behind)
        this.state.onHighWatermark(this.watermark)
        return undefined
      case 'clone':
        this.state = this.state.clone()
        return undefined
      case 'reload':
        // A log is loaded with everything in it below the high watermark.
        this.watermark = this.model.end
        this.reloadedAt = this.model.log.length
        this.state = new ProducerStateManager(
          parseProducerSnapshot(formatProducerSnapshot(this.state.entries.values())),
          this.model.end
        )
        return undefined
    }
  }

  #data(op: Extract<Operation, { kind: 'data' }>): string | undefined {
    const batches = this.model.batches(op.id)
    const last = batches.at(-1)
    const old = batches.at(-op.back)
    let { count } = op
    let first = last === undefined ? 0 : plus(last.first, last.count)
    if (op.how === 'any') first = op.sequence
    if (op.how === 'repeat' && old !== undefined) {
      first = old.first
      count = old.count
      // What the snapshot has dropped is not asked for: the model remembers more.
      if (this.model.log.indexOf(old) < this.reloadedAt && op.back !== 1) return undefined
    }
    const next = Math.max(0, (this.model.epoch(op.id) ?? 0) + op.newer)
    const fields = { producerId: op.id, epoch: next, sequence: first, count, transactional: op.transactional }
    const expected = this.model.judge(op.id, next, first, count, op.transactional)
    const forgotten = expected.startsWith('duplicate') && this.#isForgotten(op.id, first, count)
    const found = ask(() => this.state.check(dataBatch(fields), 'client'))
    if (forgotten) return undefined
    if (found !== expected) return `data ${JSON.stringify(fields)}: ${found} instead of ${expected}`
    if (expected !== 'accept') return undefined
    const offset = this.model.end
    this.state.apply(dataBatch({ ...fields, offset }))
    this.model.log.push({ kind: 'data', id: op.id, epoch: next, first, count, offset, transactional: op.transactional })
    this.model.end += count
    return undefined
  }

  #isForgotten(producerId: number, first: number, count: number): boolean {
    const batches = this.model.batches(producerId)
    const original = batches.slice(-5).find(b => b.first === first && b.count === count)
    if (original === undefined || this.model.log.indexOf(original) >= this.reloadedAt) return false
    const keptBySnapshot = batches.filter(b => this.model.log.indexOf(b) < this.reloadedAt).at(-1)
    return original !== keptBySnapshot
  }

  #marker(op: Extract<Operation, { kind: 'marker' }>): string | undefined {
    const offset = this.model.end
    const fields = { producerId: op.id, epoch: op.epoch, coordinatorEpoch: op.coordinator, offset }
    const batch = markerBatch({ ...fields, type: op.abort ? 'abort' : 'commit' })
    const expected = this.model.judgeMarker(op.id, op.epoch, op.coordinator)
    const found = ask(() => this.state.check(batch, 'coordinator'))
    if (found !== expected) return `marker ${JSON.stringify(fields)}: ${found} instead of ${expected}`
    if (expected !== 'accept') return undefined
    const first = this.model.open(op.id)
    const completed = this.state.apply(batch)
    this.model.log.push({
      kind: 'marker',
      id: op.id,
      epoch: op.epoch,
      coordinator: op.coordinator,
      abort: op.abort,
      offset
    })
    this.model.end += 1
    if (completed?.firstOffset !== first) return `marker at ${offset} ends ${completed?.firstOffset}, not ${first}`
    if (completed === undefined) return undefined
    const stable = this.model.opens()[0]?.firstOffset ?? offset + 1
    if (completed.lastStableOffset !== stable) return `stable ${completed.lastStableOffset}, not ${stable}`
    return completed.aborted === op.abort ? undefined : 'the wrong decision'
  }

  agrees(): string | undefined {
    const opens = JSON.stringify(this.model.opens())
    const found = JSON.stringify(this.state.ongoingTransactions)
    if (opens !== found) return `open: ${found} instead of ${opens}`
    if (this.state.mapEndOffset !== this.model.end) return 'the end'
    for (const highWatermark of [this.watermark, this.model.end]) {
      const expected = this.model.lastStableOffset(highWatermark, this.watermark)
      const stable = this.state.lastStableOffset(highWatermark)
      if (stable !== expected) return `stable at ${highWatermark}: ${stable} instead of ${expected}`
    }
    return undefined
  }
}

test('the producer state answers as one that remembers everything', async t => {
  let accepted = 0
  fc.assert(
    fc.property(fc.array(operation, { minLength: 15, maxLength: 60 }), operations => {
      const run = new Run()
      for (const op of operations) {
        const wrong = run.step(op) ?? run.agrees()
        if (wrong !== undefined) throw new Error(wrong)
      }
      accepted += run.model.log.length
    }),
    { numRuns: 600 }
  )
  t.ok(accepted > 4_000, `${accepted} batches were accepted on the way`)
})
