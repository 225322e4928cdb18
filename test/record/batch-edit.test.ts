import t from 'tap'
import {
  setBaseOffset,
  setMaxTimestampAndType,
  setPartitionLeaderEpoch,
  updateCrc
} from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'

const twoBatches = () => {
  const one = encodeBatch([{ value: 'a', timestamp: 100 }], { now: 0 })
  return { bytes: Buffer.concat([one, one]), second: one.length }
}

t.test('base offset and leader epoch are set without touching the CRC', async t => {
  const { bytes, second } = twoBatches()
  const batch = new BatchView(bytes, second)
  const crc = batch.crc
  setBaseOffset(bytes, second, 2 ** 53 - 1)
  setPartitionLeaderEpoch(bytes, second, 17)
  batch.verify()
  t.equal(batch.crc, crc)
  t.equal(batch.baseOffset, 2 ** 53 - 1)
  t.equal(batch.partitionLeaderEpoch, 17)
  t.equal(new BatchView(bytes).baseOffset, 0, 'the batch before it stays')
  setPartitionLeaderEpoch(bytes, second, -1)
  t.equal(batch.partitionLeaderEpoch, -1)
  t.throws(() => setBaseOffset(bytes, second, 2 ** 53), RangeError)
})

t.test('time and its kind are set under a CRC that is computed again, if either changes', async t => {
  const { bytes, second } = twoBatches()
  const before = Buffer.from(bytes)
  setMaxTimestampAndType(bytes, second, 100, 'CreateTime')
  t.same(bytes, before, 'nothing changed')
  setMaxTimestampAndType(bytes, second, 5000, 'LogAppendTime')
  const batch = new BatchView(bytes, second)
  batch.verify()
  t.equal(batch.timestampType, 'LogAppendTime')
  t.equal(batch.maxTimestamp, 5000)
  setMaxTimestampAndType(bytes, second, 100, 'CreateTime')
  t.same(bytes, before, 'and back')
  bytes[second + 17]! ^= 1
  setMaxTimestampAndType(bytes, second, 100, 'CreateTime')
  t.equal(batch.isSound(), false, 'a wrong CRC is not put right in passing')
  updateCrc(bytes, second)
  t.same(bytes, before)
})
