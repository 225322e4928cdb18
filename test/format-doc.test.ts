/**
 * Holds lib/FORMAT.md against the library: every dump on that page is decoded by the real parsers, every value beside
 * it is compared with its bytes, and the files of the worked example are made again by running it.
 *
 * A dump is a fenced block, `hex FILE` or `text FILE`. Lines of a hex block: position, bytes, name and value.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseCheckpoint } from '../lib/fs/checkpoint-file.ts'
import { MemoryFileSystem } from '../lib/fs/memory-file-system.ts'
import { readWholeFile } from '../lib/fs/replace-file.ts'
import { formatHolds, parseHolds } from '../lib/log/holds-file.ts'
import { formatHoles, parseHoles } from '../lib/log/holes.ts'
import { formatManifest, parseManifest } from '../lib/log/manifest.ts'
import { parseProducerSnapshot } from '../lib/log/producer-snapshot.ts'
import { Quarantine } from '../lib/log/quarantine.ts'
import { digestOf as digestOfFile } from '../lib/log/segment-digest.ts'
import { parseSlot, SLOT_BYTES, type Watermark } from '../lib/log/watermark-file.ts'
import { BatchView } from '../lib/record/batch-view.ts'
import { compress, decompress } from '../lib/record/compression/index.ts'
import { parseControlRecord } from '../lib/record/control-record.ts'
import { OffsetIndex } from '../lib/segment/offset-index.ts'
import { TimeIndex } from '../lib/segment/time-index.ts'
import { TransactionIndex, transactionsDigest } from '../lib/segment/transaction-index.ts'
import { formatCleanShutdownMarker } from '../lib/store/clean-shutdown.ts'
import { formatMetaProperties, parseMetaProperties } from '../lib/store/meta-properties.ts'
import { formatPartitionMetadata, parsePartitionMetadata } from '../lib/store/partition-metadata.ts'
import { Store } from '../lib/store/store.ts'
import { digestOf, formatTopicsFile, parseTopicsFile } from '../lib/store/topics-file.ts'
import { ManualClock } from './helpers/manual-clock.ts'
import { projectRoot } from './helpers/paths.ts'

interface Field {
  readonly bytes: Buffer
  readonly says: string
}

interface Dump {
  readonly bytes: Buffer
  readonly fields: readonly Field[]
}

const MAX_BYTES = 1 << 20
const T0 = 1_700_000_000_000
/** These end without a line end, which a fenced block cannot show. */
const WITHOUT_LAST_NEWLINE = new Set(['partition.metadata', '.kafka_cleanshutdown'])

const dumps = readDumps(readFileSync(join(projectRoot, 'lib', 'FORMAT.md'), 'utf8'))

function readDumps(page: string): Map<string, Dump> {
  const found = new Map<string, Dump>()
  for (const [, kind, name, body] of page.matchAll(/^```(hex|text) (\S+)\n([\s\S]*?)^```$/gm)) {
    found.set(name as string, kind === 'hex' ? hexDump(body as string) : textDump(name as string, body as string))
  }
  return found
}

function textDump(name: string, body: string): Dump {
  return { bytes: Buffer.from(WITHOUT_LAST_NEWLINE.has(name) ? body.slice(0, -1) : body), fields: [] }
}

function hexDump(body: string): Dump {
  const fields: Field[] = []
  let at = 0
  for (const line of body.trimEnd().split('\n')) {
    const match = /^([0-9a-f]{4}) {2}(?:00 x (\d+)|((?:[0-9a-f]{2} ?)+))\s*(.*)$/.exec(line)
    if (match === null) throw new Error(`no line of a dump: ${line}`)
    const [, position, zeros, hex = '', says = ''] = match
    if (Number.parseInt(position as string, 16) !== at) throw new Error(`at ${at}: ${line}`)
    const bytes = zeros === undefined ? Buffer.from(hex.replaceAll(' ', ''), 'hex') : Buffer.alloc(Number(zeros))
    fields.push({ bytes, says })
    at += bytes.length
  }
  return { bytes: Buffer.concat(fields.map(field => field.bytes)), fields }
}

function dump(name: string): Buffer {
  const found = dumps.get(name)
  if (found === undefined) throw new Error(`FORMAT.md shows no ${name}`)
  return found.bytes
}

/** What a value on the page must be by its bytes. */
function textOf(bytes: Buffer, says: string): string {
  if (says.startsWith('varint ')) {
    const raw = [...bytes].reduce((sum, byte, i) => sum | (BigInt(byte & 0x7f) << BigInt(7 * i)), 0n)
    return `varint ${(raw >> 1n) ^ -(raw & 1n)}`
  }
  if (says.startsWith('0x')) return `0x${bytes.toString('hex')}`
  if (says.startsWith('"')) return JSON.stringify(bytes.toString())
  return BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex')}`)).toString()
}

