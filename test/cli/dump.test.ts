/** `heartwood dump`: everything that is in a file, also what is damaged, and never more than one line a fact. */
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { type Test, test } from 'tap'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { run } from '../helpers/cli.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { corruptVectors, soundVectors } from '../helpers/vectors.ts'

type Line = Record<string, unknown>

async function dump(path: string, ...options: string[]): Promise<Line[]> {
  const { status, stderr, json } = await run(['dump', path, '--json', ...options])
  if (status !== 0) throw new Error(stderr)
  return json()
}

async function fileOf(t: Test, bytes: Buffer, name = '00000000000000000000.log'): Promise<string> {
  const path = join(await tempDir(t), name)
  await writeFile(path, bytes)
  return path
}

/** Lines of Kafka's DumpLogSegments as `{ name: text }`. */
function fieldsOf(line: string): Record<string, string> {
  return Object.fromEntries(
    [...line.matchAll(/(\w+): (\[[^\]]*\]|\S+)/g)].map(match => [match[1] as string, match[2] as string])
  )
}

for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
  test(`${version}: says of every file what Kafka's DumpLogSegments says`, async t => {
    for (const kind of ['clean', 'compacted']) {
      const folder = fixture('golden', version, 'dump', kind)
      for (const partition of await readdir(folder)) {
        for (const text of await readdir(join(folder, partition))) {
          const kafka = (await readFile(join(folder, partition, text), 'utf8')).split('\n')
          const path = fixture('golden', version, kind, partition, text.replace(/\.txt$/, ''))
          compare(t, `${kind}/${partition}/${text}`, kafka, await dump(path, '--records'))
        }
      }
    }
  })
}

function compare(t: Test, name: string, kafka: string[], ours: Line[]): void {
  t.notOk(
    ours.some(({ kind }) => kind === 'damage'),
    `${name}: sound`
  )
  const batches = kafka.filter(line => line.startsWith('baseOffset: ')).map(fieldsOf)
  if (batches.length > 0) {
    const shown = ours.filter(({ kind }) => kind === 'batch')
    t.same(
      shown.map(kafkaBatch),
      batches.map(batch => Object.fromEntries(BATCH_FIELDS.map(field => [field, batch[field]]))),
      name
    )
    const records = kafka.filter(line => line.startsWith('| ')).map(fieldsOf)
    const found = ours.filter(({ kind }) => kind === 'record')
    t.same(
      found.map(({ offset }) => String(offset)),
      records.map(({ offset }) => offset),
      `${name}: offsets of records`
    )
  }
  const entries = kafka.filter(line => /^(offset|timestamp): /.test(line)).map(fieldsOf)
  if (/\.(index|timeindex)\.txt$/.test(name) && entries.length > 0) {
    const strings = ours.map(({ file: _file, kind: _kind, ...facts }) =>
      Object.fromEntries(Object.entries(facts).map(([key, value]) => [key, String(value)]))
    )
    t.same(strings, entries, name)
  }
  const states = kafka.filter(line => line.startsWith('producerId: ') && name.includes('.snapshot')).map(fieldsOf)
  if (states.length > 0) {
    const byId = (a: { producerId?: unknown }, b: { producerId?: unknown }): number =>
      Number(a.producerId) - Number(b.producerId)
    t.same(
      ours.sort(byId).map(({ producerId, producerEpoch }) => [String(producerId), String(producerEpoch)]),
      states.sort(byId).map(({ producerId, producerEpoch }) => [producerId, producerEpoch]),
      name
    )
  }
}

const BATCH_FIELDS = [
  'baseOffset',
  'lastOffset',
  'count',
  'baseSequence',
  'producerId',
  'producerEpoch',
  'partitionLeaderEpoch',
  'isTransactional',
  'isControl',
  'position',
  'size',
  'magic',
  'compresscodec',
  'crc',
  'isvalid'
]

function kafkaBatch(batch: Line): Record<string, string> {
  const { leaderEpoch, transactional, control, compression, crcValid } = batch
  const renamed: Line = {
    ...batch,
    partitionLeaderEpoch: leaderEpoch,
    isTransactional: transactional,
    isControl: control,
    compresscodec: compression,
    isvalid: crcValid
  }
  return Object.fromEntries(BATCH_FIELDS.map(field => [field, String(renamed[field])]))
}

test('a batch has its fields in a fixed order', async t => {
  const [batch] = await dump(fixture('golden', 'kafka-4.3.1', 'clean', 'transactions-0', '00000000000000000000.log'))
  t.same(
    Object.keys(batch ?? {}).join(),
    'file,kind,position,size,baseOffset,lastOffset,count,leaderEpoch,magic,crc,crcValid,compression,timestampType,' +
      'baseTimestamp,maxTimestamp,producerId,producerEpoch,baseSequence,transactional,control,deleteHorizon'
  )
})

