/**
 * What a lookup costs, counted in calls through the FileSystem: one read of one index interval and its batch.
 */
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FileHandle, FileSystem, OpenMode } from '../../lib/fs/file-system.ts'
import { NodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { BatchCache } from '../../lib/log/batch-cache.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { numbered, openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { tempDir } from '../helpers/paths.ts'

/** Counts reads of `.log` files and the bytes they asked for. */
class CountingFileSystem extends NodeFileSystem {
  reads = 0
  readsHere = 0
  bytes = 0
  onReadSync = (): void => undefined

  clear(): void {
    this.reads = 0
    this.readsHere = 0
    this.bytes = 0
  }

  override async open(path: string, mode: OpenMode, permissions?: number): Promise<FileHandle> {
    return this.#counted(await super.open(path, mode, permissions))
  }

  override openSync(path: string, mode: OpenMode): FileHandle {
    return this.#counted(super.openSync(path, mode))
  }

  #counted(handle: FileHandle): FileHandle {
    if (!handle.path.endsWith('.log')) return handle
    return new Proxy(handle, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown
        if (name === 'read' || name === 'readSync') {
          return (buffer: Uint8Array, position: number) => {
            this.reads += 1
            this.bytes += buffer.length
            if (name === 'readSync') {
              this.readsHere += 1
              this.onReadSync()
            }
            return (value as FileHandle['read']).call(target, buffer, position)
          }
        }
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      }
    })
  }
}

t.test('a lookup by offset is one read of at most two index intervals and two batches', async t => {
  const dir = await tempDir(t)
  const indexIntervalBytes = 4096
  const writer = await openLog(dir, { config: { durability: 'none', indexIntervalBytes } })
  for (let i = 0; i < 20_000; i += 20) {
    await writer.append(numbered(20, i), { ownBatch: true })
  }
  await writer.close()
  const fs = new CountingFileSystem()
  const log = await openLog(dir, { clean: true, recoveryPoint: 20_000, shared: sharedParts({ fs: fs as FileSystem }) })
  t.teardown(() => log.close())
  await log.read(0, { maxBytes: 1 }) // the index is in memory from here on
  for (let i = 0; i < 500; i += 1) {
    const offset = (i * 7919) % 20_000
    fs.reads = 0
    fs.bytes = 0
    const { batches } = await log.read(offset, { maxBytes: 1 })
    const batch = new BatchView(batches)
    t.ok(batch.baseOffset <= offset && offset <= batch.lastOffset && batches.length === batch.size)
    if (fs.reads !== 1 || fs.bytes > 2 * (indexIntervalBytes + batch.size))
      t.fail(`${fs.reads} reads, ${fs.bytes} bytes for offset ${offset}`)
  }
})

for (const isSlow of [false, true]) {
  const where = isSlow ? 'through the pool where that is slow' : 'on the calling thread where that is fast'
  t.test(`a stream reads each byte about once, ${where}, and lets the event loop turn`, async t => {
    const dir = await tempDir(t)
    const writer = await openLog(dir, { config: { durability: 'none' } })
    const records = numbered(10).map(record => ({ ...record, value: Buffer.alloc(10_000, record.value) }))
    for (let i = 0; i < 120; i += 1) await writer.append(records, { ownBatch: true })
    const bytes = writer.segments()[0]?.bytes ?? 0
    await writer.close()
    const fs = new CountingFileSystem()
    const clock = new ManualClock()
    const shared = sharedParts({ fs, clock })
    const log = await openLog(dir, { clean: true, recoveryPoint: 1200, config: { durability: 'none' }, shared })
    t.teardown(() => log.close())
    await log.read(0, { maxBytes: 1 })
    fs.clear()
    fs.onReadSync = () => clock.advance(isSlow ? 10 : 0.1)
    let turns = 0
    const turn = (): void => {
      turns += 1
      immediate = setImmediate(turn)
    }
    let immediate = setImmediate(turn)
    const scan = log.scan()
    let seen = 0
    let pages = 0
    for (; await scan.fill(); pages += 1) {
      for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next()) seen += cursor.batch.recordCount
      clock.advance(1) // that is what decoding takes
    }
    clearImmediate(immediate)
    t.equal(seen, 1200)
    // A batch of 100 KB that does not fit at the end of a page is read with the next one.
    t.ok(fs.bytes < bytes * 1.25, `${fs.bytes} bytes read of ${bytes}`)
    const here = fs.readsHere / fs.reads
    t.ok(isSlow ? here < 0.4 : here === 1, `${fs.readsHere} of ${fs.reads} reads on the calling thread`)
    t.ok(turns >= pages / 3, `${turns} turns in ${pages} pages of a millisecond each`)
  })
}

