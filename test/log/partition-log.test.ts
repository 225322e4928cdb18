import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KiB } from '../../lib/util/sizes.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('what is appended is read back, and again after closing and opening', async t => {
  const dir = await tempDir(t)
  const log = await openLog(dir)
  const ack = await log.append([{ key: 'o-1', value: '{"total":12}', headers: [['trace', 'ab']] }])
  t.match(
    { baseOffset: ack.baseOffset, lastOffset: ack.lastOffset, level: ack.level },
    { baseOffset: 0, lastOffset: 0, level: 'synced' }
  )
  await log.append(numbered(10, 1))
  t.equal(log.logEndOffset, 11)
  t.equal(log.durableOffset, 11)
  t.same((await valuesOf(log.records())).length, 11)
  t.same(await log.close(), { clean: true })

  const again = await openLog(dir, { clean: true, recoveryPoint: 11 })
  t.teardown(() => again.close())
  t.equal(again.logEndOffset, 11)
  t.ok(again.recovery.clean, 'a clean close opens without scanning')
  const records = []
  for await (const record of again.records({ from: 0, to: 1 })) records.push(record)
  t.same(
    records.map(r => [r.offset, String(r.key), String(r.value), r.headers.map(([n, v]) => [n, String(v)])]),
    [[0, 'o-1', '{"total":12}', [['trace', 'ab']]]]
  )
})

t.test('appends of one tick share a batch, in the order of the calls', async t => {
  const log = await openLog(await tempDir(t))
  t.teardown(() => log.close())
  const acks = await Promise.all(Array.from({ length: 64 }, (_, i) => log.append([{ value: `v${i}` }])))
  t.same(
    acks.map(ack => ack.baseOffset),
    Array.from({ length: 64 }, (_, i) => i)
  )
  t.equal(log.stats().groups, 1)
  t.equal(log.stats().batches, 1)
  t.same(
    await valuesOf(log.records()),
    Array.from({ length: 64 }, (_, i) => `v${i}`)
  )
})

t.test('a log rolls by size, and its segments read as one', async t => {
  const dir = await tempDir(t)
  const log = await openLog(dir, { config: { segmentBytes: 4 * KiB, durability: 'none', indexIntervalBytes: 256 } })
  for (let i = 0; i < 400; i += 10) await log.append(numbered(10, i), { ownBatch: true })
  t.ok(log.segments().length > 2, `${log.segments().length} segments`)
  const all = Array.from({ length: 400 }, (_, i) => `value-${i}`)
  t.same(await valuesOf(log.records()), all)
  for (const from of [0, 1, 9, 10, 155, 399]) t.same(await valuesOf(log.records({ from })), all.slice(from))
  await log.close()
  const again = await openLog(dir, { clean: false, config: { segmentBytes: 4 * KiB } })
  t.teardown(() => again.close())
  t.equal(again.logEndOffset, 400)
  t.same(await valuesOf(again.records()), all, 'also after recovery without a marker')
})

t.test('a follower gets records as they arrive and ends quietly when its signal aborts', async t => {
  const log = await openLog(await tempDir(t))
  t.teardown(() => log.close())
  await log.append(numbered(3))
  const stop = new AbortController()
  const seen: string[] = []
  const following = (async () => {
    for await (const record of log.records({ follow: true, signal: stop.signal })) {
      seen.push(String(record.value))
      if (seen.length === 6) stop.abort()
    }
  })()
  await log.append(numbered(2, 3))
  await log.append(numbered(1, 5))
  await following
  t.same(
    seen,
    Array.from({ length: 6 }, (_, i) => `value-${i}`)
  )
})

t.test('an offset outside the log is refused with the valid range', async t => {
  const log = await openLog(await tempDir(t))
  t.teardown(() => log.close())
  await log.append(numbered(5))
  for (const offset of [-1, 6, 1.5, Number.NaN]) {
    await t.rejects(log.read(offset), { code: 'OFFSET_OUT_OF_RANGE', details: { logStartOffset: 0, logEndOffset: 5 } })
  }
  await t.rejects(valuesOf(log.records({ from: 99 })), { code: 'OFFSET_OUT_OF_RANGE' })
  t.same((await log.read(5)).batches.length, 0, 'the end is nothing to read yet')
})

