/**
 * Recovery of a log whose recovery point lies inside a segment: what was good at the last clean close is not read
 * again, and whatever the recovery comes to is what a scan of all of it comes to.
 */
import { cp, open, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

const LOG = '00000000000000000000.log'
const CLOSED_AT = 300
const END = 500
const config = { durability: 'none', indexIntervalBytes: 1000 } as const

async function append(log: PartitionLog, from: number, to: number): Promise<void> {
  // Timestamps go up and down: the largest one of the segment need not be the last.
  for (let i = from; i < to; i += 5) {
    const records = numbered(5, i).map(record => ({ ...record, timestamp: 1_700_000_000_000 + ((i * 37) % 1000) }))
    await log.append(records, { ownBatch: true })
  }
}

/** A log that was closed at offset 300, opened again, and killed at 500. @returns the size at the close. */
async function killed(dir: string): Promise<number> {
  const first = await openLog(dir, { config })
  await append(first, 0, CLOSED_AT)
  const { bytes } = first.segments().at(-1) ?? { bytes: 0 }
  await first.close()
  const second = await openLog(dir, { config, clean: true, recoveryPoint: CLOSED_AT })
  await append(second, CLOSED_AT, END)
  await second.sync()
  await second.close({ clean: false })
  return bytes
}

const recover = (dir: string, recoveryPoint = CLOSED_AT): Promise<PartitionLog> =>
  openLog(dir, { config, clean: false, recoveryPoint })

/** Everything but the side-car that says how far the log is known to be good. */
async function imageOf(dir: string): Promise<Record<string, Buffer>> {
  const folder = join(dir, 't-0')
  const names = (await readdir(folder)).filter(name => name !== 'heartwood-watermark')
  return Object.fromEntries(await Promise.all(names.map(async name => [name, await readFile(join(folder, name))])))
}

/** Recovers `dir`, and a copy of it from its first byte on; both come to the same. */
async function recoversAlike(t: Test, dir: string): Promise<number> {
  const whole = await tempDir(t)
  await cp(dir, whole, { recursive: true })
  const [log, other] = [await recover(dir), await recover(whole, 0)]
  t.equal(log.logEndOffset, other.logEndOffset)
  t.same(await valuesOf(log.records()), await valuesOf(other.records()))
  for (const offset of [0, 150, 299, 300, 301, 499]) t.equal((await log.get(offset))?.offset, offset)
  const { scannedBytes } = log.recovery
  await log.close()
  await other.close()
  t.same(await imageOf(dir), await imageOf(whole), 'files')
  return scannedBytes
}

t.test('a recovery begins at the last index entry below the last clean close', async t => {
  const dir = await tempDir(t)
  const closedBytes = await killed(dir)
  const { length } = await readFile(join(dir, 't-0', LOG))
  const scanned = await recoversAlike(t, dir)
  const past = length - closedBytes
  t.ok(scanned >= past && scanned < past + 2000, `${scanned} of ${length} bytes, ${past} of them behind the close`)
})

t.test('producers are as of the close, and go on from there', async t => {
  const dir = await tempDir(t)
  const producer = (baseSequence: number) => ({ producerId: 7, producerEpoch: 0, baseSequence })
  const first = await openLog(dir, { config })
  await append(first, 0, CLOSED_AT)
  await first.append(numbered(2, CLOSED_AT), producer(0))
  await first.close()
  const second = await openLog(dir, { config, clean: true, recoveryPoint: CLOSED_AT + 2 })
  await second.append(numbered(3, CLOSED_AT + 2), producer(2))
  await second.sync()
  await second.close({ clean: false })
  const log = await recover(dir, CLOSED_AT + 2)
  t.teardown(() => log.close())
  t.ok(log.recovery.scannedBytes < 3000)
  t.match(await log.append(numbered(2, CLOSED_AT), producer(0)), { baseOffset: CLOSED_AT, duplicate: true })
  t.match(await log.append(numbered(3, CLOSED_AT + 2), producer(2)), { baseOffset: CLOSED_AT + 2, duplicate: true })
  t.match(await log.append(numbered(1), producer(5)), { baseOffset: CLOSED_AT + 5, duplicate: false })
})

const file = (dir: string, name: string): string => join(dir, 't-0', name)

async function change(path: string, at: number, bytes: Buffer): Promise<void> {
  const handle = await open(path, 'r+')
  await handle.write(bytes, 0, bytes.length, at)
  await handle.close()
}

/** What makes a recovery read the segment from its start. */
const DOUBTS: Record<string, (dir: string) => Promise<unknown>> = {
  'no index': dir => unlink(file(dir, LOG.replace('.log', '.index'))),
  'no time index': dir => unlink(file(dir, LOG.replace('.log', '.timeindex'))),
  'an index that is not in order': dir => change(file(dir, LOG.replace('.log', '.index')), 8, Buffer.alloc(8, 0x7f)),
  'an index of other batches': async dir => {
    const path = file(dir, LOG.replace('.log', '.index'))
    const bytes = await readFile(path)
    for (let at = 4; at < bytes.length; at += 8) bytes.writeInt32BE(bytes.readInt32BE(at) + 1, at)
    await writeFile(path, bytes)
  },
  'no snapshot of the close': dir => unlink(file(dir, '00000000000000000300.snapshot')),
  'no leader epochs': dir => unlink(file(dir, 'leader-epoch-checkpoint')),
  'an index of aborted transactions': dir => writeFile(file(dir, LOG.replace('.log', '.txnindex')), ''),
  'no watermark': dir => rm(file(dir, 'heartwood-watermark'))
}

for (const [doubt, make] of Object.entries(DOUBTS)) {
  t.test(`with ${doubt}, all of the segment is read`, async t => {
    const dir = await tempDir(t)
    await killed(dir)
    await make(dir)
    const { length } = await readFile(file(dir, LOG))
    t.ok((await recoversAlike(t, dir)) >= length)
  })
}

t.test('a cut below the close takes it back, however far the saved recovery point is behind that', async t => {
  const dir = await tempDir(t)
  await killed(dir)
  const log = await recover(dir)
  await log.truncateTo(100)
  // Batches of another size than those that were there.
  for (let i = 100; i < END; i += 4) await log.append(numbered(4, i), { ownBatch: true })
  await log.sync()
  await log.close({ clean: false })
  const { length } = await readFile(file(dir, LOG))
  t.ok((await recoversAlike(t, dir)) >= length)
})

t.test('damage behind the close is found, and so is damage to the batch that the scan would begin with', async t => {
  for (const back of [50, 900]) {
    const dir = await tempDir(t)
    const closedBytes = await killed(dir)
    const { length } = await readFile(file(dir, LOG))
    // Below the close: any batch of the last thousand bytes in front of it may be the one.
    for (let at = back === 50 ? length - 50 : closedBytes - back; at < length; at += 200) {
      await change(file(dir, LOG), at, Buffer.from([0xee]))
    }
    await t.rejects(recover(dir), { code: 'CORRUPT_LOG' })
  }
})

t.test('whatever bit of the time index is another one, a search by time finds what is there', async t => {
  const dir = await tempDir(t)
  await killed(dir)
  const path = file(dir, LOG.replace('.log', '.timeindex'))
  const sound = await readFile(path)
  const first = await recover(dir)
  const records: { offset: number; timestamp: number }[] = []
  for await (const { offset, timestamp } of first.records()) records.push({ offset, timestamp })
  await first.close({ clean: false })
  const wanted = records.filter((_, i) => i % 7 === 0).map(({ timestamp }) => timestamp)
  const expected = wanted.map(time => records.find(({ timestamp }) => timestamp >= time)?.offset)
  const before = await tempDir(t)
  await cp(dir, before, { recursive: true })
  // Of each entry some bits of its time, and some of its offset.
  for (let bit = 0; bit < sound.length * 8; bit += 5) {
    if (bit % 96 < 40) continue
    await rm(dir, { recursive: true })
    await cp(before, dir, { recursive: true })
    const at = bit >> 3
    await change(path, at, Buffer.from([(sound[at] as number) ^ (1 << (bit & 7))]))
    const log = await recover(dir)
    const found = await Promise.all(wanted.map(async time => (await log.offsetForTimestamp(time))?.offset))
    await log.close({ clean: false })
    t.same(found, expected, `bit ${bit} of ${sound.length * 8}`)
  }
})
