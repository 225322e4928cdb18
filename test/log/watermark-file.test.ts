import fc from 'fast-check'
import { test } from 'tap'
import type { SectorOutcome } from '../../lib/fs/memory-file.ts'
import { type FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import {
  formatSlot,
  parseSlot,
  SLOT_BYTES,
  WATERMARK_FILE,
  type Watermark,
  WatermarkFile
} from '../../lib/log/watermark-file.ts'
import { crc32c } from '../../lib/util/crc32c.ts'

const DIR = '/data'
const PATH = `${DIR}/${WATERMARK_FILE}`

function mark(offset: number, fields: Partial<Watermark> = {}): Watermark {
  return {
    offset,
    segmentBaseOffset: 0,
    position: offset * 10,
    lastBatchCrc: offset,
    level: 'synced',
    syncFailed: false,
    ...fields
  }
}

async function folder(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory(DIR)
  await fs.syncDirectory('/')
  return fs
}

async function opened(fs: MemoryFileSystem): Promise<WatermarkFile> {
  const file = await WatermarkFile.open(fs, DIR, { create: true })
  if (file === undefined) throw new Error('not created')
  return file
}

async function poke(fs: MemoryFileSystem, position: number, bytes: Buffer): Promise<void> {
  const handle = await fs.open(PATH, 'write')
  await handle.write(bytes, position)
  await handle.close()
}

test('a slot has the bytes of the example in the head of the file', async t => {
  const watermark: Watermark = {
    offset: 300,
    segmentBaseOffset: 256,
    position: 4096,
    lastBatchCrc: 0xe641a44b,
    level: 'synced',
    syncFailed: false
  }
  const slot = formatSlot(7, watermark)
  t.equal(slot.length, SLOT_BYTES)
  t.equal(
    slot.subarray(0, 48).toString('hex'),
    '6877776d0a9623a300010200e641a44b0000000000000007' + '000000000000012c00000000000001000000000000001000'
  )
  t.ok(slot.subarray(48).every(byte => byte === 0))
  t.strictSame(parseSlot(slot), { kind: 'sound', sequence: 7, watermark })
})

test('a slot with any bit changed is torn, one of zeros is empty', async t => {
  const slot = formatSlot(1, mark(5, { syncFailed: true, level: 'accepted' }))
  t.match(parseSlot(slot), { kind: 'sound', watermark: { syncFailed: true, level: 'accepted' } })
  for (let bit = 0; bit < SLOT_BYTES * 8; bit += 3) {
    const flipped = Buffer.from(slot)
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    if (parseSlot(flipped).kind !== 'torn') t.fail(`bit ${bit}`)
  }
  t.strictSame(parseSlot(Buffer.alloc(SLOT_BYTES)), { kind: 'empty' })
})

test('numbers that no writer writes make a slot torn even under a right checksum', async t => {
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const slot = formatSlot(1, mark(5))
    change(slot)
    slot.writeUInt32BE(crc32c(slot, 8, SLOT_BYTES), 4)
    return slot
  }
  t.strictSame(parseSlot(changed(slot => slot.writeUInt8(3, 10))), { kind: 'torn' }, 'level')
  for (const at of [16, 24, 32, 40]) {
    t.strictSame(parseSlot(changed(slot => slot.writeBigInt64BE(-1n, at))), { kind: 'torn' }, `negative at ${at}`)
    t.strictSame(parseSlot(changed(slot => slot.writeBigInt64BE(1n << 60n, at))), { kind: 'torn' }, `huge at ${at}`)
  }
  t.strictSame(parseSlot(changed(slot => slot.writeBigInt64BE(6n, 32))), { kind: 'torn' }, 'outside its segment')
})

test('the file of a newer release is refused, a damaged version number is not taken for one', async t => {
  const newer = formatSlot(1, mark(5))
  newer.writeUInt16BE(2, 8)
  t.strictSame(parseSlot(newer), { kind: 'torn' })
  newer.writeUInt32BE(crc32c(newer, 8, SLOT_BYTES), 4)
  t.throws(() => parseSlot(newer), { code: 'UNSUPPORTED_VERSION', details: { version: 2, known: 1 } })
  const fs = await folder()
  await (await opened(fs)).close()
  await poke(fs, 0, newer)
  await t.rejects(WatermarkFile.open(fs, DIR), { code: 'UNSUPPORTED_VERSION' })
})

