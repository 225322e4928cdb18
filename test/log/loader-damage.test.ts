import t, { type Test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LoadedLog, LoadOptions } from '../../lib/log/loader-types.ts'
import { logConfig } from '../../lib/log/log-config.ts'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { crc32c } from '../../lib/util/crc32c.ts'
import { isLogError, type LogError } from '../../lib/util/errors.ts'
import { closeLoaded, eachBatch, load } from '../helpers/loading.ts'
import {
  batch,
  batches,
  DIR,
  file,
  imageOf,
  markBehind,
  memoryFolder,
  putFiles,
  putWatermark,
  readFile,
  readWatermark
} from '../helpers/partition-folder.ts'

// Every bit of a log, one recovery each.
t.setTimeout(180_000)

const written = batches(0, 6, { valueBytes: 12 })
const bytes = Buffer.concat(written)
const EPOCHS = { 'leader-epoch-checkpoint': '0\n1\n0 0\n' }

function positionOf(index: number): number {
  return written.slice(0, index).reduce((sum, one) => sum + one.length, 0)
}

async function opened(
  files: Record<string, Buffer | string>,
  { syncedBatches, ...options }: { syncedBatches?: number } & Partial<LoadOptions> = {}
): Promise<{ fs: MemoryFileSystem; log: LoadedLog | undefined; error: LogError | undefined }> {
  const fs = await memoryFolder({ ...EPOCHS, ...files })
  if (syncedBatches !== undefined) await putWatermark(fs, markBehind(0, written.slice(0, syncedBatches)))
  try {
    const log = await load({ fs, dir: DIR, ...options })
    await closeLoaded(log, false)
    return { fs, log, error: undefined }
  } catch (error) {
    if (!isLogError(error)) throw error
    return { fs, log: undefined, error }
  }
}

function flipped(source: Buffer, at: number, bit: number): Buffer {
  const copy = Buffer.from(source)
  copy[at] = (copy[at] as number) ^ (1 << bit)
  return copy
}

t.test('whatever bit flips below the watermark, the log is refused; above it the log ends there', async t => {
  const synced = 4
  const mark = positionOf(synced)
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const { log, error, fs } = await opened({ [file(0)]: flipped(bytes, at, bit) }, { syncedBatches: synced })
      const what = `byte ${at}, bit ${bit}`
      if (at < mark) {
        if (error?.code !== 'CORRUPT_LOG') return t.fail(`${what}: ${error?.code ?? log?.logEndOffset}`)
        const before = flipped(bytes, at, bit)
        if (!(await readFile(fs, `${DIR}/${file(0)}`)).equals(before)) return t.fail(`${what}: bytes were changed`)
        continue
      }
      const index = written.findIndex((_, i) => positionOf(i + 1) > at)
      // A base offset that grew looks like a gap at the very end of the log: nothing contradicts it.
      const undetectable =
        index === written.length - 1 && at < positionOf(index) + 8 && log?.report.notes[0]?.code === 'GAP'
      const isCut = log?.logEndOffset === index && log.report.truncatedFrom?.position === positionOf(index)
      // A base offset that grew is noticed at the batch behind it, which does not follow it.
      const isGap = at < positionOf(index) + 8 && log?.report.truncatedFrom?.position === positionOf(index + 1)
      if (!isCut && !undetectable && !isGap) return t.fail(`${what}: ${error?.message ?? log?.logEndOffset}`)
    }
  }
  return t.pass()
})

t.test('without a watermark a damaged batch with sound ones behind it is corruption, the last one a tail', async t => {
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const { log, error } = await opened({ [file(0)]: flipped(bytes, at, bit) })
      const index = written.findIndex((_, i) => positionOf(i + 1) > at)
      const what = `batch ${index}, its byte ${at - positionOf(index)}, bit ${bit}`
      const isLast = index === written.length - 1
      const inBase = at < positionOf(index) + 8
      const inLength = at >= positionOf(index) + 8 && at < positionOf(index) + 12
      if (error !== undefined) {
        if (error.code !== 'CORRUPT_LOG') return t.fail(`${what}: ${error.message}`)
        if (isLast && !inBase && at - positionOf(index) >= 16) return t.fail(`${what}: ${error.message}`)
        continue
      }
      const isGap = inBase && log?.report.notes.some(note => note.code === 'GAP') === true
      // A length that grew to just where another batch ends, or close to the end of the file, hides what follows.
      const isHidden = inLength && log?.report.truncatedFrom?.position === positionOf(index)
      if (!isLast && !isGap && !isHidden) return t.fail(`${what}: served up to ${log?.logEndOffset}`)
    }
  }
  return t.pass()
})

