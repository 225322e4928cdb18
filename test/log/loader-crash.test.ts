import t from 'tap'
import type { SectorOutcome } from '../../lib/fs/memory-file.ts'
import type { FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LoadOptions } from '../../lib/log/loader-types.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { formatManifest } from '../../lib/log/manifest.ts'
import { formatProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { IndexBuilder } from '../../lib/segment/index-builder.ts'
import { closeLoaded, load } from '../helpers/loading.ts'
import { activeAt } from '../helpers/manifests.ts'
import {
  batch,
  batches,
  DIR,
  file,
  imageOf,
  markBehind,
  marker,
  memoryFolder,
  putWatermark
} from '../helpers/partition-folder.ts'

/** Something that recovery has to deal with. */
// Thousands of recoveries.
t.setTimeout(300_000)

interface Scenario {
  readonly name: string
  build(): Promise<MemoryFileSystem>
  readonly options?: Partial<LoadOptions>
}

const head = batches(0, 5)
const open = [
  batch(5, { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true, count: 2 }),
  batch(7, { valueBytes: 900 }),
  marker('abort', 8, 7)
]
const torn = batch(9, { valueBytes: 700 }).subarray(0, 500)
const zeros = Buffer.alloc(3000)
/** What Kafka leaves of an index when it is killed. */
const smallIndexes = logConfig({ indexBytes: 4096 })
const preallocated = Buffer.alloc(4096)
const everyBatchIndexed = logConfig({ indexIntervalBytes: 0 })

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a torn end above the watermark, with a later segment behind it',
    async build() {
      const fs = await memoryFolder({
        [file(0)]: Buffer.concat(head),
        [file(0, '.index')]: '',
        [file(0, '.timeindex')]: '',
        [file(5)]: Buffer.concat([...open, torn, zeros]),
        [file(5, '.index')]: Buffer.alloc(80, 1),
        [file(5, '.timeindex')]: '',
        [file(12)]: Buffer.concat([batch(12), batch(13)]),
        [file(12, '.snapshot')]: 'no snapshot at all',
        [file(14)]: batch(14, { valueBytes: 600 }),
        'leader-epoch-checkpoint': '0\n1\n0 0\n'
      })
      await putWatermark(fs, markBehind(5, open.slice(0, 1)))
      return fs
    }
  },
  {
    name: 'a torn end where only another engine has written',
    options: { config: smallIndexes },
    build: () => memoryFolder({ [file(0)]: Buffer.concat([...head, ...open, torn]), [file(0, '.index')]: preallocated })
  },
  {
    name: 'a watermark of before another engine cut the log and went on',
    options: { foreign: true },
    async build() {
      const fs = await memoryFolder({
        [file(0)]: Buffer.concat([...head, torn]),
        [file(0, '.index')]: '',
        [file(0, '.timeindex')]: ''
      })
      await putWatermark(fs, { ...markBehind(0, head), offset: 4000, position: 1_000_000 })
      return fs
    }
  },
  {
    name: 'a compaction whose result had not all its names yet',
    async build() {
      const whole = Buffer.concat([...head.slice(0, 2), head[4] as Buffer])
      const fs = await memoryFolder({
        [file(0, '.log.swap')]: whole,
        [file(0, '.index.swap')]: '',
        [file(0, '.timeindex.swap')]: '',
        [file(0, '.log.deleted')]: Buffer.concat(head.slice(0, 3)),
        [file(3)]: Buffer.concat(head.slice(3)),
        [file(3, '.index')]: '',
        [file(5)]: Buffer.concat(open)
      })
      await putWatermark(fs, markBehind(5, open))
      return fs
    },
    options: { config: logConfig({ cleanupPolicy: ['compact'] }) }
  },
  {
    name: 'a compaction that was not finished',
    async build() {
      const fs = await memoryFolder({
        [file(0)]: Buffer.concat(head.slice(0, 3)),
        [file(0, '.log.cleaned')]: Buffer.concat(head.slice(0, 1)),
        [file(3, '.log.swap')]: Buffer.concat(head.slice(3, 4)),
        [file(3)]: Buffer.concat(head.slice(3)),
        [file(5)]: Buffer.concat(open)
      })
      await putWatermark(fs, markBehind(5, open))
      return fs
    }
  },
  {
    name: 'a log that ends below the start it was given',
    options: { logStartOffset: 40 },
    async build() {
      const fs = await memoryFolder({ [file(0)]: Buffer.concat(head), [file(5)]: Buffer.concat([...open, torn]) })
      await putWatermark(fs, markBehind(5, open))
      return fs
    }
  },
  {
    name: 'a failed sync behind the watermark',
    async build() {
      const fs = await memoryFolder({ [file(0)]: Buffer.concat([...head, ...open]) })
      await putWatermark(fs, markBehind(0, head, { syncFailed: true }))
      return fs
    }
  },
  {
    name: 'a folder whose manifest lists what a torn end takes away',
    async build() {
      const bytes = Buffer.concat([...open, torn]).length
      const state = { state: 'sealed', digest: undefined, verifiedMs: undefined, transactions: undefined } as const
      const sealed = [
        { baseOffset: 0, bytes: Buffer.concat(head).length, nextOffset: 5, ...state },
        { baseOffset: 5, bytes, nextOffset: 12, ...state }
      ]
      const fs = await memoryFolder({
        [file(0)]: Buffer.concat(head),
        [file(5)]: Buffer.concat([...open, torn]),
        [file(12)]: batch(12),
        'heartwood-manifest': formatManifest({ logStartOffset: 0, sealed, active: activeAt(12) })
      })
      await putWatermark(fs, markBehind(5, open))
      return fs
    }
  },
  {
    name: 'a log that was closed within its segment, opened again and killed',
    options: { recoveryPoint: 8, config: everyBatchIndexed },
    async build() {
      const written = batches(0, 11, { valueBytes: 300 })
      const builder = IndexBuilder.empty(0)
      let position = 0
      for (const [offset, bytes] of written.slice(0, 8).entries()) {
        builder.add(position, offset, 1_700_000_000_000 + offset, everyBatchIndexed)
        position += bytes.length
      }
      const fs = await memoryFolder({
        [file(0)]: Buffer.concat([...written, torn]),
        [file(0, '.index')]: builder.offsets.bytes(0),
        [file(0, '.timeindex')]: builder.times.bytes(0),
        [file(8, '.snapshot')]: formatProducerSnapshot([]),
        'leader-epoch-checkpoint': '0\n1\n0 0\n'
      })
      await putWatermark(fs, markBehind(0, written.slice(0, 9)))
      return fs
    }
  },
  { name: 'a folder with nothing in it', build: () => memoryFolder({}) }
]

