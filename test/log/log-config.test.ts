import fc from 'fast-check'
import { test } from 'tap'
import {
  compressionLevelFor,
  formatTopicConfigs,
  isCompacted,
  KNOWN_TOPIC_CONFIGS,
  type LogConfig,
  logConfig,
  parseTopicConfigs
} from '../../lib/log/log-config.ts'
import { MAX_DURATION_MS, TOPIC_SETTINGS } from '../../lib/log/topic-settings.ts'

const FOREVER = '9223372036854775807'
const parse = (configs: Record<string, string>): LogConfig => parseTopicConfigs(new Map(Object.entries(configs)))

test('nothing said gives the defaults of Kafka, but that nothing is retained away', async t => {
  t.strictSame(
    { ...logConfig() },
    {
      segmentBytes: 1073741824,
      segmentMs: 604800000,
      segmentJitterMs: 0,
      indexBytes: 10485760,
      indexIntervalBytes: 4096,
      preallocate: false,
      fileDeleteDelayMs: 60000,
      durability: 'batch',
      flushMessages: undefined,
      flushMs: undefined,
      flushBytes: undefined,
      visibility: undefined,
      maxMergedBatchBytes: 16384,
      maxMessageBytes: 1048588,
      compressionType: 'producer',
      compressionGzipLevel: undefined,
      compressionLz4Level: undefined,
      compressionZstdLevel: undefined,
      messageTimestampType: 'CreateTime',
      messageTimestampBeforeMaxMs: undefined,
      messageTimestampAfterMaxMs: 3600000,
      producerIdExpirationMs: 86400000,
      cleanupPolicy: ['delete'],
      retentionMs: undefined,
      retentionBytes: undefined,
      retentionRecords: undefined,
      diskBudgetExempt: false,
      minCleanableDirtyRatio: 0.5,
      deleteRetentionMs: 86400000,
      minCompactionLagMs: 0,
      maxCompactionLagMs: undefined,
      minInsyncReplicas: 1,
      uncleanLeaderElection: false
    }
  )
  t.strictSame(parse({}), logConfig())
})

test('every setting has a row: unique key, unique field, a default that is allowed and prints as it was written', async t => {
  t.equal(new Set(TOPIC_SETTINGS.map(s => s.key)).size, TOPIC_SETTINGS.length)
  t.equal(new Set(TOPIC_SETTINGS.map(s => s.field)).size, TOPIC_SETTINGS.length)
  t.strictSame(Object.keys(logConfig()).sort(), TOPIC_SETTINGS.map(s => s.field).sort())
  for (const setting of TOPIC_SETTINGS) {
    const value = setting.parse(setting.defaultText)
    t.ok(setting.accepts(value), setting.key)
    t.equal(setting.format(value), setting.defaultText, setting.key)
  }
  t.equal(KNOWN_TOPIC_CONFIGS.length, TOPIC_SETTINGS.length)
})

test('values are read from text', async t => {
  const config = parse({
    'segment.bytes': ' 16384 ',
    'cleanup.policy': 'compact, delete,compact',
    'retention.ms': '1000',
    'retention.bytes': '+5',
    'heartwood.retention.records': '100',
    'heartwood.disk.budget.exempt': 'true',
    'min.cleanable.dirty.ratio': '1e-2',
    preallocate: 'TRUE',
    'compression.type': 'zstd',
    'compression.zstd.level': '-5',
    'heartwood.durability': 'none',
    'heartwood.visibility': 'synced'
  })
  t.match(config, {
    segmentBytes: 16384,
    cleanupPolicy: ['compact', 'delete'],
    retentionMs: 1000,
    retentionBytes: 5,
    retentionRecords: 100,
    diskBudgetExempt: true,
    minCleanableDirtyRatio: 0.01,
    preallocate: true,
    compressionType: 'zstd',
    compressionZstdLevel: -5,
    durability: 'none',
    visibility: 'synced'
  })
  t.equal(isCompacted(config), true)
  t.equal(compressionLevelFor(config, 'zstd'), -5)
  t.equal(compressionLevelFor(config, 'gzip'), undefined)
  t.equal(compressionLevelFor(config, 'snappy'), undefined)
})

