import { test } from 'tap'
import { formatProducerSnapshot, parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { ProducerStateManager } from '../../lib/log/producer-state.ts'
import { type DataFields, dataBatch, type MarkerFields, markerBatch } from '../helpers/producer-batches.ts'

/** A log of its own offsets: checks as a client or coordinator would be checked, then applies. */
class Log {
  state = new ProducerStateManager()

  data(fields: DataFields): string | number {
    const judged = this.state.check(dataBatch(fields), 'client')
    if (judged.kind === 'duplicate') return `duplicate of ${judged.baseOffset} to ${judged.lastOffset}`
    const offset = this.state.mapEndOffset
    this.state.apply(dataBatch({ ...fields, offset }))
    return offset
  }

  marker(fields: MarkerFields) {
    const batch = markerBatch({ ...fields, offset: this.state.mapEndOffset })
    this.state.check(batch, 'coordinator')
    return this.state.apply(batch)
  }
}

test('batches without a producer id are taken as they come and move nothing but the end', async t => {
  const log = new Log()
  t.equal(log.data({ count: 3 }), 0)
  t.equal(log.data({ count: 3 }), 3)
  t.equal(log.state.mapEndOffset, 6)
  t.equal(log.state.entries.size, 0)
  log.state.advanceTo(9)
  t.equal(log.state.mapEndOffset, 9)
})

test('a repeat of one of the last five batches is answered with the offsets of the original', async t => {
  const log = new Log()
  for (let i = 0; i < 6; i += 1) log.data({ producerId: 7, sequence: i * 2, count: 2, timestamp: 100 + i })
  for (let i = 1; i < 6; i += 1) {
    t.strictSame(log.state.check(dataBatch({ producerId: 7, sequence: i * 2, count: 2 }), 'client'), {
      kind: 'duplicate',
      baseOffset: i * 2,
      lastOffset: i * 2 + 1,
      timestamp: 100 + i
    })
  }
  // The sixth last is forgotten, so that it looks like a gap: Kafka's answer, and the client treats it as such.
  t.throws(() => log.data({ producerId: 7, sequence: 0, count: 2 }), {
    code: 'OUT_OF_ORDER_SEQUENCE',
    details: { producerId: 7, expected: 12, got: 0 }
  })
  t.equal(log.state.mapEndOffset, 12)
})

test('a repeat must have the very same sequences: a part of a batch is none', async t => {
  const log = new Log()
  log.data({ producerId: 7, sequence: 0, count: 4 })
  t.throws(() => log.data({ producerId: 7, sequence: 0, count: 3 }), { code: 'OUT_OF_ORDER_SEQUENCE' })
  t.throws(() => log.data({ producerId: 7, sequence: 1, count: 3 }), { code: 'OUT_OF_ORDER_SEQUENCE' })
})

test('a gap is refused with what was expected, and leaves the state as it was', async t => {
  const log = new Log()
  log.data({ producerId: 7, sequence: 0, count: 5 })
  const error = { code: 'OUT_OF_ORDER_SEQUENCE', details: { producerId: 7, expected: 5, got: 6 } }
  t.throws(() => log.data({ producerId: 7, sequence: 6 }), error)
  t.equal(log.data({ producerId: 7, sequence: 5 }), 5)
})

test('a producer that is not known may begin with any sequence', async t => {
  // Its state may have gone with retention or expiry; refusing would stop it for good.
  const log = new Log()
  t.equal(log.data({ producerId: 7, sequence: 1234 }), 0)
  t.equal(log.data({ producerId: 7, sequence: 1235 }), 1)
})

test('sequences wrap from 2^31 - 1 to 0, within a batch and between two', async t => {
  const last = 2 ** 31 - 1
  const log = new Log()
  log.data({ producerId: 7, sequence: last - 1, count: 2 })
  t.equal(log.data({ producerId: 7, sequence: 0, count: 2 }), 2, 'between two')
  t.equal(log.data({ producerId: 7, sequence: 0, count: 2 }), 'duplicate of 2 to 3')

  const other = new Log()
  other.data({ producerId: 8, sequence: last - 1, count: 5 })
  const [batch] = other.state.entries.get(8)?.batches ?? []
  t.match(batch, { firstSequence: last - 1, lastSequence: 2, firstOffset: 0, lastOffset: 4 }, 'within one')
  t.equal(other.data({ producerId: 8, sequence: last - 1, count: 5 }), 'duplicate of 0 to 4')
  t.throws(() => other.data({ producerId: 8, sequence: 2 }), {
    code: 'OUT_OF_ORDER_SEQUENCE',
    details: { expected: 3, got: 2 }
  })
  t.equal(other.data({ producerId: 8, sequence: 3 }), 5)
})

test('a new epoch begins at sequence 0 and forgets the batches of the old one', async t => {
  const log = new Log()
  log.data({ producerId: 7, sequence: 0, count: 3 })
  t.throws(() => log.data({ producerId: 7, epoch: 1, sequence: 3 }), {
    code: 'OUT_OF_ORDER_SEQUENCE',
    details: { producerId: 7, epoch: 1, expected: 0, got: 3 }
  })
  t.equal(log.data({ producerId: 7, epoch: 1, sequence: 0, count: 3 }), 3, 'no duplicate: another epoch')
  t.equal(log.state.entries.get(7)?.batchCount, 1)
})

test('an old epoch is refused', async t => {
  const log = new Log()
  log.data({ producerId: 7, epoch: 3, sequence: 0 })
  t.throws(() => log.data({ producerId: 7, epoch: 2, sequence: 0 }), {
    code: 'INVALID_PRODUCER_EPOCH',
    details: { producerId: 7, epoch: 2, known: 3 }
  })
})

test('an entry without an epoch accepts anything', async t => {
  const log = new Log()
  log.state.apply(dataBatch({ producerId: 7, epoch: -1, sequence: 5 }))
  t.doesNotThrow(() => log.data({ producerId: 7, epoch: 0, sequence: 77 }))
})

test('what another replica has taken is taken here, whatever it looks like', async t => {
  const { state } = new Log()
  const batches = [
    dataBatch({ producerId: 7, epoch: 3, sequence: 0, offset: 0 }),
    dataBatch({ producerId: 7, epoch: 3, sequence: 9, offset: 1 }),
    dataBatch({ producerId: 7, epoch: 1, sequence: 4, offset: 2 }),
    markerBatch({ type: 'abort', producerId: 7, epoch: 0, offset: 3 })
  ]
  for (const batch of batches) {
    t.strictSame(state.check(batch, 'replica'), { kind: 'accept' })
    t.doesNotThrow(() => state.apply(batch))
  }
  t.match(state.entries.get(7), { epoch: 0, batchCount: 0 })
})

test('the batches of one group are checked against each other before any of them is written', async t => {
  const { state } = new Log()
  const before = state.clone()
  const first = dataBatch({ producerId: 7, sequence: 0, count: 2, offset: 0 })
  const second = dataBatch({ producerId: 7, sequence: 2, count: 2, offset: 2, transactional: true })
  for (const batch of [first, second]) {
    t.equal(state.check(batch, 'client').kind, 'accept')
    state.apply(batch)
  }
  t.equal(state.check(first, 'client').kind, 'duplicate')
  // If the write fails the owner goes back to the copy, which has seen nothing.
  t.equal(before.entries.size, 0)
  t.equal(before.firstUnstableOffset, undefined)
  t.equal(before.check(first, 'client').kind, 'accept')
})

test('an open transaction holds the last stable offset back until its marker is below the high watermark', async t => {
  const { state } = new Log()
  const log = new Log()
  log.state = state
  log.data({ count: 5 })
  log.data({ producerId: 7, sequence: 0, count: 5, transactional: true })
  t.strictSame(state.ongoingTransactions, [{ producerId: 7, firstOffset: 5 }])
  t.equal(state.lastStableOffset(10), 5)
  t.equal(state.lastStableOffset(5), 5)
  t.equal(state.lastStableOffset(3), 3, 'never above the high watermark')
  t.strictSame(log.marker({ type: 'commit', producerId: 7 }), {
    producerId: 7,
    firstOffset: 5,
    lastOffset: 10,
    aborted: false,
    lastStableOffset: 11
  })
  t.strictSame(state.ongoingTransactions, [])
  t.equal(state.lastStableOffset(10), 5, 'the marker at 10 is not yet replicated')
  state.onHighWatermark(10)
  t.equal(state.firstUnstableOffset, 5)
  state.onHighWatermark(11)
  t.equal(state.firstUnstableOffset, undefined)
  t.equal(state.lastStableOffset(11), 11)
})

test('an abort goes into the transaction index with the first offset of the next open transaction', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, count: 2, transactional: true }) // 0
  log.data({ producerId: 2, sequence: 0, count: 2, transactional: true }) // 2
  log.data({ producerId: 3, sequence: 0, count: 2, transactional: true }) // 4
  const second = log.marker({ type: 'abort', producerId: 2 }) // 6
  t.match(second, { firstOffset: 2, lastOffset: 6, aborted: true, lastStableOffset: 0 })
  const first = log.marker({ type: 'abort', producerId: 1 }) // 7
  t.match(first, { firstOffset: 0, lastOffset: 7, lastStableOffset: 4 })
  const third = log.marker({ type: 'commit', producerId: 3 }) // 8
  t.match(third, { lastStableOffset: 9 })
  t.strictSame(first && log.state.completeTransaction(first), {
    producerId: 1,
    firstOffset: 0,
    lastOffset: 7,
    lastStableOffset: 4
  })
  t.equal(third && log.state.completeTransaction(third), undefined, 'a commit has no entry')
  t.equal(log.state.firstUnstableOffset, 0)
  log.state.onHighWatermark(8)
  t.equal(log.state.firstUnstableOffset, 4, 'the first two are settled')
})