t.test('cut short at any byte, a log below its watermark is refused, and one above it is what is whole', async t => {
  for (let length = 0; length <= bytes.length; length += 1) {
    const whole = written.filter((_, i) => positionOf(i + 1) <= length).length
    const marked = await opened({ [file(0)]: bytes.subarray(0, length) }, { syncedBatches: 3 })
    if (whole < 3) t.equal(marked.error?.code, 'CORRUPT_LOG')
    else t.equal(marked.log?.logEndOffset, whole)
    const unmarked = await opened({ [file(0)]: bytes.subarray(0, length) })
    t.equal(unmarked.log?.logEndOffset, whole)
    const torn = length - positionOf(whole)
    t.equal(unmarked.log?.report.truncatedBytes, torn)
    // The first bytes of a batch are zeros, which are not worth a copy.
    const isContent = bytes.subarray(length - torn, length).some(byte => byte !== 0)
    t.equal(unmarked.log?.report.quarantined !== undefined, isContent)
  }
})

t.test('the error tells segment, byte and offsets, and where sound records begin again', async t => {
  const damaged = flipped(bytes, positionOf(2) + 70, 3)
  for (const syncedBatches of [undefined, 6]) {
    const { error } = await opened({ [file(0)]: damaged }, syncedBatches === undefined ? {} : { syncedBatches })
    t.match(error, {
      code: 'CORRUPT_LOG',
      details: { segment: 0, position: positionOf(2), fromOffset: 2, toOffset: 3 }
    })
  }
})

t.test('under a clean-shutdown marker nothing is a tail', async t => {
  for (const end of [bytes.subarray(0, bytes.length - 5), Buffer.concat([bytes, Buffer.alloc(100)])]) {
    const { error } = await opened({ [file(0)]: end }, { clean: true })
    t.equal(error?.code, 'CORRUPT_LOG')
  }
})

t.test('a file that was swapped for a shorter one after a clean close is found by the watermark', async t => {
  const { error } = await opened({ [file(0)]: bytes.subarray(0, positionOf(4)) }, { clean: true, syncedBatches: 6 })
  t.match(error, { code: 'CORRUPT_LOG', details: { fromOffset: 4, toOffset: 6 } })
})

t.test('what is cut off lies in quarantine, byte for byte, without its zeros', async t => {
  const tail = Buffer.concat([written[5]?.subarray(0, 50) as Buffer, Buffer.alloc(9000)])
  const { log, fs } = await opened(
    { [file(0)]: Buffer.concat([bytes.subarray(0, positionOf(5)), tail]) },
    { syncedBatches: 5 }
  )
  t.equal(log?.report.truncatedBytes, tail.length)
  t.equal(log?.report.zeroBytesDropped, tail.length - (tail.findLastIndex(byte => byte !== 0) + 1))
  const kept = await readFile(fs, `${DIR}/quarantine/${log?.report.quarantined}`)
  const lengthWithoutZeros = tail.findLastIndex(byte => byte !== 0) + 1
  t.same(kept, tail.subarray(0, lengthWithoutZeros))
})

t.test('a tail of zeros alone is noted, not copied', async t => {
  const { log, fs } = await opened({ [file(0)]: Buffer.concat([bytes, Buffer.alloc(5000)]) })
  t.equal(log?.report.zeroBytesDropped, 5000)
  t.equal(log?.report.quarantined, undefined)
  t.notOk(Object.keys(await imageOf(fs)).some(name => name.startsWith('quarantine')))
})

t.test('on a full volume a tail is cut all the same, and the report says that there is no copy', async t => {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, bytes.length - 1) })
  await putWatermark(fs, markBehind(0, written.slice(0, 5)))
  fs.onCall = call => {
    if (call.operation === 'write' && call.path.includes('quarantine'))
      throw Object.assign(new Error('full'), { code: 'ENOSPC' })
  }
  const log = await load({ fs, dir: DIR })
  t.equal(log.logEndOffset, 5)
  t.match(log.report.notes, [{ code: 'NOT_QUARANTINED', details: { segment: 0, from: positionOf(5) } }])
  await closeLoaded(log)
})