test('every sound batch of other implementations is shown, with its records', async t => {
  for (const { id, bytes, header, recordCount } of soundVectors()) {
    const [batch, ...records] = await dump(await fileOf(t, bytes), '--records')
    t.match(
      batch,
      { kind: 'batch', size: bytes.length, count: header.count, crcValid: true, crc: Number(header.crc) },
      id
    )
    t.equal(records.filter(({ kind }) => kind === 'record').length, recordCount, id)
    t.notOk(
      records.some(({ kind }) => kind === 'damage'),
      id
    )
  }
})

/** Those whose fault is not in the bytes, but in what a client may send. */
const FORBIDDEN_ONLY = /^c(12|13|14|15)-/

test('every corrupt batch is shown for what it is', async t => {
  for (const { id, bytes } of corruptVectors()) {
    const lines = await dump(await fileOf(t, bytes), '--records')
    const wrong = lines.filter(({ kind, crcValid }) => kind === 'damage' || crcValid === false)
    if (FORBIDDEN_ONLY.test(id)) t.same(wrong, [], id)
    else
      t.ok(wrong.length > 0 && wrong.every(({ kind, reason }) => kind !== 'damage' || typeof reason === 'string'), id)
  }
})

test('what lies behind damage is found again', async t => {
  const path = fixture('golden', 'kafka-4.3.1', 'clean', 'plain-0', '00000000000000000000.log')
  const whole = await dump(path)
  const bytes = await readFile(path)
  const hurt = whole[3] as { position: number; size: number }
  bytes.fill(0xee, hurt.position, hurt.position + 20)
  const lines = await dump(await fileOf(t, bytes))
  t.match(lines[3], { kind: 'damage', position: hurt.position, length: hurt.size })
  const rest = (all: Line[]): unknown[] => all.filter((_, i) => i !== 3).map(({ file: _file, ...facts }) => facts)
  t.same(rest(lines), rest(whole))
})

test('producer ids and timestamps beyond 2^53 are exact', async t => {
  const batch = encodeBatch([{ value: 'x', timestamp: 9007199254740993n }], { now: 0 })
  batch.writeBigInt64BE(9007199254740995n, 43)
  updateCrc(batch, 0)
  const { stdout } = await run(['dump', await fileOf(t, batch), '--json', '--records'])
  t.match(stdout, '"producerId":9007199254740995,')
  t.match(stdout, '"maxTimestamp":9007199254740993,')
  t.match(stdout, '"kind":"record","offset":0,"timestamp":9007199254740993,')
})

test('a value that looks like the inside of this program stays what it is', async t => {
  // Once exact integers were marked like this on their way out.
  const batch = encodeBatch([{ value: '\u0001int:5' }], { now: 0 })
  const lines = await dump(await fileOf(t, batch), '--records')
  t.equal(lines[1]?.['value'], '\u0001int:5')
  const { stdout } = await run(['dump', await fileOf(t, encodeBatch([{ value: 'a\nb c' }], { now: 0 })), '--records'])
  t.equal(stdout.split('\n').length, 4, 'a line stays a line')
})

test('messages from before Kafka 0.11 are shown one by one', async t => {
  const older = [0, 1].map(magic => {
    const content = Buffer.from(`${'00'.repeat(magic === 1 ? 8 : 0)}ffffffff0000000178`, 'hex')
    const body = Buffer.concat([Buffer.from([magic, 0]), content])
    const entry = Buffer.alloc(16 + body.length)
    entry.writeBigInt64BE(BigInt(40 + magic), 0)
    entry.writeInt32BE(entry.length - 12, 8)
    entry.writeUInt32BE(crc32Of(body), 12)
    body.copy(entry, 16)
    return entry
  })
  const newer = encodeBatch([{ value: 'x' }], { baseOffset: 50, now: 0 })
  const lines = await dump(await fileOf(t, Buffer.concat([...older, ...older, newer])))
  t.same(
    lines.map(({ kind, offset, baseOffset, magic }) => [kind, offset ?? baseOffset, magic]),
    [
      ['message', 40, 0],
      ['message', 41, 1],
      ['message', 40, 0],
      ['message', 41, 1],
      ['batch', 50, 2]
    ]
  )
  t.ok(lines.slice(0, 4).every(({ crcValid }) => crcValid === true))
})

function crc32Of(bytes: Buffer): number {
  // Node 20.19 has it; the types know it since later.
  return (crc32 as (bytes: Buffer) => number)(bytes)
}