test('a transaction may begin again behind its marker', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, transactional: true })
  log.marker({ type: 'commit', producerId: 1 })
  log.data({ producerId: 1, sequence: 1, transactional: true })
  t.strictSame(log.state.ongoingTransactions, [{ producerId: 1, firstOffset: 2 }])
  t.equal(log.state.lastStableOffset(3), 0)
  log.state.onHighWatermark(3)
  t.equal(log.state.lastStableOffset(3), 2)
})

test('a batch outside a transaction is refused while its producer has one open', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, transactional: true })
  t.throws(() => log.data({ producerId: 1, sequence: 1 }), {
    code: 'INVALID_TXN_STATE',
    details: { producerId: 1, currentTxnFirstOffset: 0 }
  })
  log.marker({ type: 'abort', producerId: 1 })
  t.equal(log.data({ producerId: 1, sequence: 1 }), 2)
})

test('a marker without an open transaction is written and decides nothing', async t => {
  const log = new Log()
  t.equal(log.marker({ type: 'abort', producerId: 9, epoch: 4, coordinatorEpoch: 2, timestamp: 77 }), undefined)
  t.match(log.state.entries.get(9), { epoch: 4, coordinatorEpoch: 2, lastTimestamp: 77, batchCount: 0 })
  t.equal(log.state.mapEndOffset, 1)
  t.equal(log.state.firstUnstableOffset, undefined)
})