/** The worked example: what the page says was done. */
async function runExample(): Promise<(name: string) => Promise<Buffer>> {
  const clock = new ManualClock(T0)
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs, clock })
  await store.createTopic('orders', { configs: { 'index.interval.bytes': '0' } })
  const log = await store.openLog('orders', 0)
  await log.append([
    { key: 'o-1', value: '{"total":12}', headers: [['trace', 'ab']] },
    { key: 'o-2', value: null, timestamp: T0 + 5 }
  ])
  const producer = { producerId: 1000, producerEpoch: 0 }
  await log.append([{ key: 'o-3', value: 'x' }], { ...producer, baseSequence: 0, transactional: true })
  await log.appendEndTransaction({ type: 'abort', ...producer, coordinatorEpoch: 3 })
  await store.close()
  return async name => {
    const bytes =
      (await readWholeFile(fs, `/data/orders-0/${name}`, MAX_BYTES)) ??
      (await readWholeFile(fs, `/data/${name}`, MAX_BYTES))
    if (bytes === undefined) throw new Error(`the example leaves no ${name}`)
    return bytes
  }
}

function newestWatermark(bytes: Buffer): Watermark | undefined {
  const slots = [parseSlot(bytes.subarray(0, SLOT_BYTES)), parseSlot(bytes.subarray(SLOT_BYTES))]
  const sound = slots.flatMap(slot => (slot.kind === 'sound' ? [slot] : []))
  return sound.sort((a, b) => b.sequence - a.sequence)[0]?.watermark
}

t.test('every value beside a dump is the one in its bytes', async t => {
  let compared = 0
  for (const [name, { fields }] of dumps) {
    for (const { bytes, says } of fields) {
      const match = /^[A-Za-z.]+ (.+)$/.exec(says)
      if (match === null || says.startsWith(';')) continue
      t.equal(textOf(bytes, match[1] as string), match[1], `${name}: ${says}`)
      compared += 1
    }
  }
  t.ok(compared > 100, `${compared} values`)
})

t.test('running the worked example gives the files of the page, byte for byte', async t => {
  const file = await runExample()
  const names = [...dumps.keys()].filter(name => /^\d{20}\.[a-z]+$|checkpoint$|^\.kafka/.test(name))
  t.equal(names.length, 9)
  for (const name of names) t.same(await file(name), dump(name), name)
  // Which slot it is, and its sequence number, depend on how many writes there were; what it says does not.
  const [is, shall] = [await file('heartwood-watermark'), dump('heartwood-watermark')].map(newestWatermark)
  t.same(is, shall)
  const made = parseTopicsFile(await file('heartwood-topics'), 'made')
  const shown = parseTopicsFile(dump('heartwood-topics'), 'shown')
  t.same([made.marker, made.checkpoints, made.trash], [shown.marker, shown.checkpoints, shown.trash])
})

t.test('the log of the page holds three sound batches, of what was appended', async t => {
  const bytes = dump('00000000000000000000.log')
  const batches: BatchView[] = []
  for (let at = 0; at < bytes.length; at += (batches.at(-1) as BatchView).size) batches.push(new BatchView(bytes, at))
  t.same(
    batches.map(batch => [batch.start, batch.baseOffset, batch.isSound(), batch.isTransactional, batch.isControl]),
    [
      [0, 0, true, false, false],
      [102, 2, true, true, false],
      [174, 3, true, true, true]
    ]
  )
  const cursor = (batches[0] as BatchView).records()
  t.ok(cursor.next())
  t.equal(String(cursor.value()), '{"total":12}')
  t.same(cursor.headers(), [['trace', Buffer.from('ab')]])
  t.ok(cursor.next())
  t.same([cursor.offset, cursor.timestamp, cursor.value()], [1, T0 + 5, null])
  t.notOk(cursor.next())
  const marker = (batches[2] as BatchView).records()
  t.ok(marker.next())
  t.same(parseControlRecord(marker.key(), marker.value()), { type: 'abort', version: 0, coordinatorEpoch: 3 })
})