test('limits that are switched off are undefined, whichever way Kafka writes that', async t => {
  const config = parse({
    'retention.ms': '-1',
    'retention.bytes': '-1',
    'heartwood.retention.records': '-1',
    'max.compaction.lag.ms': FOREVER,
    'message.timestamp.after.max.ms': FOREVER,
    'compression.gzip.level': '-1',
    'compression.lz4.level': '9'
  })
  for (const field of [
    'retentionMs',
    'retentionBytes',
    'retentionRecords',
    'maxCompactionLagMs',
    'messageTimestampAfterMaxMs'
  ] as const) {
    t.equal(config[field], undefined, field)
  }
  t.equal(config.compressionGzipLevel, undefined)
  t.equal(config.compressionLz4Level, undefined)
  t.strictSame(logConfig({ retentionMs: -1, compressionGzipLevel: -1 }), logConfig(), 'also from code')
})

test('what was checked once is not checked again, and is not changed', async t => {
  const config = logConfig({ segmentBytes: 100 })
  t.equal(logConfig(config), config)
  t.not(logConfig({ ...config }), config, 'a copy may have been changed')
  t.ok(Object.isFrozen(config))
})

test('a duration beyond what a clock can be added to is the longest that can', async t => {
  // delete.retention.ms = 2^63-1 is common ("never"), and the cleaner adds it to the time of day.
  const config = parse({ 'delete.retention.ms': FOREVER, 'segment.ms': FOREVER })
  t.equal(config.deleteRetentionMs, MAX_DURATION_MS)
  t.ok(Number.isSafeInteger(Date.now() + config.deleteRetentionMs))
  t.equal(formatTopicConfigs(config).get('segment.ms'), FOREVER)
})

test('what is unknown, of the wrong type, out of range or not supported is refused by name', async t => {
  const wrong: [string, string, RegExp][] = [
    ['segment.size', '1', /segment\.size is not a topic setting: one of .*segment\.bytes/],
    ['remote.storage.enable', 'true', /cannot be set: there is no tiered storage/],
    ['segment.bytes', '13', /segment\.bytes=13 is not allowed: an integer from 14 to 2147483647/],
    ['segment.bytes', '2147483648', /from 14 to 2147483647/],
    ['segment.bytes', '1e6', /an integer/],
    ['segment.bytes', '', /an integer/],
    ['retention.ms', '-2', /-1 for no limit/],
    ['retention.ms', '9223372036854775808', /-1 for no limit/],
    ['flush.messages', '0', /records, an integer from 1/],
    ['cleanup.policy', 'delete,shred', /a list of delete, compact/],
    ['compression.type', 'none', /one of producer, uncompressed/],
    ['compression.gzip.level', '10', /a level from 1 to 9; -1 for the default/],
    ['compression.gzip.level', 'best', /a level/],
    ['min.cleanable.dirty.ratio', '1.5', /a number from 0 to 1/],
    ['min.cleanable.dirty.ratio', 'half', /a number from 0 to 1/],
    ['preallocate', 'yes', /true or false/],
    ['segment.ms', '0', /milliseconds, an integer from 1/],
    ['heartwood.durability', 'always', /one of batch, interval, none, buffered/],
    ['heartwood.visibility', 'all', /one of written, synced, auto/],
    ['max.compaction.lag.ms', '0', /milliseconds/]
  ]
  for (const [key, value, message] of wrong) {
    t.throws(
      () => parse({ [key]: value }),
      { code: 'INVALID_CONFIG', message, details: { key, value } },
      `${key}=${value}`
    )
  }
})

test('internal.segment.bytes is another name for segment.bytes and wins over it', async t => {
  t.equal(parse({ 'internal.segment.bytes': '100' }).segmentBytes, 100)
  t.equal(parse({ 'internal.segment.bytes': '100', 'segment.bytes': '1000' }).segmentBytes, 100)
  t.equal(parse({ 'segment.bytes': '1000', 'internal.segment.bytes': '100' }).segmentBytes, 100)
})

