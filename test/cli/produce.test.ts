/** `heartwood produce`: lines in, records out, and what is said when a line or a log says no. */
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { type Ran, run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

async function newTopic(t: Test, ...options: string[]): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const { status, stderr } = await run(['topics', 'create', 'orders', '--dir', dir, ...options])
  if (status !== 0) throw new Error(stderr)
  return dir
}

const config = (...settings: string[]): string[] => settings.flatMap(setting => ['--config', setting])

async function produce(dir: string, input: string | Buffer, ...options: string[]): Promise<Ran> {
  return run(['produce', 'orders', '--dir', dir, ...options], input)
}

async function consume(dir: string, ...options: string[]): Promise<Record<string, unknown>[]> {
  const { status, stderr, json } = await run(['consume', 'orders', '--dir', dir, '--json', ...options])
  if (status !== 0) throw new Error(stderr)
  return json()
}

test('a line is a value, and the summary says what became of it', async t => {
  const dir = await newTopic(t)
  const { status, stdout, stderr } = await produce(dir, 'one\n\nthree')
  t.equal(status, 0)
  t.equal(stdout, '')
  const summary = JSON.parse(stderr) as Record<string, unknown>
  t.same(Object.keys(summary), ['records', 'bytes', 'baseOffsets', 'lastOffsets', 'level', 'seconds'])
  t.match(summary, { records: 3, bytes: 8, baseOffsets: { 0: 0 }, lastOffsets: { 0: 2 }, level: 'synced' })
  t.same(
    (await consume(dir)).map(({ value }) => value),
    ['one', '', 'three']
  )
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, 'one\n\nthree\n')
})

test('with --json the summary is on standard output, and no line at all is no record', async t => {
  const dir = await newTopic(t)
  const { stdout, stderr, json } = await produce(dir, '', '--json')
  t.equal(stderr, '')
  t.match(json(), [{ records: 0, bytes: 0, baseOffsets: {}, lastOffsets: {}, level: null }])
  t.equal(stdout.split('\n').length, 2)
})

test('the key is what is before the first separator', async t => {
  const dir = await newTopic(t)
  await produce(dir, 'a::b::c\n::\n', '--key-separator', '::')
  t.match(await consume(dir), [
    { key: 'a', value: 'b::c' },
    { key: '', value: '' }
  ])
  const { status, stderr } = await produce(dir, 'k::v\nno key\n', '--key-separator', '::')
  t.equal(status, 1)
  t.equal(
    stderr,
    'heartwood: INVALID_RECORD: line 2 has no key: the separator "::" does not occur in it; 1 records before it were written and stay\n'
  )
})

test('bytes of a line are kept as they are, valid text or not', async t => {
  const dir = await newTopic(t)
  await produce(dir, Buffer.from('ff00fe0a0d0a80', 'hex'))
  t.same(await consume(dir, '--encoding', 'hex').then(all => all.map(({ value }) => value)), ['ff00fe', '0d', '80'])
})

for (const encoding of ['hex', 'base64'] as const) {
  test(`--encoding ${encoding} is for keys and values of plain lines`, async t => {
    const dir = await newTopic(t)
    const [key, value] = [Buffer.from([0, 255]), Buffer.from([128, 10, 0])]
    const line = `${key.toString(encoding)} ${value.toString(encoding)}\n`
    t.equal((await produce(dir, line, '--encoding', encoding, '--key-separator', ' ')).status, 0)
    const plain = await run([
      'consume',
      'orders',
      '--dir',
      dir,
      '--encoding',
      encoding,
      '--print-key',
      '--key-separator',
      ' '
    ])
    t.equal(plain.stdout, line)
    const bad = await produce(dir, 'xyz! x\n', '--encoding', encoding, '--key-separator', ' ')
    t.equal(bad.status, 1)
    t.match(bad.stderr, new RegExp(`line 1 is not ${encoding}.*0 records before it were written and stay`))
  })
}

