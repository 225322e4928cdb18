/** Rewritten segments that are put in place while something else has happened to the log, or to its folder. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LogConfig } from '../../lib/log/log-config.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { cleanByHand } from '../helpers/hand-cleaned.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

t.setTimeout(200_000)

const DIR = '/data/t-0'
const COMPACTED = { cleanupPolicy: ['compact'] } as const
const isThird = ({ baseOffset }: { baseOffset: number }): boolean => baseOffset % 3 === 2

const reopen = (fs: MemoryFileSystem, config: Partial<LogConfig> = COMPACTED): Promise<PartitionLog> =>
  openLog('/data', { config, clean: false, recoveryPoint: 0, shared: sharedParts({ fs, clock: new ManualClock() }) })

/** Sealed segments 0, 10 and 20 of ten batches of one record, and an active one with three. */
async function made(config: Partial<LogConfig> = COMPACTED): Promise<{ fs: MemoryFileSystem; log: PartitionLog }> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  await fs.syncDirectory('/')
  const log = await reopen(fs, config)
  for (let i = 0; i < 33; i += 1) {
    if (i > 0 && i % 10 === 0) await log.roll()
    await log.append(numbered(1, i), { ownBatch: true })
  }
  return { fs, log }
}

/** Runs `work`, which ends for good at the n-th call that changes something. Tells whether it came that far. */
async function endedAt(fs: MemoryFileSystem, n: number, work: () => Promise<unknown>): Promise<boolean> {
  let calls = 0
  fs.onCall = ({ operation }) => {
    if (['read', 'stat', 'fstat', 'readDirectory'].includes(operation)) return
    calls += 1
    if (calls >= n) throw new Error('it ends here')
  }
  await work().catch(() => undefined)
  fs.onCall = undefined
  return calls >= n
}

t.test('a segment that was cut, written on and closed again is not replaced by what it was', async t => {
  const { fs, log } = await made()
  const view = await log.maintenance.view()
  const group = await cleanByHand(fs, DIR, view, isThird)
  await log.truncateTo(25)
  for (let i = 0; i < 5; i += 1) await log.append(numbered(1, 100 + i), { ownBatch: true })
  await log.roll()
  const values = await valuesOf(log.records())
  t.match(values.slice(-2), ['value-103', 'value-104'])
  await t.rejects(log.maintenance.replace(view, group), { code: 'SEGMENTS_CHANGED' })
  t.same(await valuesOf(log.records()), values)
  t.notOk((await fs.readDirectory(DIR)).some(({ name }) => name.endsWith('.cleaned')))
})

t.test('what a cleaner has left of other segments does not undo a group that is being put in place', async t => {
  let isThere = true
  for (let n = 1; isThere; n += 1) {
    const { fs, log } = await made()
    const view = await log.maintenance.view()
    const group = await cleanByHand(fs, DIR, { ...view, segments: view.segments.slice(1) }, isThird)
    const stray = await fs.open(`${DIR}/00000000000000000000.log.cleaned`, 'truncate')
    await stray.sync()
    await stray.close()
    await fs.syncDirectory(DIR)
    isThere = await endedAt(fs, n, () => log.maintenance.replace(view, group))
    fs.powerCut({ name: () => true })
    const again = await reopen(fs)
    const offsets = (await valuesOf(again.records())).map(value => Number(value.slice('value-'.length)))
    const kept = Array.from({ length: 33 }, (_, i) => i).filter(i => i < 10 || i >= 30 || i % 3 === 2)
    t.same(
      kept.filter(offset => !offsets.includes(offset)),
      [],
      `after call ${n}`
    )
    await again.close()
  }
})

t.test('where a group ends below its last sources, an older one never stays without a later one', async t => {
  let isThere = true
  for (let n = 1; isThere; n += 1) {
    for (let seed = 1; seed <= 4; seed += 1) {
      const { fs, log } = await made()
      const view = await log.maintenance.view()
      const group = await cleanByHand(fs, DIR, view, ({ baseOffset }) => baseOffset < 8)
      isThere = await endedAt(fs, n, () => log.maintenance.replace(view, group))
      let state = n * 100 + seed
      fs.powerCut({ name: () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % 65536 < 32768 })
      const again = await reopen(fs)
      const values = await valuesOf(again.records())
      if (values.includes('value-10')) t.ok(values.includes('value-20'), `after call ${n}, seed ${seed}: ${values}`)
      await again.close()
    }
  }
  t.pass('none did')
})

t.test('the watermark does not speak of what was rolled meanwhile and is not durable yet', async t => {
  const config = { ...COMPACTED, durability: 'none', segmentBytes: 3000 } as const
  const { fs, log } = await made(config)
  const view = await log.maintenance.view()
  const group = await cleanByHand(fs, DIR, view, isThird)
  let letGo = (): void => undefined
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  fs.onCall = ({ operation, path }) =>
    ['sync', 'datasync'].includes(operation) && path.endsWith('30.log') ? held : undefined
  for (let i = 33; i < 93; i += 1) await log.append(numbered(1, i), { ownBatch: true })
  const { baseOffset } = log.segments().at(-1) ?? { baseOffset: 0 }
  t.ok(baseOffset > 30, 'it was rolled')
  await log.maintenance.replace(view, group)
  fs.onCall = undefined
  fs.powerCut()
  letGo()
  const again = await reopen(fs, config)
  t.ok(again.logEndOffset < baseOffset, `the log ends where its records do, at ${again.logEndOffset}`)
  await again.close()
})

t.test('a file that cannot be removed does not keep the others that are out of use', async t => {
  const { fs, log } = await made()
  await log.maintenance.raiseLogStart(30)
  fs.onCall = ({ operation, path }) => {
    if (operation !== 'unlink' || !path.endsWith('/00000000000000000000.log.deleted')) return
    throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
  }
  await t.rejects(log.maintenance.removeDeleted({ all: true }), { code: 'STORAGE_FAILED' })
  const left = async (): Promise<string[]> =>
    (await fs.readDirectory(DIR)).map(({ name }) => name).filter(name => name.endsWith('.log.deleted'))
  t.same(await left(), ['00000000000000000000.log.deleted'])
  fs.onCall = undefined
  await log.maintenance.removeDeleted({ all: true })
  t.same(await left(), [])
})
