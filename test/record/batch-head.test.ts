import t, { type Test } from 'tap'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchHead } from '../../lib/record/batch-head.ts'
import { scanBatch } from '../../lib/record/batch-scan.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { batch } from '../helpers/partition-folder.ts'

/** What the two that check field by field say of the batch at `start`. */
function slowly(bytes: Buffer, start: number): BatchView | undefined {
  if (scanBatch(bytes, start, bytes.length).kind !== 'batch') return undefined
  try {
    const view = new BatchView(bytes, start)
    return view.isSound() ? view : undefined
  } catch {
    return undefined
  }
}

/** Compares all that a head says with what a view says; true if both say that the batch is sound. */
function agree(t: Test, bytes: Buffer, start: number, what: string): boolean {
  const head = new BatchHead()
  head.lieIn(bytes)
  const isSound = head.take(start) && head.hasRightCrc()
  const view = slowly(bytes, start)
  t.equal(isSound, view !== undefined, what)
  if (view === undefined) return false
  const { size, baseOffset, lastOffset, crc, partitionLeaderEpoch, maxTimestampExact, hasProducerId } = view
  t.same(
    [head.size, head.baseOffset, head.lastOffset, head.crc, head.leaderEpoch, head.hasProducerId],
    [size, baseOffset, lastOffset, crc, partitionLeaderEpoch, hasProducerId],
    what
  )
  t.equal(BigInt(head.maxTimestamp), maxTimestampExact, what)
  t.equal(head.view().start, start)
  return true
}

t.test('a head takes and refuses what a view does, whichever bit of the batch is wrong', async t => {
  const front = Buffer.alloc(7, 0xff)
  const bytes = Buffer.concat([front, batch(40, { count: 3 })])
  t.ok(agree(t, bytes, front.length, 'as it was written'))
  let taken = 0
  for (let bit = front.length * 8; bit < bytes.length * 8; bit += 1) {
    const damaged = Buffer.from(bytes)
    damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
    if (agree(t, damaged, front.length, `bit ${bit}`)) taken += 1
  }
  // No checksum covers the base offset, within 2^53, and the leader epoch.
  t.ok(taken > 80 && taken < 96, `${taken} are taken`)
})

t.test('numbers that no writer writes are refused under a right checksum too', async t => {
  for (const at of [23, 57]) {
    const bytes = Buffer.from(batch(0))
    bytes.writeInt32BE(-1, at)
    updateCrc(bytes, 0)
    t.notOk(agree(t, bytes, 0, `byte ${at}`))
  }
  const far = Buffer.from(batch(0, { count: 2 }))
  far.writeBigInt64BE(2n ** 53n - 1n)
  t.notOk(agree(t, far, 0, 'a last offset beyond 2^53 - 1'))
  const exact = Buffer.from(batch(0))
  exact.writeBigInt64BE(2n ** 60n + 1n, 35)
  updateCrc(exact, 0)
  t.ok(agree(t, exact, 0, 'a timestamp that a number cannot hold'))
})

t.test('a batch that ends behind the bytes is refused, wherever they end', async t => {
  const bytes = batch(0)
  for (let length = 0; length < bytes.length; length += 1) {
    const head = new BatchHead()
    head.lieIn(bytes.subarray(0, length))
    t.notOk(head.take(0), `${length} bytes`)
  }
})