test('a marker of a newer epoch fences the producer and begins its sequences anew', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, count: 3, transactional: true })
  log.marker({ type: 'abort', producerId: 1, epoch: 1 })
  t.throws(() => log.data({ producerId: 1, epoch: 0, sequence: 3 }), { code: 'INVALID_PRODUCER_EPOCH' })
  t.throws(() => log.data({ producerId: 1, epoch: 1, sequence: 3 }), {
    code: 'OUT_OF_ORDER_SEQUENCE',
    details: { expected: 0, got: 3 }
  })
  t.equal(log.data({ producerId: 1, epoch: 1, sequence: 0 }), 4)
})

test('a marker of an old producer epoch or of an old coordinator is refused', async t => {
  const log = new Log()
  log.data({ producerId: 1, epoch: 2, sequence: 0, transactional: true })
  t.throws(() => log.marker({ type: 'commit', producerId: 1, epoch: 1 }), { code: 'INVALID_PRODUCER_EPOCH' })
  log.marker({ type: 'commit', producerId: 1, epoch: 2, coordinatorEpoch: 5 })
  t.throws(() => log.marker({ type: 'commit', producerId: 1, epoch: 2, coordinatorEpoch: 4 }), {
    code: 'TRANSACTION_COORDINATOR_FENCED',
    details: { producerId: 1, coordinatorEpoch: 4, known: 5 }
  })
  t.doesNotThrow(() => log.marker({ type: 'commit', producerId: 1, epoch: 2, coordinatorEpoch: 5 }))
})

test('a client may not write markers, and a coordinator nothing that is none', async t => {
  const { state } = new Log()
  t.throws(() => state.check(markerBatch({ type: 'commit', producerId: 1 }), 'client'), { code: 'INVALID_RECORD' })
  const empty = { ...dataBatch({ producerId: 1 }), isControl: true, records: () => ({ next: () => false }) }
  t.throws(() => state.check(empty as never, 'coordinator'), { code: 'INVALID_RECORD' })
  t.throws(() => state.check({ ...empty, hasProducerId: false } as never, 'coordinator'), { code: 'INVALID_RECORD' })
  // Compaction leaves such a batch behind once its transaction is gone.
  t.equal(state.apply(empty as never), undefined)
  t.equal(state.entries.size, 0)
})

