/** What bounds a log that is written faster than its disk takes it, and what becomes of those who wait. */
import t from 'tap'
import { ArenaPool } from '../../lib/log/arena.ts'
import type { LogConfig } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { KiB, MiB } from '../../lib/util/sizes.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { file, memoryFolder } from '../helpers/partition-folder.ts'

const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i += 1) await new Promise(resolve => setImmediate(resolve))
}

async function memoryLog(config: Partial<LogConfig> = {}, arena = new ArenaPool()) {
  const fs = await memoryFolder({})
  const clock = new ManualClock()
  const shared = sharedParts({ fs, clock, arena })
  const open = (more: Partial<LogConfig> = {}): Promise<PartitionLog> =>
    openLog('/data', { config: { ...config, ...more }, shared })
  return { fs, clock, shared, open, log: await open() }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code })
}

/** Holds every call of one kind until told otherwise. */
function hold(fs: Awaited<ReturnType<typeof memoryLog>>['fs'], operation: string): () => void {
  let release = (): void => undefined
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  fs.onCall = call => (call.operation === operation && call.path.endsWith('.log') ? held : undefined)
  return () => {
    fs.onCall = undefined
    release()
  }
}

t.test('under "interval" no more than twice a threshold is ever unsynced', async t => {
  const { fs, log } = await memoryLog({ durability: 'interval', flushMessages: 10, flushMs: 1e6, flushBytes: 1e9 })
  const release = hold(fs, 'datasync')
  let acked = 0
  const all = Array.from({ length: 100 }, async (_, i) => {
    await log.append(numbered(1, i), { ownBatch: true })
    acked += 1
  })
  await turns()
  t.ok(acked > 0 && acked <= 20, `${acked} acknowledged while no sync ends`)
  t.ok(log.logEndOffset <= 20, `${log.logEndOffset} accepted`)
  release()
  await Promise.all(all)
  t.same(
    await valuesOf(log.records()),
    Array.from({ length: 100 }, (_, i) => `value-${i}`),
    'in the order of the calls'
  )
  await log.close()
})

t.test('under "interval" time alone makes a sync due, and a shorter time counts from when it is set', async t => {
  const { clock, log } = await memoryLog({ durability: 'interval', flushMessages: 1e6, flushMs: 1000 })
  await log.append(numbered(3))
  t.equal(log.durableOffset, 0)
  await clock.advanceAsync(999)
  t.equal(log.durableOffset, 0)
  await clock.advanceAsync(2)
  await turns()
  t.equal(log.durableOffset, 3)
  await log.append(numbered(1))
  await turns()
  log.updateConfig({ ...log.config, flushMs: 10 })
  await turns()
  await clock.advanceAsync(11)
  await turns()
  t.equal(log.durableOffset, 4, 'the timer of the old setting does not hold it back')
  await log.close()
  t.equal(clock.pendingTimers, 0, 'no timer is left')
})

t.test('what waits for room is a copy: the caller may use its memory again', async t => {
  const { fs, log } = await memoryLog({ durability: 'interval', flushMessages: 2, flushMs: 1e6 })
  const release = hold(fs, 'datasync')
  const value = Buffer.from('first')
  const header = Buffer.from('one')
  const filling = [0, 1, 2, 3].map(i => log.append(numbered(1, i), { ownBatch: true }))
  await turns()
  const records = [{ key: 'k', value, headers: [['h', header] as const] }]
  const batch = encodeBatch([{ key: 'k', value: 'sent' }], { now: 1 })
  const waiting = [log.append(records), log.appendBatch(batch)]
  value.fill(0x78)
  header.fill(0x78)
  batch.fill(0x78)
  records.pop()
  release()
  await Promise.all([...filling, ...waiting])
  const found = []
  for await (const record of log.records({ from: 4 })) found.push([String(record.value), String(record.headers)])
  t.same(found, [
    ['first', 'h,one'],
    ['sent', '']
  ])
  await log.close()
})

for (const durability of ['interval', 'buffered'] as const) {
  t.test(`under "${durability}" a sync covers the appends that still wait for room when it is called`, async t => {
    const { log } = await memoryLog({ durability, flushMessages: 9, flushMs: 1e6, flushBytes: 1e9 })
    const all = Array.from({ length: 10 }, (_, i) => log.append(numbered(5, 5 * i), { ownBatch: true }))
    t.ok(log.logEndOffset < 50, `${log.logEndOffset} of 50 accepted so far`)
    await log.sync()
    t.equal(log.durableOffset, 50)
    await Promise.all(all)
    await log.close()
  })
}

