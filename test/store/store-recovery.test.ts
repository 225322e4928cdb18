import { open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Store } from '../../lib/store/store.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { brokersDirectory, crashImage, photograph, values } from './helpers.ts'

const MARKER = '.kafka_cleanshutdown'
const hasMarker = async (dir: string): Promise<boolean> => (await readdir(dir)).includes(MARKER)
const firstLog = (dir: string, folder: string): string => join(dir, folder, '00000000000000000000.log')

/** A directory of ours with two topics of 20 records each, as a killed process left it. */
async function killed(t: Parameters<typeof tempDir>[0]): Promise<string> {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open(dir)
  for (const topic of ['damaged', 'sound']) {
    const log = await store.openLog(topic, 0)
    for (let i = 0; i < 20; i += 1) await log.append([{ value: `v${i}` }])
  }
  const image = await crashImage(t, dir)
  await store.close()
  return image
}

async function flipByte(path: string, position: number): Promise<void> {
  const handle = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, position)
  byte[0] = byte[0]! ^ 0x10
  await handle.write(byte, 0, 1, position)
  await handle.close()
}

/** Where the first `count` batches of a segment end. */
async function endOfBatch(path: string, count: number): Promise<number> {
  const bytes = await readFile(path)
  let position = 0
  for (let i = 0; i < count; i += 1) position += 12 + bytes.readInt32BE(position + 8)
  return position
}

t.test('after a crash every log is recovered at open, so the next close is clean', async t => {
  const dir = await killed(t)
  const store = await Store.open(dir)
  const status = store.status()
  t.notOk(status.directories[0]?.cleanAtOpen)
  t.equal(status.directories[0]?.otherEngine, undefined, 'it was us who crashed')
  t.same(
    status.recoveries.map(({ topic, report }) => [topic, report.clean, report.logEndOffset]),
    [
      ['damaged', false, 20],
      ['sound', false, 20]
    ]
  )
  await store.close()
  t.ok(await hasMarker(dir))
  const again = await Store.open(dir)
  t.ok((await again.openLog('sound', 0)).recovery.clean)
  await again.close()
})

t.test('the clean-shutdown marker is gone as soon as a log may change', async t => {
  const dir = await killed(t)
  await (await Store.open(dir)).close()
  const store = await Store.open(dir)
  t.notOk(await hasMarker(dir))
  await store.close()
  t.ok(await hasMarker(dir))
})

t.test('a torn tail is cut at open, and its report stays readable', async t => {
  const dir = await killed(t)
  const path = firstLog(dir, 'damaged-0')
  const { size } = await stat(path)
  await writeFile(path, Buffer.concat([await readFile(path), Buffer.from('torn')]))
  const store = await Store.open(dir)
  const recovery = store.status().recoveries.find(({ topic }) => topic === 'damaged')
  t.equal(recovery?.report.truncatedBytes, 4)
  t.equal((await stat(path)).size, size)
  const log = await store.openLog('damaged', 0)
  await log.close()
  await store.openLog('damaged', 0)
  t.equal(store.status().recoveries.find(({ topic }) => topic === 'damaged')?.report.truncatedBytes, 4)
  await store.close()
})

t.test('a corrupt log stays closed and says why; the others work; no marker is written over it', async t => {
  const dir = await killed(t)
  await flipByte(firstLog(dir, 'damaged-0'), 100)
  const before = await readFile(firstLog(dir, 'damaged-0'))
  const store = await Store.open(dir)
  const [failed] = store.status().failed
  t.match(failed, { topic: 'damaged', partition: 0, error: { code: 'CORRUPT_LOG' } })
  await t.rejects(store.openLog('damaged', 0), { code: 'CORRUPT_LOG' })
  t.match(await store.describe('damaged'), { partitions: [{ partition: 0, error: { code: 'CORRUPT_LOG' } }] })
  const sound = await store.openLog('sound', 0)
  await sound.append([{ value: 'more' }])
  await store.close()
  t.notOk(await hasMarker(dir))
  t.same(await readFile(firstLog(dir, 'damaged-0')), before, 'not a byte of it changed')

  const again = await Store.open(dir)
  t.equal((await values(await again.openLog('sound', 0))).length, 21)
  t.equal(again.status().failed.length, 1)
  await again.close()
})

