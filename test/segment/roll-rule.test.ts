import t from 'tap'
import { type RollState, rollCause } from '../../lib/segment/roll-rule.ts'
import type { SegmentConfig } from '../../lib/segment/segment-types.ts'

const config: SegmentConfig = {
  segmentBytes: 1000,
  segmentMs: 5000,
  segmentJitterMs: 0,
  indexBytes: 800,
  indexIntervalBytes: 4096,
  preallocate: false
}
const state: RollState = {
  baseOffset: 100,
  size: 600,
  createdAt: 1_000_000,
  firstTimestamp: 20_000,
  jitter: 0,
  indexRoom: 10
}
const batch = { size: 400, maxTimestamp: 21_000, lastOffset: 150 }
const now = 1_000_000

t.test('a batch that just fits does not roll, one byte more does', async t => {
  t.equal(rollCause(state, batch, now, config), undefined)
  t.equal(rollCause(state, { ...batch, size: 401 }, now, config), 'size')
})

t.test('time is measured from the first batch to the next one, whatever the clock says', async t => {
  t.equal(rollCause(state, { ...batch, maxTimestamp: 25_000 }, now + 1e9, config), undefined)
  t.equal(rollCause(state, { ...batch, maxTimestamp: 25_001 }, now, config), 'time')
})

t.test('without timestamps the age of the segment counts', async t => {
  const timeless = { ...state, firstTimestamp: undefined }
  t.equal(rollCause(timeless, { ...batch, maxTimestamp: -1 }, now + 5000, config), undefined)
  t.equal(rollCause(timeless, { ...batch, maxTimestamp: -1 }, now + 5001, config), 'time')
})

t.test('an empty segment does not roll by time', async t => {
  const empty = { ...state, size: 0, firstTimestamp: undefined }
  t.equal(rollCause(empty, batch, now + 1e12, config), undefined)
})

t.test('jitter brings a roll forward, by at most the segment time', async t => {
  const jittered = { ...config, segmentJitterMs: 1000 }
  t.equal(rollCause({ ...state, jitter: 0.5 }, { ...batch, maxTimestamp: 24_500 }, now, jittered), undefined)
  t.equal(rollCause({ ...state, jitter: 0.5 }, { ...batch, maxTimestamp: 24_501 }, now, jittered), 'time')
  const huge = { ...config, segmentJitterMs: Number.MAX_SAFE_INTEGER }
  t.equal(rollCause({ ...state, jitter: 0.999 }, { ...batch, maxTimestamp: 20_005 }, now, huge), undefined)
})

t.test('a compacted log rolls before the cleaner must have seen its records', async t => {
  const lagging = { ...config, maxCompactionLagMs: 2000 }
  const late = { ...batch, maxTimestamp: 22_001 }
  t.equal(rollCause(state, late, now, lagging), undefined)
  t.equal(rollCause(state, late, now, { ...lagging, cleanupPolicy: ['compact'] }), 'time')
})

t.test('a full index rolls', async t => {
  t.equal(rollCause({ ...state, indexRoom: 0 }, batch, now, config), 'index-full')
})

t.test('an offset that 32 bits cannot hold from the base on rolls', async t => {
  t.equal(rollCause(state, { ...batch, lastOffset: 100 + 2 ** 31 - 1 }, now, config), undefined)
  t.equal(rollCause(state, { ...batch, lastOffset: 100 + 2 ** 31 }, now, config), 'offset-overflow')
})
