/** Damage in segments that nobody reads is found, told, and left as it is. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import type { UpkeepOptions } from '../../lib/store/upkeep-types.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { numbered } from '../helpers/logs.ts'
import { manifestWith } from '../helpers/manifests.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { batches, file, readFile } from '../helpers/partition-folder.ts'
import { values } from './helpers.ts'

t.setTimeout(200_000)

const LOOK_MS = 15_000
const PERIOD = 60_000
const FAST = { scrubBytesPerSecond: Number.POSITIVE_INFINITY, scrubEveryMs: PERIOD }

class Made {
  readonly clock = new ManualClock()
  readonly fs = new MemoryFileSystem({ now: () => this.clock.now() })

  open(upkeep: UpkeepOptions = FAST): Promise<Store> {
    return Store.open('/data', { fs: this.fs, clock: this.clock, upkeep })
  }

  /** Sealed segments 0, 10 and 20 of ten batches, which the manifest names, and an active one with one. */
  async fill(store: Store, topic: string): Promise<PartitionLog> {
    await store.createTopic(topic)
    const log = await store.openLog(topic, 0)
    for (let i = 0; i < 3; i += 1) {
      for (let j = 0; j < 10; j += 1) await log.append(numbered(1, 10 * i + j), { ownBatch: true })
      await log.roll()
    }
    await log.append(numbered(1, 30))
    await manifestWith(this.fs, `/data/${topic}-0`, this.clock, 3)
    return log
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= LOOK_MS) {
      await this.clock.advanceAsync(Math.min(left, LOOK_MS))
      for (let i = 0; i < 500; i += 1) await new Promise(resolve => setImmediate(resolve))
    }
  }

  async change(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
    const bytes = change(Buffer.from(await readFile(this.fs, path)))
    const handle = await this.fs.open(path, 'write')
    await handle.truncate(0)
    await writeFully(handle, bytes, 0)
    await handle.close()
  }
}

const PATH = `/data/orders-0/${file(10)}`

/** Where the batch of this number begins. */
function startOf(bytes: Buffer, number: number): number {
  let at = 0
  for (let i = 0; i < number; i += 1) at += 12 + bytes.readInt32BE(at + 8)
  return at
}

function flipped(at: (bytes: Buffer) => number): (bytes: Buffer) => Buffer {
  return bytes => {
    const place = at(bytes)
    bytes[place] = (bytes[place] as number) ^ 1
    return bytes
  }
}

const DAMAGE: readonly (readonly [what: string, change: (bytes: Buffer) => Buffer, fromOffset: number])[] = [
  ['a byte of a value', flipped(bytes => startOf(bytes, 5) - 3), 14],
  ['the base offset of the last batch, which no CRC covers', flipped(bytes => startOf(bytes, 9) + 6), 10],
  ['a leader epoch, which no CRC covers', flipped(bytes => startOf(bytes, 4) + 15), 14],
  ['a write that was lost: zeros', bytes => bytes.fill(0, startOf(bytes, 3), startOf(bytes, 5)), 13],
  [
    'a write that was lost: what had been there',
    bytes => {
      const old = Buffer.concat(batches(13, 1))
      old.copy(bytes, startOf(bytes, 3))
      return bytes
    },
    14
  ],
  ['a file that is cut short', bytes => bytes.subarray(0, startOf(bytes, 7)), 17],
  ['a file that has grown', bytes => Buffer.concat([bytes, bytes.subarray(startOf(bytes, 9))]), 20]
]

for (const [what, change, fromOffset] of DAMAGE) {
  t.test(`found in a segment that nobody reads: ${what}`, async t => {
    const made = new Made()
    const store = await made.open()
    const log = await made.fill(store, 'orders')
    await made.change(PATH, change)
    const damaged = await readFile(made.fs, PATH)
    await made.pass(PERIOD + LOOK_MS)
    const { damage, damagedSegments, verifiedSegments } = store.status().upkeep.scrub
    t.match(damage, [{ topic: 'orders', partition: 0, segment: 10, file: PATH, error: { code: 'CORRUPT_LOG' } }])
    t.match(damage, [{ fromOffset, toOffset: 20 }])
    t.equal(damagedSegments, 1)
    t.equal(verifiedSegments, 2, 'the others are sound')
    const [partition] = (await store.describe('orders')).partitions
    t.match(partition, { verification: { sealedSegments: 3, verifiedSegments: 3, damage: [{ segment: 10 }] } })
    t.same(await readFile(made.fs, PATH), damaged, 'nothing was changed')
    t.equal(log.condition, 'open')
    t.equal((await log.read(20)).baseOffset, 20, 'what is sound is read')
    await log.append(numbered(1, 31))
    await store.close()
  })
}

