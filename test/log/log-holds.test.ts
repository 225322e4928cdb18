/** Holds of a log that is open: what they keep, and what becomes of them when it is cut, closed or crashes. */
import { test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { HOLDS_FILE } from '../../lib/log/holds-file.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { putFiles } from '../helpers/partition-folder.ts'

interface Made {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly log: PartitionLog
}

const reopen = (fs: MemoryFileSystem, clock: ManualClock, given: Parameters<typeof openLog>[1] = {}) =>
  openLog('/data', { clean: false, recoveryPoint: 0, shared: sharedParts({ fs, clock }), ...given })

/** Three segments of ten records, and an empty one. */
async function made(): Promise<Made> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const clock = new ManualClock()
  const log = await reopen(fs, clock)
  for (let i = 0; i < 3; i += 1) {
    await log.append(numbered(10, 10 * i))
    await log.roll()
  }
  return { fs, clock, log }
}

test('what is held goes neither by an order nor by retention, until the hold is moved or released', async t => {
  const { log } = await made()
  t.equal(await log.hold('billing', 15), undefined)
  const held = { code: 'POLICY_VIOLATION', details: { hold: 'billing', holdOffset: 15 } }
  await t.rejects(log.deleteRecordsBefore(16), held)
  await t.rejects(log.maintenance.raiseLogStart(20), held)
  t.equal(await log.deleteRecordsBefore(15), 15)
  t.match(await log.hold('billing', 20), { offset: 15 })
  t.match(await log.maintenance.raiseLogStart(20), { segments: 1 })
  t.equal(await log.releaseHold('billing'), true)
  t.equal(await log.deleteRecordsBefore(30), 30)
  t.same(log.holds(), [])
})

test('a hold lies within the log', async t => {
  const { log } = await made()
  await log.deleteRecordsBefore(12)
  const range = { code: 'OFFSET_OUT_OF_RANGE', details: { logStartOffset: 12, logEndOffset: 30 } }
  await t.rejects(log.hold('billing', 11), range, 'what it asks for is gone, and its reader must know')
  await t.rejects(log.hold('billing', 31), range)
  await t.rejects(log.hold('billing', Number.NaN), { code: 'OFFSET_OUT_OF_RANGE' })
  t.same(log.holds(), [])
  await log.hold('billing', 30)
})

test('a hold that was asked for first holds, though the log is being shortened at that moment', async t => {
  const { log } = await made()
  const [held, shortened] = await Promise.allSettled([log.hold('billing', 0), log.maintenance.raiseLogStart(20)])
  t.equal(held.status, 'fulfilled')
  t.match(shortened, { status: 'rejected', reason: { code: 'POLICY_VIOLATION' } })
  const other = await made()
  const [first, late] = await Promise.allSettled([
    other.log.maintenance.raiseLogStart(20),
    other.log.hold('billing', 0)
  ])
  t.match(first, { status: 'fulfilled' })
  t.match(late, { status: 'rejected', reason: { code: 'OFFSET_OUT_OF_RANGE' } })
})

test('holds survive a crash, moved ones after upkeep', async t => {
  const { fs, clock, log } = await made()
  await log.hold('billing', 5)
  await log.hold('audit', 2, { limitMs: 'none', limitBytes: 1 << 20 })
  await log.hold('billing', 15)
  await log.upkeep()
  await log.hold('billing', 25)
  fs.powerCut()
  const again = await reopen(fs, clock)
  t.match(again.holds(), [
    { name: 'audit', offset: 2, limitMs: undefined, limitBytes: 1 << 20 },
    { name: 'billing', offset: 15 }
  ])
  t.same(again.recovery.notes, [], 'the file is none that nobody knows')
  await again.hold('billing', 25)
  await again.close()
  const third = await reopen(fs, clock, { clean: true })
  t.match(third.holds()[1], { name: 'billing', offset: 25 }, 'closing writes it down')
})

test('a hold comes down with the end of a log that is cut, and holds what is appended there', async t => {
  const { fs, clock, log } = await made()
  await log.hold('billing', 25)
  await log.truncateTo(12)
  await log.append(numbered(18, 12))
  fs.powerCut()
  const again = await reopen(fs, clock)
  t.match(again.holds(), [{ name: 'billing', offset: 12 }])
  await t.rejects(again.deleteRecordsBefore(13), { code: 'POLICY_VIOLATION' })
  await again.startAt(7)
  t.match(again.holds(), [{ offset: 7 }])
})

test('a crash that took the end of the log leaves no hold above it', async t => {
  const { fs, clock, log } = await made()
  await log.append(numbered(5, 30), { durability: 'none' })
  await log.hold('billing', 35)
  await log.close({ clean: false })
  await fs.unlink(`/data/t-0/${'30'.padStart(20, '0')}.log`)
  await fs.unlink('/data/t-0/heartwood-watermark')
  const again = await reopen(fs, clock)
  t.equal(again.logEndOffset, 30)
  t.match(again.holds(), [{ offset: 30 }])
})

test('where the holds cannot be read everything is held, and reading goes on', async t => {
  const { fs, clock, log } = await made()
  await log.close()
  await putFiles(fs, { [HOLDS_FILE]: 'heartwood-holds 1\nhold' }, '/data/t-0')
  const again = await reopen(fs, clock, { clean: true })
  const refused = { code: 'CORRUPT_FILE', message: /Remove the file/ }
  await t.rejects(again.deleteRecordsBefore(1), refused)
  await t.rejects(again.maintenance.raiseLogStart(10), refused)
  await t.rejects(again.hold('billing', 0), refused)
  t.equal((await valuesOf(again.records())).length, 30)
})

test('what was decided before the log was cut is not carried out', async t => {
  const { log } = await made()
  const view = await log.maintenance.view()
  await log.truncateTo(5)
  await log.append(numbered(25, 5))
  await t.rejects(log.maintenance.raiseLogStart(20, view), { code: 'SEGMENTS_CHANGED' })
  t.equal(log.logStartOffset, 0)
  t.match(await log.maintenance.raiseLogStart(3, await log.maintenance.view()), { segments: 0 })
})