t.test('what the writer still holds costs no read at all', async t => {
  const fs = new CountingFileSystem()
  const log = await openLog(await tempDir(t), { shared: sharedParts({ fs: fs as FileSystem }) })
  t.teardown(() => log.close())
  for (let i = 0; i < 100; i += 10) await log.append(numbered(10, i))
  fs.reads = 0
  for (let offset = 0; offset < 100; offset += 1) await log.read(offset)
  t.equal(fs.reads, 0)
  t.equal(log.stats().readsFromMemory, 100)
})

/** A closed log of batches of ten, opened again, so that nothing of it is in the tail. */
async function reopened(t: Test, options: { batches: number; cacheBytes?: number; compression?: 'gzip' }) {
  const dir = await tempDir(t)
  const writer = await openLog(dir, { config: { durability: 'none' } })
  const append = { ownBatch: true, ...(options.compression && { compression: options.compression }) }
  for (let i = 0; i < options.batches * 10; i += 10) await writer.append(numbered(10, i), append)
  await writer.close()
  const fs = new CountingFileSystem()
  const batchCache = new BatchCache({ maxBytes: options.cacheBytes ?? 1 * MiB })
  const log = await openLog(dir, {
    clean: true,
    recoveryPoint: options.batches * 10,
    shared: sharedParts({ fs, batchCache })
  })
  t.teardown(() => log.close())
  await log.get(0) // index in memory, file open
  return { dir, log, fs, batchCache }
}

async function valueAt(log: PartitionLog, offset: number): Promise<string | undefined> {
  const record = await log.get(offset)
  return record === undefined ? undefined : `${record.offset} ${record.value}`
}

t.test(
  'get gives the record of every offset, with one read of a batch at most, and none while it is cached',
  async t => {
    const { log, fs } = await reopened(t, { batches: 300 })
    for (let i = 0; i < 3000; i += 1) {
      const offset = (i * 7919) % 3000
      fs.reads = 0
      t.equal(await valueAt(log, offset), `${offset} value-${offset}`)
      if (fs.reads > 2) t.fail(`${fs.reads} reads for offset ${offset}`)
    }
    fs.reads = 0
    for (let offset = 0; offset < 3000; offset += 1) await log.get(offset)
    t.equal(fs.reads, 0, '300 batches fit into the cache')
    const { pointReads, pointReadsFromMemory } = log.stats()
    t.equal(pointReads, 6001)
    t.ok(pointReadsFromMemory >= 3000)
  }
)

t.test('a batch is cached when it is looked into again soon, and not before', async t => {
  const { log, fs, batchCache } = await reopened(t, { batches: 300 })
  const before = batchCache.count
  for (let offset = 10; offset < 3000; offset += 10) await log.get(offset)
  t.equal(batchCache.count, before, 'once, nothing of it is kept')
  for (let offset = 0; offset < 3000; offset += 10) await log.get(offset)
  t.ok(batchCache.count > 250, `${batchCache.count} of 300 after the second time`)
  fs.clear()
  for (let offset = 5; offset < 3000; offset += 10) await log.get(offset)
  t.ok(fs.reads < 100, `${fs.reads} reads for records of 300 batches`)
})

t.test('a record that get gave is the caller’s: it stays, and changing it changes nothing', async t => {
  const { log } = await reopened(t, { batches: 20 })
  const record = await log.get(42)
  record?.value?.fill(0x78)
  t.equal(String(record?.value), 'x'.repeat('value-42'.length))
  t.equal(await valueAt(log, 42), '42 value-42')
  t.equal(String(record?.key), `k${42 % 7}`)
  t.same((await log.get(43))?.headers, [])
})

t.test('what does not fit into the cache is read again, what is compressed lies in it decompressed', async t => {
  for (const compression of [undefined, 'gzip'] as const) {
    // Batches of 80 KB: a cache of 1 MiB has room for thirteen.
    const dir = await tempDir(t)
    const writer = await openLog(dir, { config: { durability: 'none' } })
    const values = (i: number) => Buffer.alloc(8000, `value ${i} `)
    for (let i = 0; i < 1000; i += 10) {
      const records = Array.from({ length: 10 }, (_, j) => ({
        key: `k${i + j}`,
        value: values(i + j),
        headers: { h: `${i}` }
      }))
      await writer.append(records, { ownBatch: true, ...(compression && { compression }) })
    }
    await writer.close()
    const batchCache = new BatchCache({ maxBytes: 1 * MiB })
    const log = await openLog(dir, { clean: true, recoveryPoint: 1000, shared: sharedParts({ batchCache }) })
    t.teardown(() => log.close())
    for (let i = 0; i < 2000; i += 1) {
      const offset = (i * 7919) % 1000
      const record = await log.get(offset)
      if (record?.value?.equals(values(offset)) !== true || String(record.key) !== `k${offset}`)
        t.fail(`offset ${offset} gives ${record?.offset} ${record?.value}`)
      if (String(record?.headers[0]?.[1]) !== `${offset - (offset % 10)}`) t.fail(`headers of ${offset}`)
    }
    // Each is looked into again after a hundred others; what was decompressed is kept from the first time on.
    const expected = compression === undefined ? [0, 0] : [6, 13]
    t.ok(batchCache.count >= expected[0]! && batchCache.count <= expected[1]!, `${batchCache.count} of ${expected}`)
    for (let offset = 0; offset < 1000; offset += 1) await log.get(offset)
    t.ok(batchCache.count > 5 && batchCache.count <= 13, `${batchCache.count} batches of 80 KB in 1 MiB`)
  }
})

