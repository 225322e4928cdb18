/**
 * Going through a log page by page: what is read ahead, in which memory, and what becomes of damage.
 */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { StreamOptions } from '../../lib/log/types.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { numbered, openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

const SEGMENT = '00000000000000000000'

/** A closed log of batches of ten, opened again, so that nothing of it is in memory. */
async function reopened(t: Test, batches: number): Promise<{ dir: string; log: PartitionLog }> {
  const dir = await tempDir(t)
  const writer = await openLog(dir, { config: { durability: 'none' } })
  for (let i = 0; i < batches * 10; i += 10) await writer.append(numbered(10, i), { ownBatch: true })
  await writer.close()
  const log = await openLog(dir, { clean: true, recoveryPoint: batches * 10, config: { durability: 'none' } })
  t.teardown(() => log.close())
  return { dir, log }
}

/** Offsets and values by each of the three ways through a log. */
const WAYS: Record<string, (log: PartitionLog, options: StreamOptions) => AsyncGenerator<string>> = {
  async *records(log, options) {
    for await (const { offset, value } of log.records(options)) yield `${offset} ${value}`
  },
  async *pages(log, options) {
    for await (const page of log.records(options).pages())
      for (const { offset, value } of page) yield `${offset} ${value}`
  },
  async *scan(log, options) {
    const scan = log.scan(options)
    while (await scan.fill())
      for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next())
        while (cursor.next()) yield `${cursor.offset} ${cursor.value()}`
  }
}

for (const [name, way] of Object.entries(WAYS)) {
  t.test(`${name}: every record from any offset on, whatever the size of a read`, async t => {
    const { log } = await reopened(t, 60)
    for (const maxBytes of [1, 700, 5000, 1 << 20]) {
      for (const from of [0, 1, 9, 10, 305, 599, 600]) {
        const seen: string[] = []
        for await (const line of way(log, { from, maxBytes })) seen.push(line)
        const expected = Array.from({ length: 600 - from }, (_, i) => `${from + i} value-${from + i}`)
        if (seen.join() !== expected.join()) t.fail(`from ${from}, ${maxBytes} bytes: ${seen.length} records`)
      }
    }
    await t.rejects(way(log, { from: 601 }).next(), { code: 'OFFSET_OUT_OF_RANGE' })
  })

  t.test(`${name}: what is sound in front of damage is given out, then reading fails`, async t => {
    const { dir, log } = await reopened(t, 60)
    const { batches } = await log.read(300, { maxBytes: 1 })
    const path = join(dir, 't-0', `${SEGMENT}.log`)
    const at = (await readFile(path)).indexOf(batches)
    const file = await open(path, 'r+')
    await file.write(Buffer.from('!'), 0, 1, at + batches.length - 3)
    await file.close()
    for (const maxBytes of [1, 5000, 1 << 20]) {
      const seen: string[] = []
      const reading = (async () => {
        for await (const line of way(log, { from: 5, maxBytes })) seen.push(line)
      })()
      await t.rejects(reading, { code: 'CORRUPT_LOG', details: { position: at } })
      t.equal(seen.length, 295)
      t.equal(seen.at(-1), '299 value-299')
    }
    let count = 0
    for await (const _ of way(log, { checkCrc: false })) count += 1
    t.equal(count, 600, 'who does not want to know is not told')
  })

  t.test(`${name}: an index that leads to what only looks like a batch costs time, not records`, async t => {
    const dir = await tempDir(t)
    const config = { durability: 'none', indexIntervalBytes: 100 } as const
    const writer = await openLog(dir, { config })
    const decoy = encodeBatch(numbered(10, 50), { now: 0, baseOffset: 50 })
    decoy[decoy.length - 3]! ^= 1
    for (let i = 0; i < 200; i += 10) {
      const records = numbered(10, i).map(({ key, value }) => ({ key, value, headers: i === 40 ? { decoy } : {} }))
      await writer.append(records, { ownBatch: true })
    }
    await writer.roll()
    await writer.close()
    const at = (await readFile(join(dir, 't-0', `${SEGMENT}.log`))).indexOf(decoy)
    const path = join(dir, 't-0', `${SEGMENT}.index`)
    const index = await readFile(path)
    for (let entry = 0; entry < index.length; entry += 8)
      if (index.readInt32BE(entry) === 59) index.writeInt32BE(at, entry + 4)
    const file = await open(path, 'r+')
    await file.write(index)
    await file.close()
    const log = await openLog(dir, { clean: true, recoveryPoint: 200, config })
    t.teardown(() => log.close())
    const seen: string[] = []
    for await (const line of way(log, { from: 59 })) seen.push(line)
    t.equal(seen.length, 141)
    t.equal(seen[0], '59 value-59')
    t.equal(String((await log.get(59))?.value), 'value-59')
  })
}

t.test('a page that was read ahead is read again if the log was cut meanwhile', async t => {
  const { log } = await reopened(t, 20)
  const stream = log.batches({ from: 0, to: 200, maxBytes: 1 })
  for (let page = 0; page < 3; page += 1) t.equal((await stream.next()).value?.baseOffset, page * 10)
  await log.truncateTo(30)
  await log.append(Array.from({ length: 10 }, (_, i) => ({ value: `new-${30 + i}` })))
  const { value } = await stream.next()
  t.equal(value?.baseOffset, 30)
  t.ok(value?.batches.includes('new-30'))
  t.equal((await stream.next()).done, true)
})

t.test(
  'a scan reads into the same memory again and again; streams of records leave theirs to the consumer',
  async t => {
    const { log } = await reopened(t, 100)
    const memory = new Set<ArrayBufferLike>()
    const scan = log.scan({ maxBytes: 500 })
    let pages = 0
    for (; await scan.fill(); pages += 1) memory.add(scan.next()!.bytes.buffer)
    t.ok(pages >= 30, `${pages} pages`)
    t.ok(memory.size <= 4, `${memory.size} buffers`)
    const kept = []
    for await (const record of log.records({ maxBytes: 500 })) kept.push(record)
    t.same(
      kept.map(({ offset, value }) => `${offset} ${value}`),
      Array.from({ length: 1000 }, (_, i) => `${i} value-${i}`)
    )
  }
)

t.test('nothing is read ahead for who takes the first page only', async t => {
  const { log } = await reopened(t, 100)
  const before = log.stats().reads
  for await (const _ of log.batches({ maxBytes: 500 })) break
  t.equal(log.stats().reads, before + 1)
})