t.test('an append that gives up waiting leaves the others their places', async t => {
  const { fs, log } = await memoryLog({ durability: 'interval', flushMessages: 2, flushMs: 1e6 })
  const release = hold(fs, 'datasync')
  const filling = [0, 1, 2, 3].map(i => log.append(numbered(1, i), { ownBatch: true }))
  await turns()
  const stop = new AbortController()
  const one = log.append(numbered(1, 4))
  const two = log.append(numbered(1, 99), { signal: stop.signal })
  const three = log.append(numbered(1, 5))
  stop.abort(new Error('enough'))
  await t.rejects(two, { message: 'enough' })
  release()
  const acks = await Promise.all([...filling, one, three])
  t.same(
    acks.map(ack => ack.baseOffset),
    [0, 1, 2, 3, 4, 5]
  )
  await log.close()
})

t.test('closing settles everything that waits', async t => {
  const { fs, log } = await memoryLog({ durability: 'interval', flushMessages: 2, flushMs: 1e6 })
  const release = hold(fs, 'datasync')
  const appends = Array.from({ length: 10 }, (_, i) => log.append(numbered(1, i), { ownBatch: true }))
  await turns()
  const follower = valuesOf(log.records({ follow: true }))
  const committed = valuesOf(log.records({ follow: true, isolation: 'read_committed' }))
  const synced = log.sync()
  const settled = Promise.allSettled([...appends, synced])
  await turns()
  const closing = log.close()
  await t.rejects(log.sync(), { code: 'LOG_CLOSED' })
  release()
  t.same(await closing, { clean: true })
  for (const outcome of await settled) {
    if (outcome.status === 'rejected') t.equal(outcome.reason.code, 'LOG_CLOSED')
  }
  await Promise.all([follower, committed])
})

t.test('a follower of committed records wakes when the transaction is decided', async t => {
  for (const durability of ['batch', 'none', 'buffered'] as const) {
    const { log } = await memoryLog({ durability })
    const producer = { producerId: 5, producerEpoch: 0, transactional: true }
    const stop = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const record of log.records({ follow: true, isolation: 'read_committed', signal: stop.signal }))
        seen.push(String(record.value))
    })()
    await log.append([{ value: 'a' }], { ...producer, baseSequence: 0 })
    await log.append([{ value: 'b' }])
    await turns()
    t.same(seen, [], `${durability}: nothing behind an open transaction`)
    await log.appendEndTransaction({ type: 'commit', producerId: 5, producerEpoch: 0 })
    await turns()
    t.same(seen, ['a', 'b'], durability)
    await log.append([{ value: 'c' }], { ...producer, baseSequence: 1 })
    await log.appendEndTransaction({ type: 'abort', producerId: 5, producerEpoch: 0 })
    await log.append([{ value: 'd' }])
    await turns()
    t.same(seen, ['a', 'b', 'd'], `${durability}: what was aborted is not shown, written or not`)
    stop.abort()
    await following
    await log.close()
  }
})

t.test('a busy log keeps half a MiB for its readers and leaves the rest of the room to others', async t => {
  const arena = new ArenaPool()
  const { shared, log } = await memoryLog({ durability: 'none' }, arena)
  const other = await openLog('/data', { shared, dir: '/data/u-0', config: { durability: 'none' } })
  for (const filled of [log, other]) {
    for (let i = 0; i < 60; i += 1) await filled.append([{ value: `${i}`.padEnd(100 * KiB, '.') }])
    t.same(
      (await valuesOf(filled.records())).map(value => Number.parseInt(value, 10)),
      Array.from({ length: 60 }, (_, i) => i),
      'what is no longer in memory is read from the file'
    )
  }
  t.ok(arena.retainedBytes > 0 && arena.retainedBytes <= 2 * 512 * KiB, `${arena.retainedBytes} bytes of two logs`)
  await log.close()
  await other.close()
})