const NO_EPOCHS = Buffer.from('0\n0\n').toString('hex')

class Killed extends Error {}

/** Dies at the given call, and does nothing more. */
function killAt(fs: MemoryFileSystem, at: number): { calls: number } {
  const state = { calls: 0 }
  fs.onCall = () => {
    state.calls += 1
    if (state.calls >= at) throw new Killed(`killed at call ${at}`)
  }
  return state
}

interface Outcome {
  readonly name: string
  readonly sector: (index: number) => SectorOutcome
  readonly keepsName: (index: number) => boolean
  readonly keepsLength: boolean
}

/** What a power cut makes of what was not synced. `kill`: there was no power cut, only the process is gone. */
const OUTCOMES: readonly (Outcome | undefined)[] = [
  undefined,
  { name: 'all lost', sector: () => 'drop', keepsName: () => false, keepsLength: false },
  { name: 'names kept, content zero', sector: () => 'zero', keepsName: () => true, keepsLength: true },
  {
    name: 'every other name and sector kept',
    sector: index => (index % 2 === 0 ? 'keep' : 'garble'),
    keepsName: index => index % 2 === 0,
    keepsLength: true
  }
]

function cutPower(fs: MemoryFileSystem, outcome: Outcome): void {
  const order = new Map(fs.pendingChanges.map((change, index) => [change, index]))
  fs.powerCut({
    sector: ({ index }) => outcome.sector(index),
    length: ({ durable, present }) => (outcome.keepsLength ? present : durable),
    name: change => outcome.keepsName(order.get(change) ?? 0)
  })
}

