/** A manifest is true at every moment: whatever changes the files, and wherever that is cut short. */
import t from 'tap'
import { MemoryFileSystem, type PowerCutOptions } from '../../lib/fs/memory-file-system.ts'
import { readManifest } from '../../lib/log/manifest.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { cleanByHand } from '../helpers/hand-cleaned.ts'
import { numbered, openLog, valuesOf } from '../helpers/logs.ts'
import { manifestWith, untruths } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { IS_LONG_RUN } from '../helpers/seed.ts'

t.setTimeout(500_000)

const DIR = '/data/t-0'
const READING = new Set(['read', 'stat', 'fstat', 'readDirectory', 'open', 'close', 'volume', 'realPath'])

class Made {
  readonly fs = new MemoryFileSystem()
  readonly clock = new ManualClock()
  logStartOffset = 0

  async open(clean = false): Promise<PartitionLog> {
    return openLog('/data', {
      config: { cleanupPolicy: ['compact', 'delete'], fileDeleteDelayMs: 0 },
      clean,
      recoveryPoint: 0,
      logStartOffset: this.logStartOffset,
      persistLogStart: async offset => {
        this.logStartOffset = offset
      },
      shared: sharedParts({ fs: this.fs, clock: this.clock })
    })
  }

  /** Sealed segments 0, 10 and 20 of ten batches, which the manifest names, and an active one with three. */
  async fill(): Promise<PartitionLog> {
    await this.fs.makeDirectory('/data')
    await this.fs.syncDirectory('/')
    const log = await this.open()
    for (let i = 0; i < 33; i += 1) {
      if (i > 0 && i % 10 === 0) await log.roll()
      await log.append(numbered(1, i), { ownBatch: true })
    }
    await manifestWith(this.fs, DIR, this.clock, 3)
    return log
  }

  /** Lets what waits in the background come to pass. */
  async settle(): Promise<void> {
    for (let round = 0; round < 4; round += 1) {
      this.clock.advance(1000)
      for (let turn = 0; turn < 10; turn += 1) await new Promise(resolve => setImmediate(resolve))
    }
  }
}

type Work = (log: PartitionLog, made: Made) => Promise<unknown>

const CHANGES: readonly (readonly [what: string, work: Work])[] = [
  ['cutting within the active segment', log => log.truncateTo(31)],
  ['cutting a sealed segment', log => log.truncateTo(15)],
  ['cutting at the beginning of one', log => log.truncateTo(20)],
  ['cutting everything', log => log.truncateTo(0)],
  ['beginning anew', log => log.startAt(100)],
  ['deleting records', log => log.deleteRecordsBefore(25)],
  ['taking segments out of use', log => log.maintenance.raiseLogStart(20)],
  [
    'putting rewritten segments in place',
    async (log, { fs }) => {
      const view = await log.maintenance.view()
      const group = await cleanByHand(fs, DIR, view, ({ baseOffset }) => baseOffset % 3 === 2)
      await log.maintenance.replace(view, group)
    }
  ],
  [
    'rolling and appending',
    async log => {
      await log.roll()
      await log.append(numbered(5, 33))
    }
  ],
  ['closing', log => log.close()]
]

const ENDS: readonly (readonly [what: string, cut: PowerCutOptions | undefined])[] = [
  ['the process is killed', undefined],
  ['the power goes and takes all that was not synced', {}],
  ['the power goes and leaves all names', { name: () => true }]
]

/** Every call that changes something fails from the n-th on, as it does for a process that is gone. */
function stopAt(fs: MemoryFileSystem, n: number): { readonly stopped: () => boolean } {
  let calls = 0
  fs.onCall = ({ operation }) => {
    if (READING.has(operation) && calls < n) return
    calls += 1
    if (calls >= n) throw Object.assign(new Error('EIO: the process is gone'), { code: 'EIO' })
  }
  return { stopped: () => calls >= n }
}

for (const [what, change] of CHANGES) {
  t.test(`${what}: wherever it ends, the manifest is true, the log opens, and it goes on`, async t => {
    let points = 0
    let isOver = false
    for (let n = 1; !isOver; n += 1) {
      // Each call with each end in a long run, else with one after the other.
      for (const [end, cut] of IS_LONG_RUN ? ENDS : ENDS.slice(n % ENDS.length, (n % ENDS.length) + 1)) {
        const made = new Made()
        const { fs } = made
        const log = await made.fill()
        const end_ = stopAt(fs, n)
        await change(log, made).catch(() => undefined)
        await made.settle()
        isOver = !end_.stopped()
        if (!isOver) points += 1
        if (cut !== undefined) fs.powerCut(cut)
        fs.onCall = undefined
        const where = `${end} at call ${n}`
        const atCrash = await untruths(fs, DIR, made.logStartOffset)
        // Again, so that the recovery is one from a crash in a recovery too.
        const recovery = stopAt(fs, n)
        await made.open().catch(() => undefined)
        if (cut !== undefined) fs.powerCut(cut)
        fs.onCall = undefined
        const inRecovery = recovery.stopped() ? await untruths(fs, DIR, made.logStartOffset) : []
        const again = await made.open()
        const recovered = await untruths(fs, DIR, made.logStartOffset)
        await again.append(numbered(2, 50))
        await again.roll()
        await again.append(numbered(1, 52))
        await made.settle()
        const before = await valuesOf(again.records())
        await again.close()
        const closed = await untruths(fs, DIR, made.logStartOffset)
        const last = await made.open(true)
        const after = await valuesOf(last.records())
        await last.close()
        const found = [atCrash, inRecovery, recovered, closed, before.length === after.length ? [] : ['lost']].flat()
        if (found.length > 0) t.fail(`${where}: ${found.join(', ')}`)
      }
    }
    t.ok(points > 5, `${points} points`)
  })
}

t.test('where the manifest cannot be replaced for want of space, it goes, and what was to be cut is cut', async t => {
  const made = new Made()
  const { fs, clock } = made
  const log = await made.fill()
  fs.onCall = ({ path, operation }) => {
    const isReplacing = operation === 'open' && path.endsWith('heartwood-manifest.tmp')
    if (isReplacing) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  }
  await log.truncateTo(15)
  t.equal(await readManifest(fs, DIR), undefined)
  fs.onCall = undefined
  const { sealed } = await manifestWith(fs, DIR, clock, 1)
  t.match(sealed, [{ baseOffset: 0, nextOffset: 10 }], 'what is still known comes back')
  await log.close()
})
