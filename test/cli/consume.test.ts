/** `heartwood consume`, `offsets`, `topics` and `backup`: what is printed, in which order, from where to where. */
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { type Ran, run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

const NOW = Date.now()
const WIDE = ['--config', 'message.timestamp.after.max.ms=9223372036854775807']

async function ok(args: readonly string[], input: string | Buffer = ''): Promise<Ran> {
  const ran = await run(args, input)
  if (ran.status !== 0) throw new Error(`${args.join(' ')}: ${ran.stderr}`)
  return ran
}

/** Topic `orders` of two partitions: values 0 to 9 and 10 to 14, timestamps NOW + value. */
async function twoPartitions(t: Test): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  await ok(['topics', 'create', 'orders', '--dir', dir, '--partitions', '2', ...WIDE])
  const lines = Array.from({ length: 15 }, (_, i) => ({
    value: String(i),
    partition: i < 10 ? 0 : 1,
    timestamp: NOW + i
  }))
  await ok(['produce', 'orders', '--dir', dir, '--json'], lines.map(line => `${JSON.stringify(line)}\n`).join(''))
  return dir
}

async function values(dir: string, ...options: string[]): Promise<number[]> {
  const { json } = await ok(['consume', 'orders', '--dir', dir, '--json', ...options])
  return json().map(({ value }) => Number(value))
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('JSON has one line a record, with its fields in a fixed order', async t => {
  const dir = join(await tempDir(t), 'data')
  await ok(['topics', 'create', 'orders', '--dir', dir, ...WIDE])
  const record = {
    value: 'v',
    key: 'k',
    timestamp: 5,
    headers: [
      ['h', 'x'],
      ['h', null],
      ['', '']
    ]
  }
  await ok(['produce', 'orders', '--dir', dir, '--json'], `${JSON.stringify(record)}\n`)
  t.equal(
    (await ok(['consume', 'orders', '--dir', dir, '--json'])).stdout,
    '{"topic":"orders","partition":0,"offset":0,"leaderEpoch":0,"timestamp":5,"timestampType":"CreateTime",' +
      '"key":"k","value":"v","headers":[["h","x"],["h",null],["",""]]}\n'
  )
})

test('LogAppendTime is said to be that', async t => {
  const dir = join(await tempDir(t), 'data')
  await ok(['topics', 'create', 'orders', '--dir', dir, '--config', 'message.timestamp.type=LogAppendTime'])
  await ok(['produce', 'orders', '--dir', dir, '--json'], '{"value":"v","timestamp":5}\n')
  const [record] = (await ok(['consume', 'orders', '--dir', dir, '--json'])).json()
  t.equal(record?.['timestampType'], 'LogAppendTime')
  t.ok(Number(record?.['timestamp']) >= NOW)
})

test('where to begin and where to stop', async t => {
  const dir = await twoPartitions(t)
  t.same(await values(dir), range(0, 15), 'partitions in order of their number')
  t.same(await values(dir, '--from-beginning'), range(0, 15))
  t.same(await values(dir, '--partition', '1'), range(10, 15))
  t.same(await values(dir, '--offset', '4', '--partition', '0'), range(4, 10))
  t.same(await values(dir, '--offset', '4'), [...range(4, 10), 14])
  t.same(await values(dir, '--offset', 'earliest', '--max-messages', '3'), [0, 1, 2])
  t.same(await values(dir, '--offset', 'latest'), [])
  t.same(await values(dir, '--offset', '10', '--partition', '0'), [], 'the end is a place to begin')
  t.same(await values(dir, '--until-offset', '2'), [0, 1, 10, 11], 'exclusive')
  t.same(await values(dir, '--max-messages', '12'), range(0, 12), 'over all partitions')
  t.same(await values(dir, '--max-messages', '0'), [])
  t.same(await values(dir, '--timestamp', String(NOW + 7)), [7, 8, 9, ...range(10, 15)])
  t.same(await values(dir, '--timestamp', new Date(NOW + 12).toISOString()), [12, 13, 14])
  t.same(await values(dir, '--timestamp', String(NOW + 100)), [])
  const outside = await run(['consume', 'orders', '--dir', dir, '--offset', '11', '--partition', '0'])
  t.equal(outside.status, 1)
  t.match(outside.stderr, /OFFSET_OUT_OF_RANGE: orders-0: offset 11 is outside the log, which holds 0 up to 10/)
})

test('several topics are read one after the other, and a missing one is found before anything is printed', async t => {
  const dir = await twoPartitions(t)
  await ok(['topics', 'create', 'more', '--dir', dir])
  await ok(['produce', 'more', '--dir', dir], 'm\n')
  const both = (await ok(['consume', 'more', 'orders', '--dir', dir, '--json', '--max-messages', '3'])).json()
  t.same(
    both.map(({ topic, value }) => [topic, value]),
    [
      ['more', 'm'],
      ['orders', '0'],
      ['orders', '1']
    ]
  )
  const missing = await run(['consume', 'orders', 'nope', '--dir', dir])
  t.equal(missing.status, 1)
  t.equal(missing.stdout, '')
})

test('several directories are one store', async t => {
  const dirs = [join(await tempDir(t), 'a'), join(await tempDir(t), 'b')] as const
  await ok(['topics', 'create', 'orders', '--dir', dirs[0]])
  await ok(['topics', 'create', 'more', '--dir', dirs[1]])
  const both = ['--dir', dirs[0], '--dir', dirs[1]]
  t.same((await ok(['topics', 'list', ...both])).stdout.split('\n').sort(), ['', 'more', 'orders'])
})

test('plain output refuses what is no text, with the way out, and keeps what came before', async t => {
  const dir = join(await tempDir(t), 'data')
  await ok(['topics', 'create', 'orders', '--dir', dir])
  await ok(['produce', 'orders', '--dir', dir], Buffer.from('6f6b0aff0a', 'hex'))
  const { status, stdout, stderr } = await run(['consume', 'orders', '--dir', dir])
  t.equal(status, 1)
  t.equal(stdout, 'ok\n')
  t.match(stderr, /orders-0: the record at offset 1 is not valid UTF-8; choose --encoding hex or base64, or --json/)
  t.same(
    (await ok(['consume', 'orders', '--dir', dir, '--json'])).json().map(({ value }) => value),
    ['ok', { base64: '/w==' }]
  )
  t.equal((await ok(['consume', 'orders', '--dir', dir, '--encoding', 'hex'])).stdout, '6f6b\nff\n')
})

test('a topic is copied exactly through JSON: offsets, partitions, null and empty, headers, times beyond 2^53', async t => {
  const dir = join(await tempDir(t), 'data')
  for (const topic of ['orders', 'copy'])
    await ok(['topics', 'create', topic, '--dir', dir, '--partitions', '3', ...WIDE])
  const lines = [
    '{"value":"plain","partition":1}',
    '{"key":null,"value":null,"partition":1,"timestamp":0}',
    '{"key":"","value":"","headers":[["",null],["",""],["ü",{"base64":"/wA="}]],"partition":2}',
    '{"key":{"base64":"gP8="},"value":"\\u0000\\u2028 😀 \\"\\\\","partition":0,"timestamp":1700000000000123457}',
    '{"value":"\\"timestamp\\":12","partition":0,"timestamp":9223372036854775807}',
    '{"headers":[["timestamp","\\"timestamp\\":9007199254740999"]],"timestamp":9007199254740993,"partition":0}'
  ]
  await ok(['produce', 'orders', '--dir', dir, '--json'], `${lines.join('\n')}\n`)
  for (const encoding of ['utf8', 'hex', 'base64']) {
    const original = (await ok(['consume', 'orders', '--dir', dir, '--json', '--encoding', encoding])).stdout
    t.match(original, '"timestamp":1700000000000123457,')
    t.match(original, '"timestamp":9223372036854775807,')
    t.match(original, '"timestamp":9007199254740993,')
    await ok(['topics', 'delete', 'copy', '--dir', dir])
    await ok(['topics', 'create', 'copy', '--dir', dir, '--partitions', '3', ...WIDE])
    await ok(['produce', 'copy', '--dir', dir, '--json', '--encoding', encoding], original)
    const copy = (await ok(['consume', 'copy', '--dir', dir, '--json', '--encoding', encoding])).stdout
    t.equal(copy, original.replaceAll('"topic":"orders"', '"topic":"copy"'), encoding)
  }
})

test('offsets answers each query for each partition', async t => {
  const dir = await twoPartitions(t)
  const queries = [
    'earliest',
    'latest',
    'max-timestamp',
    String(NOW + 3),
    new Date(NOW + 12).toISOString(),
    '9223372036854775807'
  ]
  const { stdout } = await ok([
    'offsets',
    'orders',
    '--dir',
    dir,
    '--json',
    ...queries.flatMap(query => ['--timestamp', query])
  ])
  const line = (partition: number, query: string, offset: number | null, timestamp: number | null): string =>
    `{"topic":"orders","partition":${partition},"query":${query},"offset":${offset},"timestamp":${timestamp}}\n`
  const iso = JSON.stringify(queries[4])
  t.equal(
    stdout,
    line(0, '"earliest"', 0, null) +
      line(0, '"latest"', 10, null) +
      line(0, '"max-timestamp"', 9, NOW + 9) +
      line(0, String(NOW + 3), 3, NOW + 3) +
      line(0, iso, null, null) +
      line(0, '9223372036854775807', null, null) +
      line(1, '"earliest"', 0, null) +
      line(1, '"latest"', 5, null) +
      line(1, '"max-timestamp"', 4, NOW + 14) +
      line(1, String(NOW + 3), 0, NOW + 10) +
      line(1, iso, 2, NOW + 12) +
      line(1, '9223372036854775807', null, null)
  )
  t.match((await ok(['offsets', 'orders', '--dir', dir])).stdout, /topic +partition +query +offset +timestamp/)
})

test('topics: create, list, describe, alter and delete', async t => {
  const dir = join(await tempDir(t), 'data')
  const created = (
    await ok(['topics', 'create', 'orders', '--dir', dir, '--json', '--config', 'segment.bytes=4096'])
  ).json()[0]
  t.same(Object.keys(created ?? {}), ['topic', 'topicId', 'internal', 'configs', 'partitions'])
  await ok(['produce', 'orders', '--dir', dir], 'x\n')
  const described = await ok(['topics', 'describe', 'orders', '--dir', dir, '--json'])
  t.match(
    described.stdout,
    /^\{"topic":"orders","topicId":"[\w-]{22}","internal":false,"configs":\{[^}]*"segment.bytes":"4096"[^}]*\},"partitions":\[\{"partition":0,"logStartOffset":0,"logEndOffset":1,"highWatermark":1,"lastStableOffset":1,"segments":1,"bytes":69,"leaderEpoch":0\}\]\}\n$/
  )
  await ok([
    'topics',
    'alter',
    'orders',
    '--dir',
    dir,
    '--config',
    'retention.ms=5',
    '--delete-config',
    'segment.bytes',
    '--partitions',
    '2'
  ])
  const altered = (await ok(['topics', 'describe', '--dir', dir, '--json'])).json()
  t.match(altered, [{ configs: { 'retention.ms': '5' }, partitions: [{ partition: 0 }, { partition: 1 }] }])
  t.notOk('segment.bytes' in ((altered[0]?.['configs'] ?? {}) as object))
  t.match(
    (await ok(['topics', 'describe', '--dir', dir])).stdout,
    /^topic orders {2}id .*\nsettings .*retention.ms=5.*\npartition +start/
  )
  t.same((await ok(['topics', 'delete', 'orders', '--dir', dir, '--json'])).json(), [
    { topic: 'orders', deleted: true }
  ])
  t.equal((await ok(['topics', 'list', '--dir', dir])).stdout, '')
})

test('a backup is a store with the same records', async t => {
  const dir = await twoPartitions(t)
  const to = join(await tempDir(t), 'copy')
  const [report] = (await ok(['backup', '--dir', dir, '--to', to, '--json'])).json()
  t.match(report, { partitions: 2, skipped: [] })
  t.same(await values(to), range(0, 15))
  const again = await run(['backup', '--dir', dir, '--to', to])
  t.equal(again.status, 1)
  t.match(again.stderr, /is there already: a backup needs a new or empty folder/)
})
