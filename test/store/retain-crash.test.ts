/** Retention cut short at each of its calls, by a kill or a power cut: nothing that stays is lost, nothing is left over. */
import t from 'tap'
import { MemoryFileSystem, type PowerCutOptions } from '../../lib/fs/memory-file-system.ts'
import { HOLDS_FILE } from '../../lib/log/holds-file.ts'
import { MANIFEST_FILE } from '../../lib/log/manifest.ts'
import { parseSegmentFileName } from '../../lib/segment/file-names.ts'
import { Store } from '../../lib/store/store.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { IS_LONG_RUN } from '../helpers/seed.ts'
import { values } from './helpers.ts'

t.setTimeout(400_000)

const FOLDER = '/data/orders-0'

interface Made {
  readonly fs: MemoryFileSystem
  readonly clock: ManualClock
  readonly store: Store
}

/** Three segments of ten records and five records in the active one, as old as the clock says they are. */
async function made({ held, young }: { held: boolean; young: boolean }): Promise<Made> {
  const clock = new ManualClock()
  const fs = new MemoryFileSystem({ now: () => clock.now() })
  const store = await Store.open('/data', { fs, clock })
  await store.createTopic('orders', { configs: { 'retention.ms': '1000', 'file.delete.delay.ms': '0' } })
  const log = await store.openLog('orders', 0)
  for (let i = 0; i < 3; i += 1) {
    await log.append(numbered(10, 10 * i))
    await log.roll()
  }
  if (held) await log.hold('billing', 5, { limitMs: 1000 })
  clock.advance(young ? 1001 : 1)
  await log.append(numbered(5, 30))
  if (!young) clock.advance(1001)
  await store.checkpoint()
  return { fs, clock, store }
}

const READING = new Set(['read', 'stat', 'fstat', 'readDirectory', 'open', 'close', 'volume', 'realPath'])

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

const ENDS: readonly [what: string, cut: ((seed: number) => PowerCutOptions) | undefined, seeds: number][] = [
  ['the process is killed', undefined, 1],
  ['the power goes and takes all that was not synced', () => ({}), 1],
  ['the power goes and leaves all names', () => ({ name: () => true }), 1],
  [
    'the power goes and leaves some names',
    seed => {
      let state = seed
      return { name: () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % 65536 < 32768 }
    },
    4
  ]
]

const CASES: readonly { what: string; held: boolean; young: boolean; start: number }[] = [
  { what: 'three of four segments go', held: false, young: true, start: 30 },
  { what: 'all segments go', held: false, young: false, start: 35 },
  { what: 'a hold is broken first', held: true, young: true, start: 30 }
]

const all = numbered(35).map(({ value }) => value)

for (const [end, cut, seeds] of ENDS) {
  for (const { what, held, young, start } of CASES) {
    t.test(`${what}: wherever ${end}, what stays is there and nothing is left over`, async t => {
      const outcomes = { before: 0, after: 0 }
      let isOver = false
      for (let n = 1; !isOver; n += 1) {
        for (let seed = 1; seed <= (IS_LONG_RUN ? seeds : 1); seed += 1) {
          const { fs, clock, store } = await made({ held, young })
          const stop = stopAt(fs, n)
          const report = await store.retain()
          const isDone = report.partitions.every(each => !('error' in each))
          isOver = !stop.stopped()
          await store
            .log('orders', 0)
            ?.close({ clean: false })
            .catch(() => undefined)
          await store.close().catch(() => undefined)
          fs.onCall = undefined
          if (cut !== undefined) fs.powerCut(cut(n * 100 + seed))
          const again = await Store.open('/data', { fs, clock })
          const log = await again.openLog('orders', 0)
          const isAfter = log.logStartOffset === start
          outcomes[isAfter ? 'after' : 'before'] += 1
          const at = `call ${n}, seed ${seed}`
          t.ok(isAfter || log.logStartOffset === 0, at)
          t.ok(isAfter || !isDone, `${at}: what was said to be done is done`)
          t.equal(log.logEndOffset, 35, at)
          t.same(await values(log), all.slice(log.logStartOffset), at)
          if (held && isAfter) t.type(log.holds()[0]?.brokenMs, 'number', `${at}: broken before it goes`)
          t.same(
            await leftOver(
              fs,
              log.segments().map(({ baseOffset }) => baseOffset)
            ),
            [],
            at
          )
          await again.retain()
          t.equal(log.logStartOffset, start, at)
          await log.append(numbered(1, 35))
          await again.close()
          t.same(
            await leftOver(
              fs,
              log.segments().map(({ baseOffset }) => baseOffset)
            ),
            [],
            at
          )
        }
      }
      t.ok(outcomes.before > 0 && outcomes.after > 0, JSON.stringify(outcomes))
    })
  }
}

/** Names that no segment of the log accounts for. */
async function leftOver(fs: MemoryFileSystem, bases: readonly number[]): Promise<string[]> {
  const known = new Set([
    'partition.metadata',
    'leader-epoch-checkpoint',
    'heartwood-watermark',
    MANIFEST_FILE,
    HOLDS_FILE
  ])
  const names = (await fs.readDirectory(FOLDER)).map(({ name }) => name)
  return names.filter(name => {
    const parsed = parseSegmentFileName(name)
    if (parsed === undefined) return !known.has(name)
    if (parsed.suffix === '.snapshot') return parsed.offset < (bases[0] ?? 0)
    return !['.log', '.index', '.timeindex', '.txnindex'].includes(parsed.suffix) || !bases.includes(parsed.offset)
  })
}
