import t from 'tap'
import { changedConfigs, overrideLogConfig, topicLogConfig } from '../../lib/store/topic-configs.ts'

const configs = (entries: Record<string, string> = {}) => new Map(Object.entries(entries))

t.test("a topic's own settings win over the store's", async t => {
  const defaults = { durability: 'interval' as const, flushMs: 50, segmentBytes: 4096 }
  t.match(topicLogConfig(configs(), defaults), { durability: 'interval', flushMs: 50, segmentBytes: 4096 })
  t.match(topicLogConfig(configs({ 'segment.bytes': '8192' }), defaults), { segmentBytes: 8192, flushMs: 50 })
})

t.test("the store's thresholds go with its durability, so a topic may choose another", async t => {
  const defaults = { durability: 'interval' as const, flushMs: 50 }
  const config = topicLogConfig(configs({ 'heartwood.durability': 'batch' }), defaults)
  t.match(config, { durability: 'batch', flushMs: undefined })
})

t.test('an override of one log leaves the rest alone', async t => {
  const base = topicLogConfig(configs({ 'segment.bytes': '8192' }))
  t.equal(overrideLogConfig(base, undefined), base)
  t.equal(overrideLogConfig(base, {}), base)
  const config = overrideLogConfig(base, { durability: 'interval', flushMs: 20 })
  t.match(config, { durability: 'interval', flushMs: 20, segmentBytes: 8192 })
  t.match(overrideLogConfig(config, { durability: 'none' }), { durability: 'none', flushMs: undefined })
})

t.test('changes are checked as a whole before they are kept', async t => {
  const before = configs({ 'segment.bytes': '8192', 'retention.ms': '1000' })
  t.same(
    [...changedConfigs(before, { set: { 'retention.ms': '5' }, delete: ['segment.bytes'] })],
    [['retention.ms', '5']]
  )
  t.same([...before.keys()], ['segment.bytes', 'retention.ms'], 'what came in is not changed')
  t.throws(() => changedConfigs(before, { set: { 'no.such': '1' } }), { code: 'INVALID_CONFIG' })
  t.throws(() => changedConfigs(before, { set: { 'segment.bytes': 'many' } }), { code: 'INVALID_CONFIG' })
  t.throws(() => changedConfigs(before, { delete: ['no.such'] }), { code: 'INVALID_CONFIG' })
  t.throws(() => changedConfigs(before, { set: { 'flush.ms': '10' } }), { code: 'INVALID_CONFIG' })
})

t.test('the last name used for a setting is the one that stays', async t => {
  const first = changedConfigs(configs(), { set: { 'internal.segment.bytes': '2000' } })
  const second = changedConfigs(first, { set: { 'segment.bytes': '3000' } })
  t.same([...second], [['segment.bytes', '3000']])
  t.equal(changedConfigs(second, { delete: ['internal.segment.bytes'] }).size, 0)
})