t.test('under "buffered" a full disk keeps what was acknowledged, and gives no chunk of it away', async t => {
  const arena = new ArenaPool({ maxRetainedBytes: 256 * KiB })
  const { fs, shared, log } = await memoryLog(
    { durability: 'buffered', flushMessages: 20, flushMs: 1000, segmentBytes: 2 * KiB },
    arena
  )
  const other = await openLog('/data/other-dir', { shared, dir: '/data/u-0', config: { durability: 'none' } })
  // The first segment is written, and the roll to the second fails.
  fs.onCall = call => {
    if (call.path.endsWith('.snapshot.tmp') && call.path.startsWith('/data/t-0')) throw failure('ENOSPC')
  }
  const append = (i: number) => log.append([{ value: `${i}`.padEnd(100, '.') }], { ownBatch: true })
  for (let i = 0; i < 20; i += 1) await append(i)
  await turns()
  t.ok(log.writtenOffset > 0 && log.writtenOffset < 20, `${log.writtenOffset} written`)
  // Enough for all that is written to be evicted, and then a log that takes a chunk of the same size.
  for (let i = 0; i < 200; i += 1) await other.append([{ value: 'x'.repeat(1000) }])
  const third = await openLog('/data', { shared, dir: '/data/v-0', config: { durability: 'none' } })
  await third.append([{ value: 'y'.repeat(30_000) }])
  fs.onCall = undefined
  for (let i = 20; i < 40; i += 1) await append(i)
  await log.sync()
  const values = await valuesOf(log.records())
  t.same(
    values.map(value => Number.parseInt(value, 10)),
    Array.from({ length: 40 }, (_, i) => i)
  )
  await other.close()
  await third.close()
  t.same(await log.close(), { clean: true })
})

t.test('under "buffered" a full disk is asked again when the time is up, not all the time', async t => {
  const { fs, clock, log } = await memoryLog({ durability: 'buffered', flushMessages: 1e6, flushMs: 1000 })
  await log.append(numbered(5))
  let writes = 0
  fs.onCall = call => {
    if (call.operation !== 'write' || !call.path.endsWith('.log')) return
    writes += 1
    throw failure('ENOSPC')
  }
  for (let i = 0; i < 5; i += 1) {
    await clock.advanceAsync(1001)
    await turns()
  }
  t.ok(writes >= 3 && writes <= 6, `${writes} tries in five seconds`)
  await t.rejects(log.close(), { code: 'NO_SPACE' }, 'what was acknowledged is not thrown away')
  fs.onCall = undefined
  t.equal((await log.append(numbered(1, 5), { durability: 'batch' })).baseOffset, 5, 'the log is still open')
  await log.close()
})

t.test('a threshold above the room that there is does not stop the log', async t => {
  const { log } = await memoryLog({
    durability: 'buffered',
    flushMessages: 1e9,
    flushMs: 1e9,
    flushBytes: 2 ** 40,
    segmentBytes: 64 * MiB,
    maxMessageBytes: 40 * MiB
  })
  const value = Buffer.alloc(33 * MiB)
  const appends = Array.from({ length: 9 }, () => log.append([{ value }]))
  await Promise.all(appends)
  t.equal(log.logEndOffset, 9)
  await log.close({ clean: false })
})

t.test('appends that would be too large together are not refused, but share no batch', async t => {
  const { log } = await memoryLog({ maxMessageBytes: 1000 })
  const value = 'x'.repeat(300)
  const acks = await Promise.all(Array.from({ length: 10 }, () => log.append([{ value }])))
  t.same(
    acks.map(ack => ack.baseOffset),
    Array.from({ length: 10 }, (_, i) => i)
  )
  await log.close()
})

t.test('a roll that fails leaves no empty segment behind the log', async t => {
  for (const failing of ['.log', '.index', '.timeindex', 'directory']) {
    const { fs, open, log } = await memoryLog({ segmentBytes: 1000 })
    await log.append([{ value: 'x'.repeat(700) }])
    fs.onCall = call => {
      const isIt = call.path.endsWith(`${file(1, '')}${failing}`) && call.operation === 'open'
      if (isIt || (failing === 'directory' && call.operation === 'syncDirectory')) throw failure('ENOSPC')
    }
    await t.rejects(log.append([{ value: 'y'.repeat(700) }]), { code: 'NO_SPACE' })
    fs.onCall = undefined
    t.equal(log.condition, 'open')
    t.equal((await log.append([{ value: 'small' }])).baseOffset, 1, 'which fits into the old segment')
    t.equal(log.segments().length, 1)
    t.same(await log.close(), { clean: true })
    const again = await openLog('/data', { clean: true, shared: sharedParts({ fs }) })
    t.equal(again.logEndOffset, 2, failing)
    await again.close()
    void open
  }
})