test('flush thresholds belong to interval and buffered, and are refused where they would bound nothing', async t => {
  t.match(parse({ 'heartwood.durability': 'interval' }), { flushMessages: 10000, flushMs: 1000, flushBytes: 16777216 })
  t.match(parse({ 'heartwood.durability': 'buffered', 'flush.messages': '5', 'flush.ms': FOREVER }), {
    flushMessages: 5,
    flushMs: undefined,
    flushBytes: 16777216
  })
  for (const key of ['flush.messages', 'flush.ms', 'heartwood.flush.bytes']) {
    t.throws(() => parse({ [key]: '5' }), { code: 'INVALID_CONFIG', details: { key } })
    t.throws(() => parse({ [key]: '5', 'heartwood.durability': 'none' }), { code: 'INVALID_CONFIG', details: { key } })
  }
  t.throws(() => logConfig({ flushBytes: 1 }), { code: 'INVALID_CONFIG' })
  t.doesNotThrow(() => logConfig({ flushBytes: undefined }))
  t.throws(
    () => logConfig({ durability: 'buffered', flushBytes: undefined, flushMs: undefined, flushMessages: undefined }),
    { code: 'INVALID_CONFIG', message: /at least one of flush\.messages/ },
    'buffered without any threshold would never write'
  )
})

test('compaction lags must leave room between them', async t => {
  t.throws(() => parse({ 'min.compaction.lag.ms': '10', 'max.compaction.lag.ms': '5' }), { code: 'INVALID_CONFIG' })
  t.doesNotThrow(() => parse({ 'min.compaction.lag.ms': '5', 'max.compaction.lag.ms': '5' }))
})

test('configuration from code is checked by the same table', async t => {
  t.equal(logConfig({ segmentBytes: 100 }).segmentBytes, 100)
  t.throws(() => logConfig({ segmentBytes: 1.5 }), { code: 'INVALID_CONFIG', details: { key: 'segmentBytes' } })
  t.throws(() => logConfig({ segmentBytes: undefined as unknown as number }), { code: 'INVALID_CONFIG' })
  t.throws(() => logConfig({ segmentBytes: '100' as unknown as number }), { code: 'INVALID_CONFIG' })
  t.throws(() => logConfig({ durability: 3 as unknown as 'none' }), { code: 'INVALID_CONFIG' })
  t.throws(() => logConfig({ preallocate: 1 as unknown as boolean }), { code: 'INVALID_CONFIG' })
  t.throws(() => logConfig({ segmentByte: 100 } as Partial<LogConfig>), {
    code: 'INVALID_CONFIG',
    message: /segmentBytes/
  })
  const policies: 'compact'[] = ['compact']
  const config = logConfig({ cleanupPolicy: policies })
  policies.pop()
  t.strictSame(config.cleanupPolicy, ['compact'], 'the caller keeps no hand in it')
})

test('formatting names what differs from the defaults, or everything that means something', async t => {
  t.strictSame([...formatTopicConfigs(logConfig())], [])
  t.strictSame(
    [
      ...formatTopicConfigs(
        logConfig({ cleanupPolicy: [], retentionMs: 5, durability: 'interval', flushMs: undefined })
      )
    ],
    [
      ['cleanup.policy', ''],
      ['flush.ms', FOREVER],
      ['retention.ms', '5'],
      ['heartwood.durability', 'interval']
    ]
  )
  const all = formatTopicConfigs(logConfig(), { all: true })
  t.equal(all.get('retention.ms'), '-1')
  t.equal(all.has('flush.ms'), false, 'under batch there is no threshold to show')
})

test('a configuration survives being written and read', async t => {
  const arbitrary = fc.record(
    {
      segmentBytes: fc.integer({ min: 14, max: 2 ** 31 - 1 }),
      segmentMs: fc.integer({ min: 1, max: MAX_DURATION_MS }),
      retentionMs: fc.option(fc.maxSafeNat(), { nil: undefined }),
      minCleanableDirtyRatio: fc.double({ min: 0, max: 1, noNaN: true }),
      cleanupPolicy: fc.subarray(['delete', 'compact'] as const),
      compressionZstdLevel: fc.option(fc.integer({ min: -131072, max: 22 }), { nil: undefined }),
      visibility: fc.option(fc.constantFrom('written', 'synced'), { nil: undefined }),
      preallocate: fc.boolean()
    },
    { requiredKeys: [] }
  )
  fc.assert(
    fc.property(arbitrary, fields => {
      const config = logConfig(fields as Partial<LogConfig>)
      for (const all of [false, true]) t.strictSame(parseTopicConfigs(formatTopicConfigs(config, { all })), config)
    }),
    { numRuns: 200 }
  )
})