t.test("found: another log's file of the same name and size, with sound batches", async t => {
  const made = new Made()
  const store = await made.open()
  await made.fill(store, 'orders')
  await made.clock.advanceAsync(1)
  const other = await made.fill(store, 'prices')
  const theirs = await readFile(made.fs, `/data/prices-0/${file(10)}`)
  t.equal((await readFile(made.fs, PATH)).length, theirs.length)
  await made.change(PATH, () => theirs)
  await made.pass(PERIOD + LOOK_MS)
  const { damage } = store.status().upkeep.scrub
  t.match(damage, [{ topic: 'orders', segment: 10, position: 0, fromOffset: 10, toOffset: 20 }])
  t.equal(damage.length, 1)
  t.equal(other.condition, 'open')
  await store.close()
})

t.test('what was put right, or is gone, is not told of any more', async t => {
  const made = new Made()
  const store = await made.open()
  const log = await made.fill(store, 'orders')
  const sound = await readFile(made.fs, PATH)
  const flip = flipped(() => 100)
  await made.change(PATH, flip)
  await made.pass(PERIOD + LOOK_MS)
  t.equal(store.status().upkeep.scrub.damagedSegments, 1)
  await made.change(PATH, () => sound)
  await made.pass(PERIOD + LOOK_MS)
  t.equal(store.status().upkeep.scrub.damagedSegments, 0)
  await made.change(PATH, flip)
  await made.pass(PERIOD + LOOK_MS)
  t.equal(store.status().upkeep.scrub.damagedSegments, 1)
  await log.truncateTo(5)
  await made.pass(LOOK_MS)
  t.equal(store.status().upkeep.scrub.damagedSegments, 0)
  await store.close()
})

t.test(
  'segments that no manifest names are verified first, and named from then on; the next process goes on',
  async t => {
    const made = new Made()
    const first = await made.open()
    await made.fill(first, 'orders')
    await first.close()
    await made.fs.unlink('/data/orders-0/heartwood-manifest')
    const store = await made.open()
    const log = await store.openLog('orders', 0)
    t.match(log.maintenance.sealedSegments(), [{ verifiedMs: undefined }, {}, {}])
    await made.pass(LOOK_MS)
    t.equal(store.status().upkeep.scrub.verifiedSegments, 3)
    const { sealed } = await manifestWith(made.fs, '/data/orders-0', made.clock, 3)
    t.match(sealed, [{ state: 'sealed', nextOffset: 10 }, { nextOffset: 20 }, { nextOffset: 30 }])
    await store.close()
    const again = await made.open()
    await again.openLog('orders', 0)
    await made.pass(PERIOD / 2)
    t.equal(again.status().upkeep.scrub.verifiedSegments, 0, 'they are known to be sound')
    await made.pass(PERIOD)
    t.equal(again.status().upkeep.scrub.verifiedSegments, 3)
    t.same(
      await values(await again.openLog('orders', 0)),
      numbered(31).map(({ value }) => value)
    )
    await again.close()
  }
)

t.test(
  'it goes at the rate that was chosen, rests while upkeep is paused, and a closing store does not wait',
  async t => {
    const made = new Made()
    const store = await made.open({ scrubBytesPerSecond: MiB / 60, scrubEveryMs: PERIOD })
    await made.fill(store, 'orders')
    store.pauseUpkeep()
    await made.pass(2 * PERIOD)
    t.equal(store.status().upkeep.scrub.verifiedSegments, 0)
    store.resumeUpkeep()
    await made.pass(LOOK_MS)
    t.equal(store.status().upkeep.scrub.verifiedSegments, 1)
    await made.pass(30_000)
    t.equal(store.status().upkeep.scrub.verifiedSegments, 1, 'a small segment counts for 1 MiB: a minute')
    await made.pass(45_000)
    t.equal(store.status().upkeep.scrub.verifiedSegments, 2)
    // The clock stands still: whoever waited for its rest to end would wait for ever.
    await store.close()
  }
)

t.test('a segment that goes, or is replaced, while it is read is no damage', async t => {
  for (const change of [
    (log: PartitionLog) => log.truncateTo(15),
    (log: PartitionLog) => log.deleteRecordsBefore(20),
    (log: PartitionLog) => log.startAt(100)
  ]) {
    const made = new Made()
    const store = await made.open()
    const log = await made.fill(store, 'orders')
    let changes = 0
    made.fs.onCall = async ({ operation, path }) => {
      if (operation !== 'read' || path !== PATH) return
      made.fs.onCall = undefined
      changes += 1
      await change(log)
    }
    await made.pass(PERIOD + LOOK_MS)
    t.equal(changes, 1)
    t.equal(store.status().upkeep.scrub.damagedSegments, 0)
    await store.close()
  }
})

t.test('it does not run where it is turned off', async t => {
  const made = new Made()
  const store = await made.open({ scrubBytesPerSecond: 0, scrubEveryMs: 1 })
  await made.fill(store, 'orders')
  await made.pass(4 * LOOK_MS)
  t.match(store.status().upkeep.scrub, { bytesPerSecond: 0, verifiedSegments: 0 })
  await store.close()
  await t.rejects(made.open({ scrubBytesPerSecond: -1 }), TypeError)
  await t.rejects(made.open({ scrubEveryMs: 0 }), TypeError)
})
