import { basename } from 'node:path'
import t from 'tap'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import type { LoadedLog } from '../../lib/log/loader-types.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { formatProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { closeLoaded, eachBatch, load } from '../helpers/loading.ts'
import {
  batch,
  batches,
  DIR,
  file,
  imageOf,
  markBehind,
  marker,
  memoryFolder,
  putFiles,
  putWatermark,
  readFile
} from '../helpers/partition-folder.ts'

const written = batches(0, 8)
const part = (from: number, to: number): Buffer => Buffer.concat(written.slice(from, to))
const compacted = logConfig({ cleanupPolicy: ['compact'] })
/** Timestamps of these tests are old. */
const lasting = logConfig({ producerIdExpirationMs: 2 ** 45 })

async function offsetsOf(log: LoadedLog): Promise<number[]> {
  const offsets: number[] = []
  await eachBatch(log, view => {
    offsets.push(view.baseOffset)
  })
  return offsets
}

t.test('complete swap files replace what they cover, and nothing else', async t => {
  // Segments 0 and 3 were compacted into one that begins at 0 and still ends at offset 5; 6 is none of its business.
  const fs = await memoryFolder({
    [file(0)]: part(0, 3),
    [file(0, '.index')]: 'old',
    [file(3)]: part(3, 6),
    [file(3, '.index')]: 'old',
    [file(6)]: part(6, 8),
    [file(0, '.log.swap')]: Buffer.concat([written[1] as Buffer, written[5] as Buffer]),
    [file(0, '.index.swap')]: '',
    [file(0, '.timeindex.swap')]: ''
  })
  const log = await load({ fs, dir: DIR, config: compacted })
  t.same(await offsetsOf(log), [1, 5, 6, 7])
  t.same(log.report.deletedFiles.toSorted(), [file(0, '.index'), file(0), file(3, '.index'), file(3)].toSorted())
  t.ok(log.report.notes.some(note => note.code === 'INTERRUPTED_COMPACTION'))
  await closeLoaded(log)
  t.notOk(Object.keys(await imageOf(fs)).some(name => name.endsWith('.swap')))
})

t.test('swap files at or above an unfinished rewrite are undone with it', async t => {
  const fs = await memoryFolder({
    [file(0)]: part(0, 3),
    [file(3)]: part(3, 8),
    [file(0, '.log.cleaned')]: written[0] as Buffer,
    [file(3, '.log.swap')]: written[4] as Buffer
  })
  const log = await load({ fs, dir: DIR, config: compacted })
  t.same(await offsetsOf(log), [0, 1, 2, 3, 4, 5, 6, 7])
  await closeLoaded(log)
  t.notOk(Object.keys(await imageOf(fs)).some(name => /swap|cleaned/.test(name)))
})

t.test('a damaged swap file replaces nothing: what it was made of is still there', async t => {
  const fs = await memoryFolder({
    [file(0)]: part(0, 8),
    [file(0, '.log.swap')]: part(0, 2).subarray(0, 100),
    [file(3, '.log.deleted')]: part(3, 8)
  })
  const before = await imageOf(fs)
  await t.rejects(load({ fs, dir: DIR }), { code: 'CORRUPT_LOG' })
  t.same(await imageOf(fs), before)
})

t.test('a reader cannot use a log whose segments wait for their names, and says so', async t => {
  const fs = await memoryFolder({ [file(0, '.log.swap')]: part(0, 3), [file(3)]: part(3, 8) })
  await t.rejects(load({ fs, dir: DIR, readOnly: true }), { code: 'CORRUPT_LOG', message: /compaction/ })
  const beside = await memoryFolder({
    [file(0)]: part(0, 3),
    [file(0, '.log.swap')]: written[2] as Buffer,
    [file(3)]: part(3, 8)
  })
  const log = await load({ fs: beside, dir: DIR, readOnly: true })
  t.equal((await offsetsOf(log)).length, 8, 'what is replaced is still whole')
  await closeLoaded(log)
})

t.test('deleted and unfinished files go, side-cars of missing segments too', async t => {
  const fs = await memoryFolder({
    [file(0)]: part(0, 8),
    [file(0, '.heartwood-digest')]: 'kept',
    [file(3, '.heartwood-digest')]: 'gone',
    [file(3, '.snapshot.deleted')]: 'gone',
    [file(0, '.index.tmp')]: 'gone',
    'partition.metadata': 'version: 0'
  })
  const log = await load({ fs, dir: DIR })
  t.same(
    log.report.deletedFiles.toSorted(),
    [file(0, '.index.tmp'), file(3, '.heartwood-digest'), file(3, '.snapshot.deleted')].toSorted()
  )
  t.same(log.report.notes, [])
  await closeLoaded(log)
})

