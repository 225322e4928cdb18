import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import {
  assertTopicName,
  filePath,
  MAX_TOPIC_NAME,
  parsePartitionDirectoryName,
  parseSegmentFileName,
  partitionDirectoryName,
  segmentFileName
} from '../../lib/segment/file-names.ts'

t.test('a topic name is 1 to 249 letters, digits, dots, underscores and dashes', async t => {
  for (const name of ['a', 'orders', 'a.b_c-d', '...', '-', 'x'.repeat(MAX_TOPIC_NAME)]) {
    t.doesNotThrow(() => assertTopicName(name), name)
  }
  for (const name of ['', '.', '..', 'a/b', '../x', 'a b', 'ä', 'a\0', 'a\n', '\\', 'x'.repeat(MAX_TOPIC_NAME + 1)]) {
    t.throws(() => assertTopicName(name), { code: 'INVALID_TOPIC' }, JSON.stringify(name))
  }
})

t.test('a hostile name is cut in the message that refuses it', async t => {
  try {
    assertTopicName(`\u001b[2J${'/'.repeat(100_000)}`)
    t.fail('a hostile name is refused')
  } catch (error) {
    const { message } = error as Error
    t.ok(message.length < 200 && !message.includes('\u001b'), message)
  }
})

t.test('a partition folder is split at the last dash', async t => {
  t.same(parsePartitionDirectoryName('orders-0'), { topic: 'orders', partition: 0 })
  t.same(parsePartitionDirectoryName('a-1-2'), { topic: 'a-1', partition: 2 })
  t.same(parsePartitionDirectoryName('--7'), { topic: '-', partition: 7 })
  t.same(parsePartitionDirectoryName('a-2147483647'), { topic: 'a', partition: 2147483647 })
})

t.test('folders on their way out, copies and strays are no partitions', async t => {
  const uuid = '0123456789abcdef0123456789abcdef'
  const names = [`orders-0.${uuid}-delete`, `orders-0.${uuid}-future`, `orders-0.${uuid}-stray`]
  // 007 would be a second name of partition 7, and -0 one of partition 0.
  for (const name of [
    ...names,
    'orders',
    'orders-',
    '-0',
    'orders-007',
    'orders-1x',
    'a-2147483648',
    'a b-0',
    '..-x'
  ]) {
    t.equal(parsePartitionDirectoryName(name), undefined, name)
  }
})

t.test('what is made of a topic and a partition is parsed to the same', async t => {
  const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,249}$/).filter(s => s !== '.' && s !== '..')
  fc.assert(
    fc.property(name, fc.nat({ max: 2 ** 31 - 1 }), (topic, partition) => {
      t.same(parsePartitionDirectoryName(partitionDirectoryName(topic, partition)), { topic, partition })
    }),
    { numRuns: 200 }
  )
})

t.test('a segment file is named by twenty digits', async t => {
  t.equal(segmentFileName(0, '.log'), '00000000000000000000.log')
  t.equal(segmentFileName(42, '.timeindex.deleted'), '00000000000000000042.timeindex.deleted')
  t.equal(segmentFileName(Number.MAX_SAFE_INTEGER, '.index'), '00009007199254740991.index')
  t.same(parseSegmentFileName('00000000000000000042.log.swap'), { offset: 42, suffix: '.log.swap' })
  for (const name of ['42.log', '00000000000000000042', '0000000000000000004x.log', '00009007199254740992.log', 'x']) {
    t.equal(parseSegmentFileName(name), undefined, name)
  }
  t.throws(() => segmentFileName(-1, '.log'))
  t.throws(() => segmentFileName(1.5, '.log'))
})

t.test(
  'the path of a file is that of join, whatever the folder looks like and whichever was asked for before',
  async t => {
    for (const dir of ['/data/orders-0', '/data/orders-1', '/data//orders-0/', './a/../b', 'plain', '/', ''])
      for (const name of ['a.log', 'b.index']) t.equal(filePath(dir, name), join(dir, name))
  }
)