t.test('get knows nothing of what was cut off, at either end', async t => {
  const { log } = await reopened(t, { batches: 20 })
  for (let offset = 0; offset < 200; offset += 1) await log.get(offset)
  await log.truncateTo(100)
  await t.rejects(log.get(150), { code: 'OFFSET_OUT_OF_RANGE' })
  await log.append(Array.from({ length: 100 }, (_, i) => ({ value: `new-${100 + i}` })))
  t.equal(await valueAt(log, 150), '150 new-150')
  await log.sync()
  t.equal(await valueAt(log, 99), '99 value-99')
  await log.deleteRecordsBefore(50)
  await t.rejects(log.get(49), { code: 'OFFSET_OUT_OF_RANGE' })
  t.equal(await valueAt(log, 50), '50 value-50')
})

t.test(
  'get gives nothing where there is no record: at the bound, for markers, for aborted records if asked',
  async t => {
    const log = await openLog(await tempDir(t), { config: { durability: 'none' } })
    t.teardown(() => log.close())
    const producer = { producerId: 7, producerEpoch: 0 }
    await log.append([{ value: 'a' }], { ...producer, baseSequence: 0, transactional: true })
    await log.appendEndTransaction({ type: 'abort', ...producer })
    await log.append([{ value: 'c' }], { ...producer, baseSequence: 1, transactional: true })
    await log.appendEndTransaction({ type: 'commit', ...producer })
    await log.append([{ value: 'e' }], { ...producer, baseSequence: 2, transactional: true })
    const seen = async (isolation: 'read_committed' | 'read_uncommitted') => {
      const values: string[] = []
      for (let offset = 0; offset <= 5; offset += 1)
        values.push(String((await log.get(offset, { isolation }))?.value ?? '-'))
      return values.join('')
    }
    for (const place of ['tail', 'file', 'cache']) {
      t.equal(await seen('read_uncommitted'), 'a-c-e-', place)
      t.equal(await seen('read_committed'), '--c---', place)
      if (place === 'tail') await log.roll()
    }
    await t.rejects(log.get(6), { code: 'OFFSET_OUT_OF_RANGE' })
    await t.rejects(log.get(-1), { code: 'OFFSET_OUT_OF_RANGE' })
    await t.rejects(log.get(0.5), { code: 'OFFSET_OUT_OF_RANGE' })
  }
)

t.test('a batch that is damaged on the disk is refused, wherever the record lies in it', async t => {
  const { dir, log } = await reopened(t, { batches: 20 })
  const path = join(dir, 't-0', '00000000000000000000.log')
  const { batches, baseOffset } = await log.read(100, { maxBytes: 1 })
  const at = (await readFile(path)).indexOf(batches)
  const file = await open(path, 'r+')
  await file.write(Buffer.from('!'), 0, 1, at + batches.length - 3)
  await file.close()
  t.equal(baseOffset, 100)
  await t.rejects(log.get(100), { code: 'CORRUPT_LOG' })
  await t.rejects(log.get(109), { code: 'CORRUPT_LOG' })
  t.equal(await valueAt(log, 99), '99 value-99')
  t.equal(await valueAt(log, 110), '110 value-110')
})

t.test('slow reads are left to the thread pool; other work gets its turn between quick ones', async t => {
  const clock = new ManualClock()
  const { dir } = await reopened(t, { batches: 300 })
  let onCallingThread = 0
  class SlowFileSystem extends NodeFileSystem {
    override async open(path: string, mode: OpenMode, permissions?: number): Promise<FileHandle> {
      const handle = await super.open(path, mode, permissions)
      const { readSync } = handle
      handle.readSync = (target, position) => {
        onCallingThread += 1
        clock.advance(10)
        return readSync.call(handle, target, position)
      }
      return handle
    }
  }
  const shared = sharedParts({ fs: new SlowFileSystem(), clock, batchCache: new BatchCache({ maxBytes: 1 * MiB }) })
  const log = await openLog(dir, { clean: true, recoveryPoint: 3000, readOnly: true, shared })
  t.teardown(() => log.close())
  for (let offset = 0; offset < 3000; offset += 10) t.equal(await valueAt(log, offset), `${offset} value-${offset}`)
  t.ok(onCallingThread > 0 && onCallingThread <= 10, `${onCallingThread} of 300 reads held the event loop`)
  let turns = 0
  const turn = setInterval(() => {
    turns += 1
  }, 0)
  for (let i = 0; i < 20_000; i += 1) await log.get(i % 3000)
  clearInterval(turn)
  t.ok(turns > 0)
})