test('a marker that cannot be read decides nothing, and does not keep the log from being loaded', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, transactional: true })
  const marker = markerBatch({ type: 'abort', producerId: 1, offset: 1 })
  marker.bytes.writeInt8(5, 61) // the record's length
  t.throws(() => log.state.check(marker, 'coordinator'), { code: 'INVALID_RECORD' })
  t.equal(log.state.apply(marker), undefined)
  t.strictSame(log.state.ongoingTransactions, [{ producerId: 1, firstOffset: 0 }])
  const defect = { ...dataBatch({ producerId: 1 }), isControl: true }
  t.throws(() => log.state.apply(defect), /none of the producer state/, 'a defect is no damage')
})

test('a producer id beyond 2^53 is kept exactly, but has no transactions', async t => {
  const log = new Log()
  const producerId = 2n ** 53n + 1n // as a number it would be 2^53
  log.data({ producerId, sequence: 0 })
  log.data({ producerId: producerId - 1n, sequence: 5 })
  t.equal(log.data({ producerId, sequence: 0 }), 'duplicate of 0 to 0')
  t.throws(() => log.data({ producerId, sequence: 9 }), { code: 'OUT_OF_ORDER_SEQUENCE', details: { producerId } })
  t.throws(() => log.data({ producerId, sequence: 1, transactional: true }), { code: 'CORRUPT_MESSAGE' })
  const [entry] = parseProducerSnapshot(formatProducerSnapshot(log.state.entries.values()))
  t.match(entry, { producerId, nextSequence: 1 })
  if (entry !== undefined) entry.currentTxnFirstOffset = 0
  const impossible = formatProducerSnapshot(entry === undefined ? [] : [entry])
  t.throws(() => parseProducerSnapshot(impossible), { code: 'CORRUPT_FILE' })
})

test('silent producers are forgotten, those with an open transaction never', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, timestamp: 1_000 })
  log.data({ producerId: 2, sequence: 0, timestamp: 2_000 })
  log.data({ producerId: 3, sequence: 0, timestamp: 1_000, transactional: true })
  log.data({ producerId: 4, sequence: 0, timestamp: -1 })
  t.equal(log.state.removeExpired(5_999, 5_000), 1, 'who never gave a time is as old as can be')
  t.strictSame([...log.state.entries.keys()], [1, 2, 3])
  t.equal(log.state.removeExpired(6_000, 5_000), 1)
  t.strictSame([...log.state.entries.keys()], [2, 3])
  t.equal(log.state.removeExpired(1e15, 5_000), 1)
  t.strictSame([...log.state.entries.keys()], [3])
  t.equal(log.state.firstUnstableOffset, 2)
})

test('transactions decided below a raised log start offset are settled', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, transactional: true })
  log.marker({ type: 'abort', producerId: 1 })
  log.state.onLogStartOffset(2)
  t.equal(log.state.firstUnstableOffset, undefined)
  t.equal(log.state.mapEndOffset, 2)
  log.state.onLogStartOffset(10)
  t.equal(log.state.mapEndOffset, 10, 'the log may begin behind what was seen of it')
})

test('a copy goes its own way', async t => {
  const log = new Log()
  log.data({ producerId: 1, sequence: 0, transactional: true })
  log.data({ producerId: 2, sequence: 0, count: 2 })
  const copy = log.state.clone()
  t.equal(copy.mapEndOffset, 3)
  t.strictSame(copy.entries.get(2)?.batches, log.state.entries.get(2)?.batches)
  log.data({ producerId: 2, sequence: 2 })
  log.marker({ type: 'commit', producerId: 1 })
  t.equal(copy.entries.get(2)?.nextSequence, 2)
  t.strictSame(copy.ongoingTransactions, [{ producerId: 1, firstOffset: 0 }])
  t.equal(copy.entries.get(1)?.currentTxnFirstOffset, 0)
})

test('state from a snapshot has its open transactions in order of their first offsets', async t => {
  const log = new Log()
  for (const producerId of [5, 3, 4]) log.data({ producerId, sequence: 0, transactional: true })
  const entries = [...log.state.entries.values()].reverse()
  const loaded = new ProducerStateManager(entries, 3)
  t.strictSame(loaded.ongoingTransactions, log.state.ongoingTransactions)
  t.equal(loaded.firstUnstableOffset, 0)
  t.equal(loaded.mapEndOffset, 3)
})