async function recovered(fs: MemoryFileSystem, options: Partial<LoadOptions> = {}) {
  const log = await load({ fs, dir: DIR, ...options })
  const { logStartOffset, logEndOffset, readableUpTo, epochs, producers } = log
  await closeLoaded(log, false)
  const image = await imageOf(fs)
  // No epochs, and no file of epochs: both mean the same.
  if (image['leader-epoch-checkpoint'] === NO_EPOCHS) delete image['leader-epoch-checkpoint']
  return {
    logStartOffset,
    logEndOffset,
    readableUpTo,
    epochs: epochs.entries,
    producers: [...producers.entries.values()].map(({ producerId, epoch, batches }) => ({
      producerId,
      epoch,
      batches
    })),
    image
  }
}

for (const scenario of SCENARIOS) {
  t.test(`recovery of ${scenario.name} comes to the same end after a crash at any of its calls`, async t => {
    const reference = await scenario.build()
    const counting = killAt(reference, Number.POSITIVE_INFINITY)
    const log = await load({ fs: reference, dir: DIR, ...scenario.options })
    const { calls } = counting
    await closeLoaded(log, false)
    reference.onCall = undefined
    const want = await recovered(await scenario.build(), scenario.options)
    t.ok(calls > 10, `${calls} calls`)
    let compared = 0
    for (let at = 1; at <= calls; at += 1) {
      for (const outcome of OUTCOMES) {
        const fs = await scenario.build()
        killAt(fs, at)
        await load({ fs, dir: DIR, ...scenario.options }).then(
          log => closeLoaded(log, false),
          () => undefined
        )
        fs.onCall = undefined
        if (outcome !== undefined) cutPower(fs, outcome)
        const got = await recovered(fs, scenario.options).catch(error => error)
        compared += 1
        if (!isSame(got, want)) {
          t.same(got, want, `killed at call ${at}, ${outcome?.name ?? 'process only'}`)
          return
        }
      }
    }
    t.equal(compared, calls * OUTCOMES.length)
  })

  t.test(
    `recovery of ${scenario.name} fails with a typed error when any of its calls fails, and then works`,
    async t => {
      const counting = await scenario.build()
      const state = killAt(counting, Number.POSITIVE_INFINITY)
      const log = await load({ fs: counting, dir: DIR, ...scenario.options })
      counting.onCall = undefined
      await closeLoaded(log, false)
      const want = await recovered(await scenario.build(), scenario.options)
      for (const code of ['EIO', 'ENOSPC'] as const) {
        for (let at = 1; at <= state.calls; at += 1) {
          const fs = await scenario.build()
          let calls = 0
          let failed: FileSystemCall | undefined
          fs.onCall = call => {
            calls += 1
            if (calls !== at) return
            failed = call
            throw Object.assign(new Error(`${code}: made to fail, ${call.operation}`), { code })
          }
          const result = await load({ fs, dir: DIR, ...scenario.options }).then(
            async log => {
              fs.onCall = undefined
              await closeLoaded(log, false)
              return log
            },
            error => error
          )
          const what = `${failed?.operation} ${failed?.path} (${code}, call ${at})`
          if (result instanceof Error && result.name !== 'LogError') return t.fail(`${what}: ${result.stack}`)
          fs.onCall = undefined
          const got = await recovered(fs, scenario.options).catch(error => error)
          if (!isSame({ ...got, image: logsOf(got) }, { ...want, image: logsOf(want) })) {
            return t.same(got, want, `after a failed ${what}`)
          }
        }
      }
      return t.pass()
    }
  )
}

/** What counts of an image: a tail that found no room in quarantine is lost, and the log is the same. */
function logsOf({ image }: { image?: Record<string, string> }): Record<string, string> {
  return Object.fromEntries(Object.entries(image ?? {}).filter(([name]) => name.endsWith('.log')))
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