t.test('a log that starts anew forgets the producers and transactions that it had', async t => {
  const { log } = await memoryLog({ segmentBytes: 500 })
  const producer = { producerId: 5, producerEpoch: 0, transactional: true }
  for (let i = 0; i < 10; i += 1) await log.append([{ value: 'a'.repeat(100) }], { ...producer, baseSequence: i })
  await log.startAt(100)
  await log.append([{ value: 'b' }], { producerId: 5, producerEpoch: 0, baseSequence: 77 })
  t.equal(log.lastStableOffset, 101)
  t.same(await valuesOf(log.records({ isolation: 'read_committed' })), ['b'])
  await log.close()
})

t.test('reading goes on over a gap, and waits behind it without spinning', async t => {
  const { fs, log } = await memoryLog()
  await log.append(numbered(5), { ownBatch: true })
  await log.append(numbered(5, 5), { ownBatch: true })
  await log.truncateTo(7)
  t.equal(log.logEndOffset, 7)
  const stop = new AbortController()
  const seen: number[] = []
  const following = (async () => {
    for await (const record of log.records({ from: 3, follow: true, signal: stop.signal })) seen.push(record.offset)
  })()
  await turns()
  let reads = 0
  fs.onCall = call => {
    if (call.operation === 'read') reads += 1
  }
  await turns()
  t.ok(reads < 5, `${reads} reads while there is nothing to read`)
  fs.onCall = undefined
  await log.append(numbered(2, 7))
  await turns()
  t.same(seen, [3, 4, 7, 8])
  stop.abort()
  await following
  await log.close()
})

t.test('reads that a cut overtakes give what is there, or say that it is gone', async t => {
  const { fs, log } = await memoryLog(
    { segmentBytes: 1000, durability: 'none' },
    new ArenaPool({ maxRetainedBytes: 0 })
  )
  for (let i = 0; i < 100; i += 1) await log.append([{ value: `${i}`.padEnd(100, '.') }], { ownBatch: true })
  fs.onCall = call => (call.operation === 'read' ? turns(2) : undefined)
  const reading = Array.from({ length: 60 }, async (_, i) => {
    const { batches, baseOffset } = await log.read(i, { maxBytes: 1 })
    return baseOffset === undefined ? 'nothing' : batches.includes(`${i}`.padEnd(100, '.')) ? 'right' : 'wrong'
  })
  const outcomes = Promise.allSettled(reading)
  await log.deleteRecordsBefore(30)
  await log.truncateTo(50)
  for (let i = 50; i < 60; i += 1) await log.append([{ value: `${i}`.padEnd(100, '.') }], { ownBatch: true })
  const kinds = (await outcomes).map(outcome => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code))
  t.same(
    kinds.filter(kind => kind !== 'right' && kind !== 'nothing' && kind !== 'OFFSET_OUT_OF_RANGE'),
    []
  )
  t.ok(kinds.slice(30, 50).every(kind => kind === 'right'))
  fs.onCall = undefined
  await log.close()
})

t.test('after a failed sync nothing more is appended, what waits is told, and what was visible stays', async t => {
  const { fs, log } = await memoryLog()
  await log.append(numbered(3))
  let syncs = 0
  fs.onCall = call => {
    if (call.operation !== 'datasync' || !call.path.endsWith('.log')) return
    syncs += 1
    throw failure('EIO')
  }
  const waiting = [log.append(numbered(1, 3)), log.append(numbered(1, 4), { ownBatch: true })]
  for (const append of waiting) await t.rejects(append, { code: 'SYNC_FAILED' })
  await t.rejects(log.append(numbered(1, 5)), { code: 'LOG_POISONED' })
  await t.rejects(log.truncateTo(1), { code: 'LOG_POISONED' })
  t.equal(log.condition, 'poisoned')
  t.same(await valuesOf(log.records()), ['value-0', 'value-1', 'value-2'])
  t.same(await log.close(), { clean: false })
  t.equal(syncs, 1, 'a sync that failed is never tried again')
})

t.test('memory does not grow with what is appended', async t => {
  const arena = new ArenaPool({ maxRetainedBytes: 4 * MiB })
  const { log } = await memoryLog({ durability: 'none', segmentBytes: 64 * MiB }, arena)
  const records = [{ value: 'x'.repeat(60) }]
  for (let i = 0; i < 200; i += 1) await Promise.all(Array.from({ length: 1000 }, () => log.append(records)))
  t.equal(log.logEndOffset, 200_000)
  t.ok(arena.retainedBytes <= 4 * MiB, `${arena.retainedBytes} bytes retained`)
  t.equal(log.stats().unwrittenBytes, 0)
  await log.close()
})
