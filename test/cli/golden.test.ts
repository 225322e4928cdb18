/**
 * The command line on directories that real brokers wrote gives what a real consumer got (test/fixtures/golden).
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { run } from '../helpers/cli.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

interface Value {
  readonly size: number
  readonly sha256: string
}

interface ExpectedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string | null | Value
  readonly value: string | null | Value
}

interface Expected {
  readonly topic: string
  readonly logStartOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly maxTimestamp: { offset: number; timestamp: number } | null
  readonly offsetsForTimes: [number, number | null, number | null][]
  readonly readUncommitted: ExpectedRecord[]
  readonly readCommitted: ExpectedRecord[] | 'same'
}

for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
  t.test(`${version}: a directory after a clean shutdown`, async t => {
    await checkAll(t, fixture('golden', version, 'clean'), fixture('golden', version, 'expect'), {})
  })

  t.test(`${version}: topics after a round of Kafka's cleaner`, async t => {
    await checkAll(t, fixture('golden', version, 'compacted'), fixture('golden', version, 'expect-compacted'), {})
  })

  t.test(`${version}: a directory after SIGKILL`, async t => {
    const dir = await tempDir(t)
    await promisify(execFile)('tar', ['xzf', fixture('golden', version, 'crashed.tar.gz'), '-C', dir])
    const topics = (await readdir(dir)).filter(name => /-0$/.test(name)).map(name => name.slice(0, -2))
    // Epochs of clean/ have one entry more where something was appended after the restart; records are the same.
    await checkAll(t, dir, fixture('golden', version, 'expect'), { topics })
    const recovered = await run(['produce', 'plain', '--dir', dir, '--json'])
    t.equal(recovered.status, 0, 'opening for writing recovers it')
    await checkAll(t, dir, fixture('golden', version, 'expect'), { topics })
  })

  t.test(`${version}: reading changes no byte and no time of a file`, async t => {
    const dir = join(await tempDir(t), 'data')
    await cp(fixture('golden', version, 'clean'), dir, { recursive: true })
    const before = await contents(dir)
    await run(['consume', 'plain', 'segments', '--dir', dir])
    await run(['topics', 'describe', '--dir', dir, '--internal'])
    t.same(await contents(dir), before)
  })
}

async function contents(dir: string): Promise<string[]> {
  const names = (await readdir(dir, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile())
  const files = names.map(entry => join(entry.parentPath, entry.name)).sort()
  return Promise.all(
    files.map(
      async file =>
        `${file} ${createHash('sha256')
          .update(await readFile(file))
          .digest('hex')}`
    )
  )
}

async function checkAll(t: Test, dir: string, expectDir: string, options: { topics?: string[] }): Promise<void> {
  await mkdir(dir, { recursive: true })
  for (const name of await readdir(expectDir)) {
    const topic = name.replace(/\.json$/, '')
    if (topic === '_groups' || (options.topics !== undefined && !options.topics.includes(topic))) continue
    const expected = JSON.parse(await readFile(join(expectDir, name), 'utf8')) as Expected
    await t.test(topic, t => checkTopic(t, dir, expected))
  }
}

async function checkTopic(t: Test, dir: string, expected: Expected): Promise<void> {
  const { topic } = expected
  const described = (await run(['topics', 'describe', topic, '--dir', dir, '--json'])).json()[0] as {
    partitions: Record<string, unknown>[]
  }
  t.match(described.partitions[0], {
    logStartOffset: expected.logStartOffset,
    logEndOffset: expected.highWatermark,
    highWatermark: expected.highWatermark,
    lastStableOffset: expected.lastStableOffset
  })
  for (const isolation of ['read_uncommitted', 'read_committed']) {
    const ran = await run(['consume', topic, '--dir', dir, '--json', '--encoding', 'hex', '--isolation', isolation])
    t.equal(ran.status, 0, ran.stderr)
    const wanted =
      isolation === 'read_uncommitted' || expected.readCommitted === 'same'
        ? expected.readUncommitted
        : expected.readCommitted
    t.same(ran.json().map(shorten), wanted.map(known), `${isolation}: the records`)
  }
  const queries = expected.offsetsForTimes.flatMap(([query]) => ['--timestamp', String(query)])
  const answers = (await run(['offsets', topic, '--dir', dir, '--json', ...queries])).json()
  const rows = answers.map(({ query, offset, timestamp }) => [query, offset, timestamp])
  // One answer of Kafka's is a defect: in the compacted `compacted-transactions` the first segment is empty, and for
  // some timestamps ListOffsets looks into that segment alone and answers null. What we answer instead is checked below.
  const isDefect = ([, offset]: readonly unknown[]): boolean =>
    offset === null && topic === 'compacted-transactions' && dir.endsWith('compacted')
  t.same(
    rows.filter((_, i) => !isDefect(expected.offsetsForTimes[i] ?? [])),
    expected.offsetsForTimes.filter(row => !isDefect(row)),
    'offsets by time'
  )
  for (const [query, offset, timestamp] of rows.filter((_, i) => isDefect(expected.offsetsForTimes[i] ?? []))) {
    const first = expected.readUncommitted.find(record => record.timestamp >= Number(query))
    // Control records count too, so the answer may be a marker that comes before it.
    t.ok(
      offset === null
        ? first === undefined
        : Number(timestamp) >= Number(query) && Number(offset) <= (first?.offset ?? Number.POSITIVE_INFINITY),
      `the first at or after ${query}`
    )
  }
  const max = (await run(['offsets', topic, '--dir', dir, '--json', '--timestamp', 'max-timestamp'])).json()[0]
  const none = { offset: null, timestamp: null }
  t.match(
    max,
    expected.maxTimestamp === null || expected.maxTimestamp.offset < 0 ? none : expected.maxTimestamp,
    'the largest timestamp'
  )
}

const FIELDS = ['offset', 'timestamp', 'key', 'value', 'headers', 'leaderEpoch', 'timestampType'] as const

function known(record: ExpectedRecord): Record<string, unknown> {
  return Object.fromEntries(
    FIELDS.filter(field => field in record).map(field => [field, record[field as keyof ExpectedRecord]])
  )
}

/** As the expectations give long values: size and digest. */
function shorten(record: Record<string, unknown>): Record<string, unknown> {
  const short = (hex: unknown): unknown => {
    if (typeof hex !== 'string' || hex.length <= 128) return hex
    const bytes = Buffer.from(hex, 'hex')
    return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  }
  const headers = (record['headers'] as [string, unknown][]).map(([name, value]) => [name, short(value)])
  const { offset, timestamp, timestampType, leaderEpoch } = record
  return {
    offset,
    timestamp,
    timestampType,
    leaderEpoch,
    key: short(record['key']),
    value: short(record['value']),
    headers
  }
}