t.test('later segments behind a torn one go, into quarantine', async t => {
  const files = { [file(0)]: bytes.subarray(0, positionOf(5) + 30), [file(6)]: batch(6), [file(7)]: batch(7) }
  const { log, fs } = await opened(files, { syncedBatches: 5 })
  t.equal(log?.logEndOffset, 5)
  t.equal(log?.segments.length, 1)
  const kept = Object.keys(await imageOf(fs)).filter(name => name.startsWith('quarantine'))
  t.equal(kept.length, 3)
  t.ok(log?.report.deletedFiles.includes(file(7)))
})

t.test('without a watermark, sound batches in a later segment make a torn one corruption', async t => {
  const { error } = await opened({ [file(0)]: bytes.subarray(0, positionOf(5) + 30), [file(6)]: batch(6) })
  t.match(error, { code: 'CORRUPT_LOG', details: { segment: 0, fromOffset: 5, toOffset: 6 } })
})

t.test('what a power cut took between two segments ends the log; below the watermark it is a gap', async t => {
  const files = { [file(0)]: bytes.subarray(0, positionOf(5)), [file(6)]: batch(6) }
  const cut = await opened(files, { syncedBatches: 5 })
  t.equal(cut.log?.logEndOffset, 5)
  const fs = await memoryFolder({ ...EPOCHS, ...files })
  await putWatermark(fs, markBehind(6, [batch(6)]))
  const log = await load({ fs, dir: DIR })
  t.equal(log.logEndOffset, 7)
  t.match(log.report.notes, [{ code: 'GAP', details: { fromOffset: 5, toOffset: 6 } }])
  await closeLoaded(log)
})

t.test('a batch whose epoch is not the recorded one is damaged', async t => {
  const other = batch(5, { leaderEpoch: 3, valueBytes: 12 })
  const changed = Buffer.concat([bytes.subarray(0, positionOf(5)), other])
  t.equal((await opened({ [file(0)]: changed })).error?.code, 'CORRUPT_LOG')
  t.equal((await opened({ [file(0)]: changed }, { syncedBatches: 5 })).log?.logEndOffset, 5)
  const recorded = { [file(0)]: changed, 'leader-epoch-checkpoint': '0\n2\n0 0\n3 5\n' }
  t.equal((await opened(recorded)).log?.logEndOffset, 6)
})

t.test('a damaged epoch checkpoint is made anew from the batches', async t => {
  const { log } = await opened({ [file(0)]: bytes, 'leader-epoch-checkpoint': '0\n7\n' })
  t.same(log?.epochs.entries, [{ epoch: 0, startOffset: 0 }])
  t.equal(log?.report.notes[0]?.code, 'CORRUPT_FILE')
})

t.test('a batch inside a record is not taken for one behind the damage', async t => {
  // A mirror that stores Kafka's batches as values: its last batch is torn, and holds two sound ones.
  const inner = Buffer.concat([batch(900), batch(901)])
  const outer = batch(6, { valueBytes: 0 })
  const carrier = Buffer.concat([outer, inner, Buffer.from('tail')])
  carrier.writeInt32BE(carrier.length - 12, 8)
  updateCrc(carrier, 0)
  carrier[30] = (carrier[30] as number) ^ 1
  const { log, error } = await opened({ [file(0)]: Buffer.concat([bytes, carrier]) })
  t.equal(error, undefined)
  t.equal(log?.logEndOffset, 6)
})

t.test('read-prefix opens a damaged log up to the damage and changes nothing', async t => {
  const damaged = flipped(bytes, positionOf(3) + 80, 0)
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: damaged, [file(6)]: batch(6) })
  await putWatermark(fs, markBehind(0, written))
  const before = await imageOf(fs)
  const log = await load({ fs, dir: DIR, onCorruption: 'read-prefix' })
  t.equal(log.corrupt?.code, 'CORRUPT_LOG')
  t.equal(log.readableUpTo, 3)
  t.ok(log.logEndOffset > 3)
  let last = -1
  await eachBatch(log, batch => {
    last = batch.lastOffset
  })
  t.equal(last, 2)
  await closeLoaded(log)
  t.same(await imageOf(fs), before)
})

