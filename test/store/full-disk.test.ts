/** A disk that is full: retention must be able to empty it. */
import t, { type Test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { systemError } from '../../lib/fs/memory-tree.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { DISK_RESERVE, DISK_RESERVE_BYTES } from '../../lib/store/disk-reserve.ts'
import { Store } from '../../lib/store/store.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

const RESERVE = `/data/${DISK_RESERVE}`

interface Full {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly store: Store
  readonly log: PartitionLog
}

/** Some segments, and not a byte of room behind them. */
async function full(configs: Record<string, string>): Promise<Full> {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await Store.open('/data', { fs, clock })
  await store.createTopic('orders', { configs: { 'segment.bytes': '2000', 'segment.index.bytes': '1000', ...configs } })
  const log = await store.openLog('orders', 0)
  fs.capacityBytes = 100_000
  while (await hasRoomFor(log, 10)) await log.roll().catch(() => undefined)
  while (await hasRoomFor(log, 1));
  fs.capacityBytes -= (await fs.volume('/data')).freeBytes
  return { fs, clock, store, log }
}

async function hasRoomFor(log: PartitionLog, records: number): Promise<boolean> {
  try {
    await log.append(numbered(records, log.logEndOffset))
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'NO_SPACE') return false
    throw error
  }
}

async function isWhole(t: Test, log: PartitionLog): Promise<void> {
  let next = log.logStartOffset
  for await (const { offset } of log.records()) t.equal(offset, next++)
  t.equal(next, log.logEndOffset)
}

t.test('retention empties a full disk, and appends go on', async t => {
  const { fs, store, log } = await full({ 'retention.bytes': '3000' })
  t.equal((await fs.volume('/data')).freeBytes, 0)
  t.equal((await fs.stat(RESERVE))?.size, DISK_RESERVE_BYTES)
  const segments = log.segments().length
  t.ok(segments > 5)
  const report = await store.retain()
  t.match(report.partitions, [{ deletedSegments: report.deletedSegments }])
  t.ok(report.deletedSegments > 3, `${report.deletedSegments} of ${segments}`)
  t.ok(log.logStartOffset > 0)
  await log.append(numbered(1))
  await isWhole(t, log)
  t.notOk(await fs.stat(RESERVE), 'the room was needed')
  await log.maintenance.removeDeleted({ all: true })
  fs.capacityBytes += DISK_RESERVE_BYTES
  await log.deleteRecordsBefore(log.logStartOffset + 1)
  t.ok(await fs.stat(RESERVE), 'and is kept again')
  await store.close()
})

t.test('where the active segment goes too, those in front of it make the room for the next one', async t => {
  const { fs, clock, store, log } = await full({ 'retention.ms': '1000' })
  clock.advance(5000)
  // No new file of a log either, until one has gone: files need room in their folder and in a table.
  fs.onCall = ({ operation, path, mode }) => {
    if (operation === 'unlink' && path.endsWith('.deleted')) fs.onCall = undefined
    if (operation === 'open' && mode === 'create' && path.endsWith('.log')) throw systemError('ENOSPC', 'open', path)
  }
  const segments = log.segments().length
  const bytes = log.segments().reduce((sum, segment) => sum + segment.bytes, 0)
  const report = await store.retain()
  t.match(report, { deletedSegments: segments, deletedBytes: bytes })
  t.match(report.partitions, [{ deletedSegments: segments }])
  t.same([log.segments().length, log.logStartOffset], [1, log.logEndOffset])
  await log.append(numbered(5))
  await isWhole(t, log)
  await store.close()
})

t.test('a disk without any room is told, for each log, and nothing is lost', async t => {
  const { fs, store, log } = await full({ 'retention.bytes': '3000' })
  await fs.unlink(RESERVE)
  fs.capacityBytes -= DISK_RESERVE_BYTES
  const { segments, logStartOffset } = { segments: log.segments().length, logStartOffset: log.logStartOffset }
  const report = await store.retain()
  t.match(report.partitions, [
    { topic: 'orders', partition: 0, error: { code: 'NO_SPACE', message: /full|room|space/i } }
  ])
  t.same([log.segments().length, log.logStartOffset], [segments, logStartOffset])
  await isWhole(t, log)
  fs.capacityBytes += DISK_RESERVE_BYTES
  t.ok((await store.retain()).deletedSegments > 3)
  await isWhole(t, log)
  await store.close()
})