test('index files: entries, space set aside, and what is wrong', async t => {
  const entries = Buffer.alloc(24)
  entries.writeInt32BE(5, 0)
  entries.writeInt32BE(4096, 4)
  entries.writeInt32BE(3, 8)
  entries.writeInt32BE(9000, 12)
  const path = await fileOf(t, Buffer.concat([entries, Buffer.alloc(3)]), '00000000000000000100.index')
  t.match(await dump(path), [
    { kind: 'offset-index-entry', offset: 105, position: 4096 },
    { kind: 'offset-index-entry', offset: 103, position: 9000 },
    { kind: 'damage', position: 8, length: 8, reason: /not above the last/ },
    { kind: 'preallocated', position: 16, length: 11 }
  ])
  const time = Buffer.alloc(13)
  time[12] = 1
  t.match(await dump(await fileOf(t, time, '00000000000000000100.timeindex')), [
    { kind: 'time-index-entry', timestamp: 0, offset: 100 },
    { kind: 'damage', position: 12, length: 1 }
  ])
  const snapshot = await readFile(
    fixture('golden', 'kafka-4.3.1', 'clean', 'idempotent-0', await snapshotOf('idempotent-0'))
  )
  snapshot[snapshot.length - 1] = (snapshot[snapshot.length - 1] as number) ^ 1
  const shown = await dump(await fileOf(t, snapshot, '00000000000000000009.snapshot'))
  t.match(shown[0], { kind: 'damage', reason: /CRC/ })
  t.ok(shown.slice(1).every(({ kind }) => kind === 'producer-state') && shown.length > 1)
})

async function snapshotOf(partition: string): Promise<string> {
  const names = await readdir(fixture('golden', 'kafka-4.3.1', 'clean', partition))
  return names
    .filter(name => name.endsWith('.snapshot'))
    .sort()
    .at(-1) as string
}

test('a whole directory of ours: checkpoints and side-cars too', async t => {
  const dir = join(await tempDir(t), 'data')
  await run(['topics', 'create', 'orders', '--dir', dir])
  await run(['produce', 'orders', '--dir', dir], 'x\n')
  const lines = await dump(dir)
  const kinds = new Set(lines.map(({ kind }) => kind))
  for (const kind of ['batch', 'leader-epoch', 'offset-checkpoint', 'watermark-slot', 'topic', 'line'])
    t.ok(kinds.has(kind), kind)
  t.notOk(kinds.has('damage'))
  t.match(
    lines.find(({ kind, state }) => kind === 'watermark-slot' && state === 'sound'),
    { offset: 1, level: 'synced' }
  )
  await truncate(join(dir, 'heartwood-topics'), 40)
  await truncate(join(dir, 'orders-0', 'heartwood-watermark'), 700)
  await writeFile(join(dir, 'recovery-point-offset-checkpoint'), '0\n5\nx')
  const hurt = (await dump(dir))
    .filter(({ kind }) => kind === 'damage')
    .map(({ file }) => String(file).slice(dir.length + 1))
  t.same(hurt.sort(), ['heartwood-topics', 'orders-0/heartwood-watermark', 'recovery-point-offset-checkpoint'])
})

test('whatever the bytes: lines of JSON, status 0, and nothing else', { timeout: 110_000 }, async t => {
  const dir = await tempDir(t)
  const names = ['.log', '.index', '.timeindex', '.txnindex', '.snapshot'].map(
    suffix => `00000000000000000007${suffix}`
  )
  names.push(
    'leader-epoch-checkpoint',
    'heartwood-watermark',
    'heartwood-manifest',
    'heartwood-holds',
    'heartwood-topics',
    'recovery-point-offset-checkpoint'
  )
  const sound = Buffer.concat(
    soundVectors()
      .slice(0, 12)
      .map(({ bytes }) => bytes)
  )
  const damaged = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 20 }).map(changes => {
    const bytes = Buffer.from(sound)
    for (const [at, to] of changes) bytes[at] = to
    return bytes
  })
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 400 }).map(bytes => Buffer.from(bytes)),
    damaged,
    fc.constant(Buffer.alloc(100))
  )
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), any, fc.boolean(), async (name, bytes, records) => {
      const folder = join(dir, String((runs += 1)))
      await mkdir(folder)
      await writeFile(join(folder, name), bytes)
      const { status, stderr, json } = await run(['dump', folder, '--json', ...(records ? ['--records'] : [])])
      return status === 0 && stderr === '' && json().every(({ kind }) => typeof kind === 'string')
    }),
    { numRuns: 300 }
  )
})