test('a JSON line that is no UTF-8 is refused: its bytes would be stored as others', async t => {
  const dir = await newTopic(t)
  const line = Buffer.concat([Buffer.from('{"value":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}\n')])
  const { status, stderr } = await run(['produce', 'orders', '--dir', dir, '--json'], line)
  t.equal(status, 1)
  t.match(stderr, /line 1 is not UTF-8; write bytes as/)
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, '')
})

test('each kind of bad JSON line is named with its number, and what was before it stays', async t => {
  const dir = await newTopic(t)
  const bad: [string, RegExp][] = [
    ['{bad', /is not JSON/],
    ['', /is not JSON/],
    ['17', /is not a JSON object/],
    ['[]', /is not a JSON object/],
    ['null', /is not a JSON object/],
    ['{"value":5}', /has a value that must be a string, null or/],
    ['{"key":{"base64":5}}', /has a key that must be/],
    ['{"key":{"base64":"a","x":1}}', /has a key that must be/],
    ['{"value":{"base64":"?"}}', /has a value that is not base64/],
    // Six bits of a byte, half of a pair: neither can be stored, and both were, as something else.
    ['{"value":{"base64":"QUJDR"}}', /has a value that is not base64/],
    ['{"key":"\\ud800"}', /has a key that is not Unicode \(half of a surrogate pair\)/],
    ['{"headers":[["\\udfff","x"]]}', /has a name of header 0 that is not Unicode/],
    ['{"headers":{}}', /has headers that are no array/],
    ['{"headers":[["a"]]}', /has a header \(0\) that is not \[name, value\]/],
    ['{"headers":[[1,"a"]]}', /has a header \(0\)/],
    ['{"headers":[["a","b"],["a",1]]}', /has a value of header 1 that must be/],
    ['{"timestamp":"now"}', /has a timestamp that is no whole number/],
    ['{"timestamp":1.5}', /has a timestamp that is no whole number/],
    ['{"timestamp":9223372036854775808}', /timestamp/],
    ['{"partition":-1}', /has a partition that is no whole number/],
    ['{"partition":9}', /asks for partition 9, and there are 1/]
  ]
  for (const [index, [line, reason]] of bad.entries()) {
    const { status, stderr, stdout } = await produce(
      dir,
      `{"value":"before ${index}"}\n${line}\n{"value":"after"}\n`,
      '--json'
    )
    t.equal(status, 1, line)
    t.equal(stdout, '')
    t.match(stderr, /^heartwood: [A-Z_]+: line 2 .*; 1 records before it were written and stay.*\n$/)
    t.match(stderr, reason)
  }
  t.same(
    (await consume(dir)).map(({ value }) => value),
    bad.map((_, index) => `before ${index}`)
  )
})

test('when the log refuses records, the error names their lines, also behind a later bad line', async t => {
  const dir = await newTopic(t, '--partitions', '3')
  const lines = ['{"value":"a","partition":0}', '{"value":"b","partition":2,"timestamp":9007199254740993}']
  const refused = await produce(dir, `${lines.join('\n')}\n`, '--json')
  t.equal(refused.status, 1)
  t.match(refused.stderr, /^heartwood: INVALID_TIMESTAMP: line 2 was not written: .*; 1 records were written and stay/)
  // Once the second error hid the first, and line 2 was lost without a word.
  const both = await produce(dir, `${lines.join('\n')}\n{bad\n`, '--json')
  t.equal(both.status, 1)
  t.match(both.stderr, /line 3 is not JSON .*; before it, line 2 was not written: .*; 1 records were written and stay/)
  t.same(
    (await consume(dir)).map(({ value }) => value),
    ['a', 'a']
  )
})