t.test('each durability says the level it reached, and a higher one can be waited for', async t => {
  const levels = { batch: 'synced', interval: 'written', none: 'written', buffered: 'accepted' } as const
  for (const [durability, level] of Object.entries(levels) as [keyof typeof levels, string][]) {
    const log = await openLog(await tempDir(t), { config: { durability } })
    const ack = await log.append(numbered(3))
    t.equal(ack.level, level, durability)
    await ack.reached('synced')
    t.equal(log.durableOffset, 3, `${durability} after reached('synced')`)
    t.equal((await log.append(numbered(1), { durability: 'batch' })).level, 'synced', `${durability}, more asked for`)
    t.same((await valuesOf(log.records())).length, 4)
    await log.close()
  }
})

t.test('under "buffered" records are read from memory before they are written', async t => {
  const log = await openLog(await tempDir(t), {
    config: { durability: 'buffered', flushMessages: 1000, flushMs: 60_000, flushBytes: 1_000_000 }
  })
  t.teardown(() => log.close())
  await log.append(numbered(10))
  t.equal(log.writtenOffset, 0)
  t.equal((await valuesOf(log.records())).length, 10)
  t.ok(await log.offsetForTimestamp(0), 'a search by time writes first')
  t.equal(log.writtenOffset, 10)
})

t.test('truncateTo drops the suffix, and the log goes on from there', async t => {
  const dir = await tempDir(t)
  const config = { segmentBytes: 2 * KiB, indexIntervalBytes: 128 }
  const log = await openLog(dir, { config })
  for (let i = 0; i < 100; i += 5) await log.append(numbered(5, i), { ownBatch: true })
  await log.truncateTo(52)
  t.equal(log.logEndOffset, 52, 'the whole batch goes, the end is what was asked for')
  t.same(
    await valuesOf(log.records()),
    Array.from({ length: 50 }, (_, i) => `value-${i}`)
  )
  await log.append([{ value: 'new' }])
  t.same((await valuesOf(log.records())).slice(-2), ['value-49', 'new'])
  await log.close()
  const again = await openLog(dir, { config })
  t.teardown(() => again.close())
  t.same((await valuesOf(again.records())).slice(-2), ['value-49', 'new'])
})

t.test('deleteRecordsBefore raises the log start and removes whole files below it', async t => {
  let persisted = 0
  const log = await openLog(await tempDir(t), {
    config: { segmentBytes: 2 * KiB },
    persistLogStart: async offset => void (persisted = offset)
  })
  t.teardown(() => log.close())
  for (let i = 0; i < 200; i += 5) await log.append(numbered(5, i), { ownBatch: true })
  const before = log.segments().length
  t.equal(await log.deleteRecordsBefore(123), 123)
  t.equal(persisted, 123)
  t.ok(log.segments().length < before)
  t.same((await valuesOf(log.records()))[0], 'value-123')
  await t.rejects(log.read(122), { code: 'OFFSET_OUT_OF_RANGE' })
  await t.rejects(log.deleteRecordsBefore(201), { code: 'OFFSET_OUT_OF_RANGE' })
  t.equal(await log.deleteRecordsBefore(5), 123, 'never lowered')
})