t.test('read-prefix opens a corrupt log up to the damage', async t => {
  const dir = await killed(t)
  await flipByte(firstLog(dir, 'damaged-0'), 100)
  const store = await Store.open(dir, { onCorruption: 'read-prefix' })
  t.same(await values(await store.openLog('damaged', 0)), ['v0'])
  await store.close()
  t.notOk(await hasMarker(dir))
})

t.test('damage that is found only when the log is first used takes the marker away too', async t => {
  const dir = await killed(t)
  await (await Store.open(dir)).close()
  await truncate(firstLog(dir, 'damaged-0'), 50)
  const store = await Store.open(dir)
  await t.rejects(store.openLog('damaged', 0), { code: 'CORRUPT_LOG' })
  await store.close()
  t.notOk(await hasMarker(dir))
})

t.test('logs that nobody opened stay clean, and their lines in the checkpoints stay as they are', async t => {
  const dir = await brokersDirectory(t)
  const before = await readFile(join(dir, 'recovery-point-offset-checkpoint'), 'utf8')
  const store = await Store.open(dir)
  await (await store.openLog('plain', 0)).append([{ value: 'a' }])
  await store.close()
  const after = await readFile(join(dir, 'recovery-point-offset-checkpoint'), 'utf8')
  t.equal(after, before.replace('plain 0 265', 'plain 0 266'))
  t.equal(await readFile(join(dir, 'log-start-offset-checkpoint'), 'utf8'), '0\n1\ntrimmed 0 217\n')
  t.equal(await readFile(join(dir, MARKER), 'utf8'), '{"version":0,"brokerEpoch":158}')
})

t.test("opening and closing every log of a broker's directory changes no log and no checkpoint's content", async t => {
  for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
    const dir = await brokersDirectory(t, version)
    const before = await photograph(dir)
    const store = await Store.open(dir)
    for (const { topic } of store.topics({ internal: true })) await store.describe(topic)
    t.same(store.status().failed, [])
    await store.close()
    t.ok(await hasMarker(dir))
    const after = await photograph(dir)
    const content = (photo: string | undefined): string => (photo ?? '').split(' ').slice(2).join(' ')
    for (const [path, photo] of before) {
      // Epochs that begin at the log's end are dropped at load, by Kafka as well.
      if (/\.(log|index|timeindex|txnindex)$|offset-checkpoint$|partition.metadata|meta.properties/.test(path)) {
        t.equal(content(after.get(path)), content(photo), `${version} ${path}`)
      }
    }
  }
})

t.test('what a killed broker left is recovered to what its consumers saw', async t => {
  const { execFileSync } = await import('node:child_process')
  for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
    const dir = await tempDir(t)
    execFileSync('tar', ['xzf', fixture('golden', version, 'crashed.tar.gz'), '-C', dir])
    const store = await Store.open(dir)
    t.same(store.status().failed, [])
    for (const { topic } of store.topics()) {
      const expected = JSON.parse(await readFile(fixture('golden', version, 'expect', `${topic}.json`), 'utf8'))
      const { highWatermark, lastStableOffset } = expected
      t.match((await store.describe(topic)).partitions, [{ highWatermark, lastStableOffset }], `${version} ${topic}`)
    }
    await store.close()
    t.ok(await hasMarker(dir))
  }
})