t.test('producer state comes from the newest snapshot that can be read and the batches behind it', async t => {
  const of = (baseOffset: number, baseSequence: number): Buffer =>
    batch(baseOffset, { producerId: 9, producerEpoch: 0, baseSequence })
  const fs = await memoryFolder({
    [file(0)]: Buffer.concat([of(0, 0), of(1, 1), of(2, 2)]),
    [file(3)]: Buffer.concat([of(3, 3), of(4, 4)]),
    [file(3, '.snapshot')]: 'torn',
    [file(5, '.snapshot')]: formatProducerSnapshot([]),
    [file(7, '.snapshot')]: formatProducerSnapshot([])
  })
  const log = await load({ fs, dir: DIR, recoveryPoint: 3, config: logConfig({ producerIdExpirationMs: 2 ** 42 }) })
  t.equal(log.producers.mapEndOffset, 5)
  t.equal(log.producers.entries.get(9)?.lastBatch?.lastSequence, 4)
  t.ok(log.report.notes.some(note => note.code === 'CORRUPT_FILE' && note.message.includes('snapshot at 3')))
  await closeLoaded(log)
  t.notOk(file(7, '.snapshot') in (await imageOf(fs)), 'a snapshot of what was lost is gone')
})

t.test('below the recovery point’s segment nothing is read', async t => {
  const fs = await memoryFolder({
    [file(0)]: Buffer.alloc(500, 0xee),
    [file(0, '.index')]: '',
    [file(0, '.timeindex')]: '',
    [file(3)]: part(3, 8),
    [file(3, '.snapshot')]: formatProducerSnapshot([])
  })
  const read: string[] = []
  fs.onCall = call => {
    if (call.operation === 'read') read.push(call.path)
  }
  const log = await load({ fs, dir: DIR, recoveryPoint: 4 })
  fs.onCall = undefined
  t.notOk(read.includes(`${DIR}/${file(0)}`))
  t.same([log.logStartOffset, log.logEndOffset, log.report.scannedBatches], [0, 8, 5])
  await closeLoaded(log)
})

t.test('a clean log is read from its last index entry on', async t => {
  const fs = await memoryFolder({ [file(0)]: Buffer.concat(batches(0, 400)) })
  await closeLoaded(await load({ fs, dir: DIR }))
  await putFiles(fs, { [file(400, '.snapshot')]: formatProducerSnapshot([]) })
  const log = await load({ fs, dir: DIR, clean: true })
  t.equal(log.logEndOffset, 400)
  t.ok(log.report.scannedBatches < 100, `${log.report.scannedBatches} batches read`)
  t.same([log.recoveryPoint, log.durableOffset], [400, 400])
  await closeLoaded(log)
})

/** Bytes read of each file from now on, by name. */
function countReads(fs: FileSystem): Map<string, number> {
  const bytes = new Map<string, number>()
  const open = fs.open.bind(fs)
  fs.open = async (path, mode, permissions) => {
    const handle = await open(path, mode, permissions)
    const read = handle.read.bind(handle)
    const readSync = handle.readSync.bind(handle)
    const counted = (count: number): number => {
      bytes.set(basename(path), (bytes.get(basename(path)) ?? 0) + count)
      return count
    }
    handle.read = async (target, position) => counted(await read(target, position))
    handle.readSync = (target, position) => counted(readSync(target, position))
    return handle
  }
  return bytes
}

t.test('a recovery reads what lies behind the recovery point once, and nothing before it', async t => {
  const large = batches(0, 40, { valueBytes: 100_000 })
  const files = [large.slice(0, 10), large.slice(10, 35), large.slice(35)].map(some => Buffer.concat(some))
  const [first, second, third] = files as [Buffer, Buffer, Buffer]
  const fs = await memoryFolder({
    [file(0)]: first,
    [file(10)]: second,
    [file(35)]: third,
    [file(10, '.snapshot')]: formatProducerSnapshot([])
  })
  await closeLoaded(await load({ fs, dir: DIR }))
  const read = countReads(fs)
  const log = await load({ fs, dir: DIR, recoveryPoint: 10 })
  t.equal(log.logEndOffset, 40)
  t.equal(read.get(file(0)), undefined)
  t.same([read.get(file(10)), read.get(file(35))], [second.length, third.length])
  t.ok(log.report.rebuilt.includes('offset-index 10') && log.report.rebuilt.includes('time-index 35'))
  const found = await log.segments[1]?.findBatch(20)
  t.match(found, { baseOffset: 20, lastOffset: 20 })
  await closeLoaded(log)
  const again = await load({ fs, dir: DIR, recoveryPoint: 0 })
  await again.segments[1]?.rebuildIndexes()
  await closeLoaded(again)
  const image = await imageOf(fs)
  t.equal(image[file(10, '.index')]?.length, 2 * 8 * 24)
  await closeLoaded(await load({ fs, dir: DIR, recoveryPoint: 0 }))
  t.same(await imageOf(fs), image, 'indexes that the scan builds are those that a reading of the file gives')
})