t.test('bad input is refused with a typed error, and the log goes on', async t => {
  const log = await openLog(await tempDir(t), { config: { maxMessageBytes: 1000 } })
  await t.rejects(log.append([]), { code: 'INVALID_RECORD' })
  await t.rejects(log.append([{ value: 'x'.repeat(1000) }]), { code: 'RECORD_BATCH_TOO_LARGE' })
  await t.rejects(log.append([{ value: 'good' }, { value: 'y'.repeat(2000) }]), { code: 'RECORD_BATCH_TOO_LARGE' })
  await t.rejects(log.append([{ value: 42 as unknown as string }]), TypeError)
  await t.rejects(log.appendBatch(Buffer.alloc(10)), { name: 'LogError' })
  t.equal(log.logEndOffset, 0, 'nothing is kept of what was refused')
  t.equal((await log.append([{ value: 'good' }])).baseOffset, 0)
  await log.close()
  await t.rejects(log.append([{ value: 'late' }]), { code: 'LOG_CLOSED' })
  await t.rejects(log.read(0), { code: 'LOG_CLOSED' })
  t.same(await log.close(), { clean: true }, 'closing twice is one closing')
})

t.test('a damaged index entry costs time, never records; damage in the log is told where it is', async t => {
  const dir = await tempDir(t)
  const writer = await openLog(dir, { config: { durability: 'none', indexIntervalBytes: 256, segmentBytes: 20_000 } })
  for (let i = 0; i < 2000; i += 10) await writer.append(numbered(10, i), { ownBatch: true })
  await writer.close()
  const index = join(dir, 't-0', '00000000000000000000.index')
  const bytes = await readFile(index)
  bytes.writeInt32BE(bytes.readInt32BE(8 * 5) + 1, 8 * 5)
  bytes.writeInt32BE(bytes.readInt32BE(8 * 7 + 4) + 3, 8 * 7 + 4)
  await writeFile(index, bytes)
  const log = await openLog(dir, { clean: true, recoveryPoint: 2000 })
  t.teardown(() => log.close())
  t.same(
    await valuesOf(log.records({ from: 0 })),
    Array.from({ length: 2000 }, (_, i) => `value-${i}`)
  )
  for (let offset = 0; offset < 600; offset += 7)
    t.equal((await valuesOf(log.records({ from: offset, to: offset + 1 })))[0], `value-${offset}`)

  const segment = join(dir, 't-0', '00000000000000000000.log')
  const content = await readFile(segment)
  content[5000] = (content[5000] ?? 0) ^ 1
  await writeFile(segment, content)
  const seen: string[] = []
  await t.rejects(
    (async () => {
      for await (const record of log.records()) seen.push(String(record.value))
    })(),
    { code: 'CORRUPT_LOG', details: { segment: 0 } }
  )
  t.ok(seen.length > 100 && seen.length % 10 === 0, `${seen.length} records in front of the damage were given out`)
})

t.test('a stream that waits behind a cut is told of it', async t => {
  // It used to wait until the log had grown beyond where it stood, and to pass over what came in between.
  await using log = await openLog(await tempDir(t))
  for (let i = 0; i < 4; i += 1) await log.append([{ value: `${i}` }])
  const at = log.records({ from: 2, follow: true })
  const behind = log.records({ from: 'latest', follow: true })
  const refused = t.rejects(behind.next(), { code: 'OFFSET_OUT_OF_RANGE' })
  await new Promise(resolve => setImmediate(resolve))
  await log.truncateTo(2)
  await refused
  const next = at.next()
  await log.append([{ value: 'new' }])
  t.equal(String((await next).value?.value), 'new')
})

t.test('a file that was cut behind our back is damage, not an endless search for the rest', async t => {
  const dir = await tempDir(t)
  const first = await openLog(dir)
  for (let i = 0; i < 4; i += 1) await first.append([{ value: `${i}` }], { ownBatch: true })
  await first.close()
  await using log = await openLog(dir, { clean: true, recoveryPoint: 4 })
  const path = join(log.dir, '00000000000000000000.log')
  const bytes = await readFile(path)
  // At a batch, and within one. (It used to hold the thread for ever.)
  for (const length of [(bytes.length / 4) * 3, (bytes.length / 4) * 3 - 5]) {
    await truncate(path, length)
    await t.rejects(log.read(3), { code: 'CORRUPT_LOG' })
  }
})