t.test('after a failed sync only what the device has is accepted', async t => {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, positionOf(3)) })
  await putWatermark(fs, markBehind(0, written.slice(0, 3), { syncFailed: true }))
  const handle = await fs.open(`${DIR}/${file(0)}`, 'write')
  await handle.write(bytes.subarray(positionOf(3)), positionOf(3))
  fs.onCall = call => {
    if (call.operation === 'datasync') throw Object.assign(new Error('made to fail'), { code: 'EIO' })
  }
  await t.rejects(handle.datasync())
  fs.onCall = undefined
  await handle.close()
  const log = await load({ fs, dir: DIR })
  t.ok(log.logEndOffset < 6, 'the page cache shows all six')
  t.ok(log.report.notes.some(note => note.code === 'SYNC_HAD_FAILED'))
  t.match(await readWatermark(fs), { offset: log.logEndOffset, syncFailed: false })
  await closeLoaded(log)
})

t.test('where the device cannot be asked, nothing above the watermark is accepted after a failed sync', async t => {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes })
  await putWatermark(fs, markBehind(0, written.slice(0, 3), { syncFailed: true }))
  fs.readPastCache = async () => undefined
  const log = await load({ fs, dir: DIR })
  t.equal(log.logEndOffset, 3)
  t.not(log.report.quarantined, undefined)
  await closeLoaded(log)
})

t.test('recovery syncs what it accepts before the watermark says so', async t => {
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, positionOf(3)) })
  await putWatermark(fs, markBehind(0, written.slice(0, 3)))
  const handle = await fs.open(`${DIR}/${file(0)}`, 'write')
  await handle.write(bytes.subarray(positionOf(3)), positionOf(3))
  await handle.close()
  await closeLoaded(await load({ fs, dir: DIR }), false)
  fs.powerCut()
  const log = await load({ fs, dir: DIR })
  t.equal(log.logEndOffset, 6)
  await closeLoaded(log)
})

t.test('when the sync of a recovery fails, the next one believes the device, not the page cache', async t => {
  for (const isMarked of [true, false]) {
    const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes.subarray(0, positionOf(3)) })
    if (isMarked) await putWatermark(fs, markBehind(0, written.slice(0, 3)))
    const handle = await fs.open(`${DIR}/${file(0)}`, 'write')
    await handle.write(bytes.subarray(positionOf(3)), positionOf(3))
    await handle.close()
    let failures = 0
    fs.onCall = call => {
      if (call.operation !== 'datasync' || !call.path.endsWith('.log') || failures++ > 0) return
      throw Object.assign(new Error('made to fail'), { code: 'EIO' })
    }
    await t.rejects(load({ fs, dir: DIR }), { code: 'SYNC_FAILED' })
    t.match(await readWatermark(fs), { syncFailed: true })
    const log = await load({ fs, dir: DIR })
    t.ok(log.logEndOffset < 6 && (!isMarked || log.logEndOffset >= 3), `log end offset ${log.logEndOffset}`)
    const { logEndOffset } = log
    await closeLoaded(log, false)
    fs.powerCut()
    const again = await load({ fs, dir: DIR })
    t.equal(again.logEndOffset, logEndOffset)
    await closeLoaded(again)
  }
})

t.test('symbolic links in the folder are refused', async t => {
  const fs = await memoryFolder({ [file(0)]: bytes })
  fs.makeSymlink('/etc/passwd', `${DIR}/${file(6)}`)
  await t.rejects(load({ fs, dir: DIR }), { code: 'UNSAFE_PATH' })
  await t.rejects(load({ fs, dir: DIR, readOnly: true }), { code: 'UNSAFE_PATH' })
})

t.test('files that are none of a log’s are left alone and noted', async t => {
  const { log, fs } = await opened({ [file(0)]: bytes, 'notes.txt': 'mine', 'heartwood-future': 'ours' })
  t.match(log?.report.notes, [{ code: 'UNKNOWN_FILE', details: { name: 'notes.txt' } }])
  t.ok('notes.txt' in (await imageOf(fs)))
})

t.test('indexes without a log go, and missing ones are made anew', async t => {
  const config = logConfig({ indexIntervalBytes: 0 })
  const { log, fs } = await opened({ [file(0)]: bytes, [file(9, '.index')]: 'x' }, { clean: true, config })
  t.same(log?.report.rebuilt, ['offset-index 0', 'time-index 0'])
  t.same(log?.report.deletedFiles, [file(9, '.index')])
  t.equal((await readFile(fs, `${DIR}/${file(0, '.index')}`)).length, 8 * 5)
})