test('a watermark is read back by the next to open the file', async t => {
  const fs = await folder()
  t.equal(await WatermarkFile.open(fs, DIR), undefined, 'nothing is made unless asked for')
  t.equal(await WatermarkFile.open(fs, DIR, { create: true, readOnly: true }), undefined, 'nor by a reader')
  const file = await opened(fs)
  t.equal(file.read(), undefined)
  t.equal(file.damaged, false)
  for (const offset of [10, 20, 30]) {
    await file.write(mark(offset))
    t.strictSame(file.read(), mark(offset))
  }
  await file.close()
  await file.close()
  const again = await opened(fs)
  t.strictSame(again.read(), mark(30))
  await again.write(mark(40))
  await again.close()
  t.strictSame((await opened(fs)).read(), mark(40))
})

test('a new file is there after a power cut, and empty', async t => {
  const fs = await folder()
  await opened(fs)
  fs.powerCut()
  const file = await WatermarkFile.open(fs, DIR)
  t.equal(file?.read(), undefined)
  t.equal(file?.damaged, false)
})

test('a file cut short by a crash while it was made is empty', async t => {
  const fs = await folder()
  await (await fs.open(PATH, 'create')).close()
  t.equal((await WatermarkFile.open(fs, DIR))?.read(), undefined)
})

test('a torn slot gives way to the other one', async t => {
  const fs = await folder()
  const file = await opened(fs)
  await file.write(mark(10))
  await file.sync()
  await file.write(mark(20))
  await file.sync()
  const newest = parseSlot((await readFile(fs)).subarray(0, SLOT_BYTES)).kind === 'sound' ? 0 : 1
  t.equal(newest, 0, 'the slots take turns, beginning with the second')
  await poke(fs, 0, Buffer.from('nonsense'))
  const after = await opened(fs)
  t.strictSame(after.read(), mark(10))
  t.equal(after.damaged, true)
  await after.write(mark(30))
  t.equal(after.damaged, false, 'the torn one is written next')
  t.strictSame((await opened(fs)).read(), mark(30))
  await poke(fs, 0, Buffer.from('nonsense'))
  await poke(fs, SLOT_BYTES, Buffer.from('nonsense'))
  const lost = await opened(fs)
  t.equal(lost.read(), undefined)
  t.equal(lost.damaged, true)
})

async function readFile(fs: MemoryFileSystem): Promise<Buffer> {
  const handle = await fs.open(PATH, 'read')
  const bytes = Buffer.alloc(2 * SLOT_BYTES)
  await handle.read(bytes, 0)
  await handle.close()
  return bytes
}

test('between two syncs only one slot is written, so that the synced one survives whatever tears', async t => {
  const fs = await folder()
  const file = await opened(fs)
  await file.write(mark(10))
  await file.sync()
  for (const offset of [20, 30, 40]) await file.write(mark(offset))
  fs.powerCut({ sector: () => 'garble' })
  t.strictSame((await opened(fs)).read(), mark(10))
})

test('what an earlier process left unsynced is synced before it is the one to rely on', async t => {
  const fs = await folder()
  const first = await opened(fs)
  await first.write(mark(10))
  await first.sync()
  await first.write(mark(20))
  await first.close()
  // A killed process: 20 is in the page cache only. Writing 30 over 10 would leave no slot that is surely on the disk.
  const second = await opened(fs)
  await second.write(mark(30))
  fs.powerCut({ sector: () => 'garble' })
  t.strictSame((await opened(fs)).read(), mark(20))
})

test('lowering is durable when it returns, and no loss of one slot takes it back', async t => {
  const fs = await folder()
  const file = await opened(fs)
  await file.write(mark(10))
  await file.sync()
  await file.write(mark(20))
  await file.lowerTo(mark(5))
  t.strictSame(file.read(), mark(5))
  fs.powerCut()
  t.strictSame((await opened(fs)).read(), mark(5))
  for (const slot of [0, SLOT_BYTES]) {
    const bytes = await readFile(fs)
    await poke(fs, slot, Buffer.from('nonsense'))
    t.strictSame((await opened(fs)).read(), mark(5))
    await poke(fs, 0, bytes)
  }
})

