import t from 'tap'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeEndTransactionMarker, parseControlRecord } from '../../lib/record/control-record.ts'
import { soundVectors } from '../helpers/vectors.ts'

for (const [id, type, baseOffset] of [
  ['30-control-commit', 'commit', 10],
  ['31-control-abort', 'abort', 11]
] as const) {
  t.test(`${id}: the marker has the very bytes`, async t => {
    const { bytes } = soundVectors().find(vector => vector.id === id)!
    const marker = encodeEndTransactionMarker({
      type,
      producerId: 4242,
      producerEpoch: 3,
      coordinatorEpoch: 5,
      baseOffset,
      leaderEpoch: 2,
      timestamp: 1_700_000_000_000
    })
    t.same(marker, bytes)
    const cursor = new BatchView(bytes).records()
    t.ok(cursor.next())
    t.same(parseControlRecord(cursor.key(), cursor.value()), { type, version: 0, coordinatorEpoch: 5 })
  })
}

const key = (version: number, type: number, ...rest: number[]) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt16BE(version, 0)
  bytes.writeInt16BE(type, 2)
  return Buffer.concat([bytes, Buffer.from(rest)])
}
const value = Buffer.from('000000000007', 'hex')

t.test('a marker at the bounds of its fields is read back', async t => {
  const most = 2 ** 31 - 1
  const bytes = encodeEndTransactionMarker({
    type: 'abort',
    producerId: 2 ** 53 - 1,
    producerEpoch: 2 ** 15 - 1,
    coordinatorEpoch: most,
    baseOffset: 2 ** 53 - 1,
    leaderEpoch: most,
    timestamp: 2 ** 53 - 1
  })
  const batch = new BatchView(bytes)
  batch.verify()
  t.equal(batch.baseSequence, -1)
  const cursor = batch.records()
  t.ok(cursor.next())
  t.equal(parseControlRecord(cursor.key(), cursor.value()).coordinatorEpoch, most)
})

t.test('later versions and longer forms are read as version 0', async t => {
  t.same(parseControlRecord(key(3, 1, 9, 9), Buffer.concat([value, value])), {
    type: 'commit',
    version: 3,
    coordinatorEpoch: 7
  })
})

t.test('the types of the metadata log have names, later ones do not', async t => {
  const types = [2, 3, 4, 5, 6, 7, 1000, -1].map(type => parseControlRecord(key(0, type), null).type)
  const names = ['leader-change', 'snapshot-header', 'snapshot-footer', 'kraft-version', 'kraft-voters']
  t.same(types, [...names, 'unknown', 'unknown', 'unknown'])
})

t.test('what names no type, or no coordinator where one must be, is refused', async t => {
  const refused = { code: 'INVALID_RECORD' }
  t.throws(() => parseControlRecord(null, value), refused)
  t.throws(() => parseControlRecord(Buffer.alloc(3), value), refused)
  t.throws(() => parseControlRecord(key(-1, 1), value), refused)
  t.throws(() => parseControlRecord(key(0, 1), null), { ...refused, message: /commit marker.*is null/ })
  t.throws(() => parseControlRecord(key(0, 0), value.subarray(1)), { ...refused, message: /abort marker.*has 5/ })
  t.throws(() => parseControlRecord(key(0, 0), Buffer.from('ffff00000001', 'hex')), refused)
})