t.test('a missing folder is made when asked for, with the marks of a log that is empty', async t => {
  const fs = new MemoryFileSystem()
  await putFiles(fs, {}, '/data')
  await t.rejects(load({ fs, dir: DIR, createIfMissing: false }), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  const log = await load({ fs, dir: DIR, logStartOffset: 30 })
  t.same([log.logStartOffset, log.logEndOffset, log.segments.length], [30, 30, 1])
  await closeLoaded(log)
  t.match(await readWatermark(fs), { offset: 30, segmentBaseOffset: 30, position: 0 })
})

t.test('an empty folder opened read-only has no segments and stays empty', async t => {
  const fs = await memoryFolder({})
  const log = await load({ fs, dir: DIR, readOnly: true })
  t.same([log.segments.length, log.logEndOffset], [0, 0])
  await closeLoaded(log)
  t.same(await imageOf(fs), {})
})

t.test('segments that vanished altogether are missed by the watermark', async t => {
  const fs = await memoryFolder({})
  await putWatermark(fs, markBehind(0, written))
  await t.rejects(load({ fs, dir: DIR }), { code: 'CORRUPT_LOG', details: { fromOffset: 0, toOffset: 6 } })
})

t.test('a reader beside a writer lists again when a file vanishes under it', async t => {
  const fs = await memoryFolder({
    ...EPOCHS,
    [file(0)]: bytes.subarray(0, positionOf(3)),
    [file(3)]: bytes.subarray(positionOf(3))
  })
  let listed = 0
  fs.onCall = async call => {
    // Between the listing and the look at the first segment, retention takes it away.
    if (call.operation === 'open' && call.path.endsWith(file(0)) && listed++ === 0) {
      fs.onCall = undefined
      await fs.unlink(`${DIR}/${file(0)}`)
    }
  }
  const log = await load({ fs, dir: DIR, readOnly: true })
  t.same([log.logStartOffset, log.logEndOffset], [3, 6])
  await closeLoaded(log)
})

t.test('a flipped bit in the last index entry costs a scan, never data', async t => {
  const config = logConfig({ indexIntervalBytes: 0 })
  const fs = await memoryFolder({ ...EPOCHS, [file(0)]: bytes })
  await closeLoaded(await load({ fs, dir: DIR, config }))
  const index = await readFile(fs, `${DIR}/${file(0, '.index')}`)
  t.equal(index.length, 40)
  for (let at = 32; at < 40; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      await putFiles(fs, { [file(0, '.index')]: flipped(index, at, bit) })
      const log = await load({ fs, dir: DIR, clean: true, config })
      t.equal(log.logEndOffset, 6)
      await closeLoaded(log)
      t.same(await readFile(fs, `${DIR}/${file(0, '.index')}`), index)
    }
  }
})

t.test('the checksum of what was synced last is part of the watermark', async t => {
  // The same offsets and lengths, but not the batch that was synced: somebody put another file here.
  const other = Buffer.from(bytes)
  const at = positionOf(5)
  other[at + 75] = (other[at + 75] as number) ^ 0xff
  other.writeUInt32BE(crc32c(other, at + 21, other.length), at + 17)
  const { error } = await opened({ [file(0)]: other }, { syncedBatches: 6 })
  t.equal(error?.code, 'CORRUPT_LOG')
  sameLog(t, (await opened({ [file(0)]: other }, { syncedBatches: 6, foreign: true })).log)
})

function sameLog(t: Test, log: LoadedLog | undefined): void {
  t.equal(log?.logEndOffset, 6, 'what another engine wrote is the log')
  t.ok(log?.report.notes.some(note => note.code === 'ANOTHER_ENGINE_WROTE'))
}

t.test('what a crash left of segments below the log start is not taken for the end of the log', async t => {
  // Retention had made the start durable and was taking segments out of use when the power went: of their names some
  // were gone and some not. The gap between those used to end the log, and what had been acknowledged behind it went.
  const files = {
    ...EPOCHS,
    [file(0)]: Buffer.concat(batches(0, 3)),
    [file(6)]: Buffer.concat(batches(6, 2)),
    [file(12)]: Buffer.concat(batches(12, 2)),
    [file(20)]: Buffer.concat(batches(20, 3))
  }
  for (const recoveryPoint of [0, 7, 19, 21]) {
    const fs = await memoryFolder(files)
    await putWatermark(fs, markBehind(20, batches(20, 1)))
    const log = await load({ fs, dir: DIR, recoveryPoint, logStartOffset: 21 })
    t.equal(log.logEndOffset, 23, `recovery point ${recoveryPoint}`)
    t.equal(log.logStartOffset, 21)
    await closeLoaded(log, false)
  }
})
