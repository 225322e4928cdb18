import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { LeaderEpochs } from '../../lib/log/leader-epochs.ts'
import type { ProducerEntry } from '../../lib/log/producer-entry.ts'
import { parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { ProducerStateManager } from '../../lib/log/producer-state.ts'
import { TransactionIndex } from '../../lib/segment/transaction-index.ts'
import {
  type GoldenPartition,
  goldenBatches,
  goldenExpectation,
  goldenFile,
  goldenPartitions
} from '../helpers/golden.ts'

/** The golden brokers ran after this day, the records of most topics say 2023. */
const BROKERS_CLOCK = Date.UTC(2026, 0, 1)
const DAY_MS = 86_400_000

/** What a snapshot keeps: of the last batch not its own timestamp, which a marker may have overtaken. */
function kept(entry: ProducerEntry): unknown {
  const { producerId, epoch, lastTimestamp, coordinatorEpoch, currentTxnFirstOffset, lastBatch } = entry
  const last = lastBatch && [
    lastBatch.firstSequence,
    lastBatch.lastSequence,
    lastBatch.firstOffset,
    lastBatch.lastOffset
  ]
  return { producerId, epoch, lastTimestamp, coordinatorEpoch, currentTxnFirstOffset, last }
}

function snapshotAt(partition: GoldenPartition, offset: number): ProducerEntry[] | undefined {
  const bytes = goldenFile(partition, offset, '.snapshot')
  return bytes && parseProducerSnapshot(bytes)
}

/** Replays the whole log; calls back before each segment and at the end. */
function replay(
  partition: GoldenPartition,
  visit: { at?: (state: ProducerStateManager) => void; aborted?: (base: number, index: TransactionIndex) => void }
): ProducerStateManager {
  const first = partition.bases[0] as number
  const state = new ProducerStateManager(first === 0 ? [] : snapshotAt(partition, first), first)
  for (const base of partition.bases) {
    visit.at?.(state)
    const index = new TransactionIndex(base)
    for (const batch of goldenBatches(partition, base)) {
      const completed = state.apply(batch)
      const aborted = completed && state.completeTransaction(completed)
      if (aborted !== undefined) index.append(aborted)
    }
    visit.aborted?.(base, index)
  }
  visit.at?.(state)
  return state
}

test('replaying a log of Kafka’s gives the producer state of each of its snapshots', async t => {
  let count = 0
  for (const partition of goldenPartitions()) {
    const { version, name } = partition
    const at = (state: ProducerStateManager): void => {
      const expected = snapshotAt(partition, state.mapEndOffset)
      if (expected === undefined) return
      count += 1
      const found = state.clone()
      // A broker that was killed drops expired ids when it loads, and takes its snapshots after that.
      const missing = [...state.entries.keys()].filter(id => !expected.some(entry => entry.producerId === id))
      if (missing.length > 0) found.removeExpired(BROKERS_CLOCK, DAY_MS)
      for (const id of missing) t.notOk(found.entries.has(id), `${version} ${name}: producer ${id} may be forgotten`)
      for (const entry of expected) {
        const ours = state.entries.get(entry.producerId)
        t.strictSame(ours && kept(ours), kept(entry), `${version} ${name} at ${state.mapEndOffset}`)
      }
    }
    replay(partition, { at })
  }
  t.ok(count > 100, `${count} snapshots`)
})

test('the aborted transactions of a replay are the bytes of Kafka’s transaction indexes', async t => {
  let entries = 0
  for (const partition of goldenPartitions()) {
    replay(partition, {
      aborted: (base, index) => {
        const expected = goldenFile(partition, base, '.txnindex')
        if (expected === undefined) t.equal(index.entryCount, 0, `${partition.version} ${partition.name} ${base}`)
        else t.strictSame(index.bytes(), expected, `${partition.version} ${partition.name} ${base}`)
        entries += index.entryCount
      }
    })
  }
  t.ok(entries > 30, `${entries} aborted transactions`)
})

test('the last stable offset is the one the broker told', async t => {
  for (const partition of goldenPartitions()) {
    const expected = goldenExpectation(partition)
    if (expected === undefined) continue
    const state = replay(partition, {})
    const { highWatermark, lastStableOffset } = expected
    t.equal(state.mapEndOffset, highWatermark, `${partition.version} ${partition.name}`)
    state.onHighWatermark(highWatermark)
    t.equal(state.lastStableOffset(highWatermark), lastStableOffset, `${partition.version} ${partition.name}`)
  }
})

test('state loaded from a snapshot goes on as the state that was replayed from the beginning', async t => {
  for (const partition of goldenPartitions()) {
    const end = replay(partition, {})
    for (const base of partition.bases.slice(1)) {
      const entries = snapshotAt(partition, base)
      if (entries === undefined) continue
      const state = new ProducerStateManager(entries, base)
      for (const other of partition.bases.filter(b => b >= base)) {
        for (const batch of goldenBatches(partition, other)) state.apply(batch)
      }
      t.strictSame(state.ongoingTransactions, end.ongoingTransactions)
      for (const [id, entry] of state.entries) {
        const other = end.entries.get(id)
        t.strictSame(kept(entry), other && kept(other), `${partition.version} ${partition.name} from ${base}`)
      }
    }
  }
})

test('the epochs of the batches are those of Kafka’s checkpoint, but for the entry that its last restart added', async t => {
  const unused = undefined as never
  for (const partition of goldenPartitions()) {
    const epochs = new LeaderEpochs(unused, partition.dir)
    let end = partition.bases[0] as number
    for (const base of partition.bases) {
      for (const batch of goldenBatches(partition, base)) {
        epochs.assign(batch.partitionLeaderEpoch, batch.baseOffset)
        end = batch.nextOffset
      }
    }
    epochs.truncateFromStart(goldenExpectation(partition)?.logStartOffset ?? 0)
    const lines = readFileSync(join(partition.dir, 'leader-epoch-checkpoint'), 'utf8').trim().split('\n').slice(2)
    const expected = lines
      .map(line => line.split(' ').map(Number) as [number, number])
      .filter(([, startOffset]) => startOffset < end)
    t.strictSame(
      epochs.entries.map(({ epoch, startOffset }) => [epoch, startOffset]),
      expected,
      `${partition.version} ${partition.name}`
    )
  }
})