test('a reader beside the writer sees the file as it is when it looks again', async t => {
  const fs = await folder()
  const writer = await opened(fs)
  const reader = await WatermarkFile.open(fs, DIR, { readOnly: true })
  t.equal(await reader?.reread(), undefined)
  await writer.write(mark(10))
  t.strictSame(await reader?.reread(), mark(10))
  t.strictSame(reader?.read(), mark(10))
  t.ok(reader)
  await t.rejects(reader?.write(mark(1)) ?? Promise.resolve(), { code: /EBADF|EACCES/ })
})

test('a slot caught half written is looked at again', async t => {
  const fs = await folder()
  const writer = await opened(fs)
  await writer.write(mark(10))
  await writer.write(mark(20))
  const bytes = await readFile(fs)
  const slot = bytes.subarray(SLOT_BYTES)
  await poke(fs, SLOT_BYTES, Buffer.from('half'))
  let reads = 0
  fs.onCall = async ({ operation, path }: FileSystemCall) => {
    if (operation !== 'read' || path !== PATH) return
    reads += 1
    if (reads !== 2) return
    fs.onCall = undefined
    await poke(fs, SLOT_BYTES, slot)
  }
  const reader = await WatermarkFile.open(fs, DIR, { readOnly: true })
  t.strictSame(reader?.read(), mark(20))
})

test('after a failed write or sync the slot that was synced before is the one that counts', async t => {
  for (const operation of ['write', 'datasync'] as const) {
    const fs = await folder()
    const file = await opened(fs)
    await file.write(mark(10))
    await file.sync()
    await file.write(mark(20))
    fs.onCall = call => {
      if (call.operation === operation) throw Object.assign(new Error('EIO'), { code: 'EIO' })
    }
    await t.rejects(operation === 'write' ? file.write(mark(30)) : file.sync(), { code: 'EIO' })
    fs.onCall = undefined
    t.strictSame(file.read(), mark(10), operation)
    await file.sync()
    await file.write(mark(40))
    await file.sync()
    fs.powerCut({ sector: () => 'garble' })
    t.strictSame((await opened(fs)).read(), mark(40), operation)
  }
})

test('if what an earlier process left cannot be synced, neither slot is touched', async t => {
  const fs = await folder()
  await (await opened(fs)).write(mark(10))
  const file = await opened(fs)
  fs.onCall = call => {
    if (call.operation === 'datasync') throw Object.assign(new Error('EIO'), { code: 'EIO' })
  }
  await t.rejects(file.write(mark(20)), { code: 'EIO' })
  fs.onCall = undefined
  await t.rejects(file.write(mark(20)), { code: 'EIO' }, 'a second sync would prove nothing')
  t.strictSame(file.read(), mark(10))
})

test('a file that could not be made is closed and reported', async t => {
  const fs = await folder()
  fs.onCall = call => {
    if (call.operation === 'sync') throw Object.assign(new Error('EIO'), { code: 'EIO' })
  }
  await t.rejects(WatermarkFile.open(fs, DIR, { create: true }), { code: 'EIO' })
  fs.onCall = call => {
    if (call.operation === 'open') throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
  }
  await t.rejects(WatermarkFile.open(fs, DIR, { create: true }), { code: 'EACCES' })
})

test('whatever a power cut does, what is read was synced last or written since', async t => {
  type Step = { kind: 'write' | 'lower'; offset: number } | { kind: 'sync' | 'kill' }
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), offset: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('lower' as const), offset: fc.nat(1000) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('sync' as const, 'kill' as const) }) }
  )
  const outcomes = fc.infiniteStream(fc.constantFrom<SectorOutcome>('drop', 'keep', 'zero', 'garble'))
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), outcomes, async (steps, sectors) => {
      const fs = await folder()
      let file = await opened(fs)
      let allowed: (Watermark | undefined)[] = [undefined]
      for (const now of steps) {
        if (now.kind === 'write') {
          await file.write(mark(now.offset))
          allowed.push(mark(now.offset))
        } else if (now.kind === 'lower') {
          await file.lowerTo(mark(now.offset))
          allowed = [mark(now.offset)]
        } else if (now.kind === 'sync') {
          await file.sync()
          allowed = allowed.slice(-1)
        } else {
          file = await opened(fs)
        }
      }
      fs.powerCut({ sector: () => sectors.next().value })
      const found = JSON.stringify((await opened(fs)).read())
      if (!allowed.some(one => JSON.stringify(one) === found)) {
        throw new Error(`${found} is none of ${JSON.stringify(allowed)}`)
      }
    }),
    { numRuns: 300 }
  )
  t.pass()
})