t.test('the transaction index is rebuilt from the batches, in every segment that is scanned', async t => {
  const transactional = (baseOffset: number, producerId: number, baseSequence: number): Buffer =>
    batch(baseOffset, { producerId, producerEpoch: 0, baseSequence, transactional: true })
  const fs = await memoryFolder({
    [file(0)]: Buffer.concat([transactional(0, 7, 0), transactional(1, 8, 0)]),
    [file(2)]: Buffer.concat([marker('abort', 2, 7), transactional(3, 8, 1), marker('commit', 4, 8)]),
    [file(2, '.txnindex')]: 'damaged',
    [file(5)]: Buffer.concat([transactional(5, 7, 1)])
  })
  for (const recoveryPoint of [0, 5]) {
    const log = await load({ fs, dir: DIR, recoveryPoint })
    t.same(log.producers.ongoingTransactions, [{ producerId: 7, firstOffset: 5 }])
    await closeLoaded(log)
    const index = TransactionIndex.parse(await readFile(fs, `${DIR}/${file(2, '.txnindex')}`), 2)
    t.same(index.entryAt(0), { producerId: 7, firstOffset: 0, lastOffset: 2, lastStableOffset: 1 })
    t.equal(index.entryCount, 1)
    t.notOk(file(0, '.txnindex') in (await imageOf(fs)))
    const handle = await fs.open(`${DIR}/${file(2, '.txnindex')}`, 'truncate')
    await handle.close()
    await handle.close()
    await fs.unlink(`${DIR}/${file(2, '.txnindex')}`)
    const torn = await fs.open(`${DIR}/${file(2, '.txnindex')}`, 'create')
    await torn.write(Buffer.from('damaged'), 0)
    await torn.close()
  }
})

t.test(
  'a transaction that seems open below the log start, in front of a file that is missing, holds nobody up',
  async t => {
    const idempotent = { producerId: 9, producerEpoch: 0 }
    // The power went while 0, 2 and 3 were being removed: of 2, which has the marker, all is gone.
    const fs = await memoryFolder({
      [file(0)]: Buffer.concat([
        batch(0, { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true }),
        batch(1, { ...idempotent, baseSequence: 0 })
      ]),
      [file(4)]: part(4, 6),
      [file(6)]: batch(6, { producerId: 8, producerEpoch: 0, baseSequence: 0 })
    })
    for (const options of [{}, { clean: true }, { recoveryPoint: 6 }]) {
      const log = await load({ fs, dir: DIR, logStartOffset: 5, readOnly: true, config: lasting, ...options })
      t.same([log.logStartOffset, log.logEndOffset, log.segments.length], [5, 7, 3])
      t.same(log.producers.ongoingTransactions, [])
      t.same([...log.producers.entries.keys()].map(Number), [7, 9, 8])
      await closeLoaded(log)
    }
    // Above the log start a compaction may have left the same gap, and kept what producers wrote last.
    const log = await load({ fs, dir: DIR, logStartOffset: 1, config: compacted })
    t.same(log.producers.ongoingTransactions, [{ producerId: 7, firstOffset: 0 }])
    await closeLoaded(log)
  }
)

t.test('an index that Kafka preallocated tells that another engine was here', async t => {
  const files = { [file(0)]: part(0, 8), [file(0, '.index')]: Buffer.alloc(10 * 1024 * 1024) }
  const fs = await memoryFolder(files)
  await putWatermark(fs, { ...markBehind(0, written), offset: 100, position: 100_000 })
  const log = await load({ fs, dir: DIR })
  t.same([log.report.foreign, log.logEndOffset], [true, 8])
  await closeLoaded(log)
  // Zeros such as a power cut leaves at the end of our own index are none.
  const own = await memoryFolder({ ...files, [file(0, '.index')]: Buffer.alloc(4096) })
  await putWatermark(own, markBehind(0, written))
  const ours = await load({ fs: own, dir: DIR })
  t.same([ours.report.foreign, ours.logEndOffset], [false, 8])
  await closeLoaded(ours)
})

t.test('offsets below a start that a crash left the log short of are not given again', async t => {
  const fs = await memoryFolder({ [file(0)]: part(0, 8) })
  await t.rejects(load({ fs, dir: DIR, clean: true, logStartOffset: 20 }), { code: 'CORRUPT_LOG' })
  const log = await load({ fs, dir: DIR, logStartOffset: 20 })
  t.same([log.logStartOffset, log.logEndOffset], [20, 20])
  t.match(log.report.notes, [{ code: 'LOG_START_BEYOND_END' }])
  await closeLoaded(log)
  t.equal(Object.keys(await imageOf(fs)).filter(name => name.startsWith('quarantine/')).length, 1)
})

t.test(
  'aborted transactions of a rewritten segment are found whose log a crash left under its temporary name',
  async t => {
    // The power went between the renaming of its indexes, which survived, and that of its log, which did not.
    const aborted = batch(0, { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true })
    const fs = await memoryFolder({
      [file(0, '.log.swap')]: Buffer.concat([aborted, marker('abort', 1, 7)]),
      [file(0, '.index')]: '',
      [file(0, '.timeindex')]: '',
      [file(0, '.txnindex')]: Buffer.alloc(34),
      [file(2)]: part(2, 4)
    })
    const log = await load({ fs, dir: DIR, recoveryPoint: 2, config: compacted })
    t.ok(log.report.rebuilt.includes('transaction-index 0'), log.report.rebuilt.join())
    t.match((await log.segments[0]?.collectAborted(0, 2))?.entries, [{ producerId: 7, firstOffset: 0, lastOffset: 1 }])
    await closeLoaded(log)
  }
)