t.test('the derived files of the page are read by their parsers', async t => {
  const offsets = OffsetIndex.parse(dump('00000000000000000000.index'), 0)
  t.same([offsets.offsetAt(0), offsets.positionAt(0), offsets.offsetAt(1), offsets.positionAt(1)], [2, 102, 3, 174])
  const times = TimeIndex.parse(dump('00000000000000000000.timeindex'), 0)
  t.same([times.entryCount, times.timestampAt(0), times.offsetAt(0)], [1, T0 + 5, 1])
  const aborted = TransactionIndex.parse(dump('00000000000000000000.txnindex'), 0)
  t.match(aborted.entryAt(0), { producerId: 1000, firstOffset: 2, lastOffset: 3, lastStableOffset: 4 })
  const [entry, ...more] = parseProducerSnapshot(dump('00000000000000000004.snapshot'))
  t.match(entry, { producerId: 1000, epoch: 0, coordinatorEpoch: 3 })
  t.equal(more.length, 0)
  for (const name of ['leader-epoch-checkpoint', 'recovery-point-offset-checkpoint', 'replication-offset-checkpoint'])
    t.equal(parseCheckpoint(dump(name), name, fields => fields).length, 1, name)
})

t.test('both slots of the watermark on the page are sound, and the newer one lies at the end', async t => {
  const bytes = dump('heartwood-watermark')
  t.equal(bytes.length, 2 * SLOT_BYTES)
  const newer = parseSlot(bytes.subarray(0, SLOT_BYTES))
  const older = parseSlot(bytes.subarray(SLOT_BYTES))
  t.match(newer, { kind: 'sound', watermark: { offset: 4, position: 252, level: 'synced', syncFailed: false } })
  t.match(older, { kind: 'sound', watermark: { offset: 0, position: 0 } })
})

t.test('the text files of the page are read, and written again they are the same', async t => {
  const meta = dump('meta.properties')
  t.same(formatMetaProperties(parseMetaProperties(meta, 'meta.properties')), meta)
  const metadata = dump('partition.metadata')
  t.same(formatPartitionMetadata(parsePartitionMetadata(metadata, 'partition.metadata')), metadata)
  const marker = dump('.kafka_cleanshutdown')
  t.same(formatCleanShutdownMarker(undefined), marker)
  const topics = parseTopicsFile(dump('heartwood-topics'), 'heartwood-topics')
  t.same(formatTopicsFile(topics), dump('heartwood-topics'))
  t.equal(topics.marker?.digest, digestOf(marker), 'the digest is that of the marker on the page')
  t.same(topics.checkpoints.get('replication-offset-checkpoint'), [digestOf(dump('replication-offset-checkpoint'))])
  const manifest = parseManifest(dump('heartwood-manifest'))
  t.same(formatManifest(manifest), dump('heartwood-manifest'))
  const log = dump('00000000000000000000.log')
  const fs = new MemoryFileSystem()
  const file = await fs.open('/00000000000000000000.log', 'create')
  await file.write(log, 0)
  const { bytes, scan, digest } = await digestOfFile(fs, '/00000000000000000000.log')
  const { nextOffset } = scan
  const transactions = transactionsDigest(dump('00000000000000000000.txnindex'))
  t.match(
    manifest.sealed,
    [{ baseOffset: 0, bytes, nextOffset, digest, transactions }],
    'the digests are those of the log and of the transaction index on the page'
  )
  const holes = parseHoles(dump('heartwood-holes'))
  t.same(formatHoles(holes), dump('heartwood-holes'))
  t.match(holes, [{ fromOffset: 217, toOffset: 434, markedMs: T0 }])
  const holds = parseHolds(dump('heartwood-holds'))
  t.same(formatHolds(holds), dump('heartwood-holds'))
  t.match(holds, [
    { name: 'billing', offset: 217, limitMs: 604_800_000, limitBytes: undefined, brokenMs: undefined },
    { name: 'year-end report', offset: 40, limitBytes: 2 ** 30, brokenMs: T0 + 86_400_001 }
  ])
})

t.test('a torn batch goes into quarantine under the name and with the bytes of the page', async t => {
  const torn = dump('00000000000000000000.log').subarray(0, 174 + 20)
  const fs = new MemoryFileSystem()
  const quarantine = new Quarantine({ fs, dir: '/', permissions: { file: 0o600, folder: 0o700 } })
  const source = { read: async (target: Uint8Array, position: number) => torn.copy(target, 0, position) }
  const { name } = await quarantine.keep({ segment: 0, from: 174, to: torn.length, source })
  t.same(await readWholeFile(fs, `/quarantine/${name}`, MAX_BYTES), dump(String(name)))
})

t.test('the compressed payloads of the page are what is written, and are read', async t => {
  const text = Buffer.from('heartwood '.repeat(8))
  for (const codec of ['snappy', 'lz4'] as const) {
    t.same(decompress(codec, dump(codec), { maxBytes: MAX_BYTES }), text, codec)
  }
  t.same(compress('snappy', text), dump('snappy'))
})