t.test('after a visit of another engine our side-cars are not believed, in any log, whenever it is opened', async t => {
  const dir = await killed(t)
  await (await Store.open(dir)).close()
  // A broker truncated both logs (a follower does that) and closed cleanly: the watermarks are now too high.
  for (const folder of ['damaged-0', 'sound-0']) {
    await truncate(firstLog(dir, folder), await endOfBatch(firstLog(dir, folder), 10))
    for (const name of await readdir(join(dir, folder))) {
      if (/\.snapshot$|index$/.test(name)) await rm(join(dir, folder, name))
    }
    await writeFile(join(dir, folder, '00000000000000000000.index'), '')
    await writeFile(join(dir, folder, '00000000000000000000.timeindex'), '')
  }
  await writeFile(join(dir, 'recovery-point-offset-checkpoint'), '0\n2\nsound 0 10\ndamaged 0 10\n')
  await writeFile(join(dir, 'replication-offset-checkpoint'), '0\n2\nsound 0 10\ndamaged 0 10\n')
  await writeFile(join(dir, MARKER), '{"version":0,"brokerEpoch":99}')
  const store = await Store.open(dir)
  t.ok(store.status().directories[0]?.otherEngine)
  t.equal((await values(await store.openLog('sound', 0))).length, 10)
  await store.close()
  // The other log was not opened: that its side-cars are stale must not be forgotten over a clean close of ours.
  const again = await Store.open(dir)
  t.equal(again.status().directories[0]?.otherEngine, undefined)
  t.equal((await values(await again.openLog('damaged', 0))).length, 10)
  await again.close()
  // Once opened they are believed again: now a log that ends early is damage.
  await truncate(firstLog(dir, 'sound-0'), await endOfBatch(firstLog(dir, 'sound-0'), 5))
  const third = await Store.open(dir)
  await t.rejects(third.openLog('sound', 0), { code: 'CORRUPT_LOG' })
  await third.close()
})

t.test('a log whose sync failed takes the marker away; opened again it is recovered', async t => {
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs })
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'a' }])
  fs.onCall = ({ operation, path }) => {
    if (operation === 'datasync' && path.endsWith('.log')) throw Object.assign(new Error('EIO'), { code: 'EIO' })
    return undefined
  }
  await t.rejects(log.append([{ value: 'b' }]), { code: 'SYNC_FAILED' })
  fs.onCall = undefined
  t.equal(log.condition, 'poisoned')
  t.match(store.status().logs, [{ condition: 'poisoned' }])
  t.equal(await store.openLog('orders', 0), log, 'reading goes on; whoever wants to write closes it and opens it again')
  await log.close()
  const again = await store.openLog('orders', 0)
  t.notOk(again.recovery.clean)
  t.equal((await values(again))[0], 'a')
  await again.append([{ value: 'c' }])
  fs.onCall = ({ operation, path }) => {
    if (operation === 'datasync' && path.endsWith('.log')) throw Object.assign(new Error('EIO'), { code: 'EIO' })
    return undefined
  }
  await t.rejects(again.append([{ value: 'd' }]), { code: 'SYNC_FAILED' })
  fs.onCall = undefined
  await store.close()
  t.equal(await fs.stat('/data/.kafka_cleanshutdown'), undefined)
  await (await Store.open('/data', { fs })).close()
  t.ok(await fs.stat('/data/.kafka_cleanshutdown'), 'after recovery')
})

t.test('a topic whose settings mean nothing here is isolated until they are altered', async t => {
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs })
  await (await store.openLog('orders', 0)).append([{ value: 'a' }])
  await store.close()
  const { formatTopicsFile, parseTopicsFile } = await import('../../lib/store/topics-file.ts')
  const { readWholeFile, replaceFile } = await import('../../lib/fs/replace-file.ts')
  const file = parseTopicsFile((await readWholeFile(fs, '/data/heartwood-topics', 1e6))!, 'heartwood-topics')
  const entry = file.topics.get('orders')!
  file.topics.set('orders', { ...entry, configs: new Map([['segment.bytes', 'many']]) })
  await replaceFile(fs, '/data/heartwood-topics', formatTopicsFile(file))
  const again = await Store.open('/data', { fs })
  await t.rejects(again.openLog('orders', 0), { code: 'INVALID_CONFIG' })
  t.match(again.status().failed, [{ topic: 'orders', error: { code: 'INVALID_CONFIG' } }])
  await again.alterTopic('orders', { set: { 'segment.bytes': '10000' } })
  t.same(await values(await again.openLog('orders', 0)), ['a'])
  await again.close()
})

