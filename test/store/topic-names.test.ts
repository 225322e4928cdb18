import t from 'tap'
import { assertNewTopicName, deletedFolderName, isInternalTopic } from '../../lib/store/topic-names.ts'

const check =
  (name: string, existing: string[] = [], caseFolding = false) =>
  () =>
    assertNewTopicName(name, existing, { caseFolding })

t.test('names that break the rule of Kafka are refused', async t => {
  for (const name of ['', '.', '..', 'a/b', 'a b', 'ä', 'a\0', 'x'.repeat(250), '../../etc/passwd', 'a:b']) {
    t.throws(check(name), { code: 'INVALID_TOPIC' }, JSON.stringify(name))
  }
  for (const name of ['a', 'x'.repeat(249), '...', 'a-0', '-', '__proto__', 'A.b_c-9'])
    t.doesNotThrow(check(name), name)
})

t.test("'.' and '_' count as one, as in Kafka", async t => {
  t.throws(check('a.b', ['a_b']), { code: 'INVALID_TOPIC' })
  t.throws(check('a_b', ['x', 'a.b']), { code: 'INVALID_TOPIC' })
  t.doesNotThrow(check('a.b', ['a-b', 'ab', 'a.b']))
})

t.test('upper and lower case collide only where the file system folds them', async t => {
  t.doesNotThrow(check('Orders', ['orders']))
  t.throws(check('Orders', ['orders'], true), { code: 'INVALID_TOPIC' })
})

t.test("the broker's metadata log is no topic", async t => {
  t.throws(check('__cluster_metadata'), { code: 'INVALID_TOPIC' })
  t.ok(isInternalTopic('__consumer_offsets'))
  t.notOk(isInternalTopic('__mine'))
})

t.test('the folder of a deleted partition is named as Kafka names it, and fits', async t => {
  t.match(deletedFolderName('orders', 3), /^orders-3\.[0-9a-f]{32}-delete$/)
  const long = deletedFolderName('x'.repeat(249), 1234)
  t.equal(long.length, 255)
  t.match(long, /^x+-1234\.[0-9a-f]{32}-delete$/)
})