test('a record above the largest batch is refused with its line, however it is batched', async t => {
  const dir = await newTopic(t, ...config('max.message.bytes=10000'))
  const { status, stderr } = await produce(dir, `small\n${'x'.repeat(10_000)}\nlater\n`)
  t.equal(status, 1)
  t.match(stderr, /RECORD_BATCH_TOO_LARGE: line 2 was not written: .*Split the record, or raise max\.message\.bytes/)
  const values = (await consume(dir)).map(({ value }) => value)
  t.equal(values[0], 'small')
  t.notOk(values.some(value => (value as string).length > 10))
})

test('a line without an end is refused before it fills the memory', async t => {
  const dir = await newTopic(t, ...config('max.message.bytes=1000'))
  const { status, stderr } = await run(
    ['produce', 'orders', '--dir', dir],
    Array.from({ length: 200 }, () => Buffer.alloc(1000, 120))
  )
  t.equal(status, 1)
  t.match(stderr, /RECORD_BATCH_TOO_LARGE: line 1 is longer than \d+ bytes/)
})

test('records that fit one by one are never refused for the batch they share', async t => {
  const dir = await newTopic(t, ...config('max.message.bytes=10000'))
  // Of this size three do not fit into one batch, and --batch-size is far above what one may hold.
  const input = `${'y'.repeat(4000)}\n`.repeat(50)
  const { status, stderr } = await produce(dir, input, '--batch-size', '1000000')
  t.equal(status, 0, stderr)
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, input)
})

test('a key goes where Kafka would put it, and records without one go round, a batch each', async t => {
  const dir = await newTopic(t, '--partitions', '3')
  await produce(dir, 'a:1\nab:2\nabc:3\no-1:4\no-2:5\n', '--key-separator', ':')
  const placed = (await consume(dir)).map(({ key, partition }) => [key, partition])
  t.same(placed, [
    ['abc', 0],
    ['o-1', 0],
    ['o-2', 0],
    ['a', 1],
    ['ab', 2]
  ])
  const round = await newTopic(t, '--partitions', '3')
  // Two records of this size fit into a batch, and three do not.
  await produce(round, `${'z'.repeat(430)}\n`.repeat(12), '--batch-size', '1000')
  const counts = [0, 1, 2].map(async partition => (await consume(round, '--partition', String(partition))).length)
  t.same(await Promise.all(counts), [4, 4, 4])
})

test("--partition is for records that name none; the line's own wins", async t => {
  const dir = await newTopic(t, '--partitions', '3')
  await produce(
    dir,
    '{"value":"a"}\n{"value":"b","key":"a"}\n{"value":"c","partition":0}\n',
    '--json',
    '--partition',
    '2'
  )
  t.same(
    (await consume(dir)).map(({ value, partition }) => [value, partition]),
    [
      ['c', 0],
      ['a', 2],
      ['b', 2]
    ]
  )
  const { status, stderr } = await produce(dir, 'x\n', '--partition', '3')
  t.equal(status, 1)
  t.match(stderr, /UNKNOWN_TOPIC_OR_PARTITION: topic orders has no partition 3, only 0, 1, 2/)
})

test('--durability asks for more than the topic does, and the level says what was reached', async t => {
  const dir = await newTopic(t, ...config('heartwood.durability=none'))
  const level = async (...options: string[]): Promise<unknown> =>
    (await produce(dir, '{"value":"x"}\n', '--json', ...options)).json()[0]?.['level']
  t.equal(await level(), 'written')
  t.equal(await level('--durability', 'batch'), 'synced')
})

test('--compression is what the batches are stored in', async t => {
  const dir = await newTopic(t)
  for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    t.equal((await produce(dir, 'same\n'.repeat(100), '--compression', codec)).status, 0)
  }
  const dumped = await run(['dump', join(dir, 'orders-0', '00000000000000000000.log'), '--json'])
  t.same(
    dumped.json().map(({ compression }) => compression),
    ['none', 'gzip', 'snappy', 'lz4', 'zstd']
  )
  t.equal((await consume(dir)).length, 500)
})