t.test('a store that cannot write its checkpoints says so and still lets go of the directory', async t => {
  const fs = new MemoryFileSystem()
  const store = await Store.open('/data', { fs })
  await (await store.openLog('orders', 0)).append([{ value: 'a' }])
  fs.onCall = ({ operation, path }) => {
    if (operation === 'open' && path.endsWith('.tmp'))
      throw Object.assign(new Error('ENOSPC: full'), { code: 'ENOSPC' })
    return undefined
  }
  await t.rejects(store.checkpoint(), { code: 'NO_SPACE' })
  t.match(store.status().checkpointError, { code: 'NO_SPACE' })
  await t.rejects(store.close(), { code: 'NO_SPACE' })
  fs.onCall = undefined
  const again = await Store.open('/data', { fs })
  t.same(await values(await again.openLog('orders', 0)), ['a'])
  await again.close()
})

t.test('wherever the power goes, from opening to closing, what was acknowledged is there', async t => {
  // Every seventh call: all of them are the reliability lane's.
  let points = 0
  for (let at = 0; ; at += 7) {
    const fs = new MemoryFileSystem()
    const first = await Store.open('/data', { fs })
    await (await first.openLog('orders', 0)).append([{ value: 'before' }])
    await first.close()
    let calls = 0
    fs.onCall = () => {
      calls += 1
      if (calls > at) throw Object.assign(new Error('EIO: power is gone'), { code: 'EIO' })
    }
    const acknowledged = ['before']
    let done = false
    try {
      const store = await Store.open('/data', { fs })
      const log = await store.openLog('orders', 0)
      for (const value of ['a', 'b']) {
        await log.append([{ value }])
        acknowledged.push(value)
      }
      await store.checkpoint()
      await store.close()
      done = true
    } catch {
      // The power is gone.
    }
    fs.onCall = undefined
    fs.powerCut()
    const again = await Store.open('/data', { fs })
    const log = await again.openLog('orders', 0)
    const found = await values(log)
    t.same(found.slice(0, acknowledged.length), acknowledged, `cut ${at}`)
    t.ok(found.length <= 3, `cut ${at}: ${found}`)
    t.equal(again.status().directories[0]?.otherEngine, undefined, `cut ${at}: it was us`)
    await again.close()
    if (done) {
      t.ok(log.recovery.clean, 'closed cleanly')
      break
    }
    points += 1
  }
  t.ok(points > 10, `${points} points`)
})

t.test(
  'wherever the power goes while a store is opened and closed unchanged, nothing is lost and it was us',
  async t => {
    let points = 0
    for (let at = 0, done = false; !done; at += 1) {
      const fs = new MemoryFileSystem()
      const first = await Store.open('/data', { fs })
      await (await first.openLog('orders', 0)).append([{ value: 'before' }])
      await first.close()
      // The second time round, what a crash has left is opened under the same threat.
      for (let generation = 0; generation < 2; generation += 1) {
        let calls = 0
        fs.onCall = () => {
          calls += 1
          if (calls > at) throw Object.assign(new Error('EIO: power is gone'), { code: 'EIO' })
        }
        try {
          const store = await Store.open('/data', { fs })
          await store.openLog('orders', 0)
          await store.close()
          done = generation === 1
        } catch {
          points += 1
        }
        fs.onCall = undefined
        fs.powerCut()
      }
      const again = await Store.open('/data', { fs })
      t.equal(again.status().directories[0]?.otherEngine, undefined, `cut ${at}`)
      t.same(await values(await again.openLog('orders', 0)), ['before'], `cut ${at}`)
      await again.close()
    }
    t.ok(points > 50, `${points} points`)
  }
)
