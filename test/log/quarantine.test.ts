import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { type CutRange, Quarantine } from '../../lib/log/quarantine.ts'
import { DIR, imageOf, memoryFolder, putFiles, readFile } from '../helpers/partition-folder.ts'

function cut(bytes: Buffer, from = 0, segment = 0): CutRange {
  return {
    segment,
    from,
    to: bytes.length,
    source: {
      read: async (target, position) =>
        bytes.copy(target, 0, position, Math.min(bytes.length, position + target.length))
    }
  }
}

function quarantine(fs: MemoryFileSystem, bounds: { maxBytes?: number; maxItems?: number } = {}): Quarantine {
  return new Quarantine({ fs, dir: DIR, permissions: { file: 0o600, folder: 0o700 }, ...bounds })
}

async function items(fs: MemoryFileSystem): Promise<string[]> {
  return Object.keys(await imageOf(fs)).map(name => name.replace('quarantine/', ''))
}

t.test('what is kept lies at the place it had, zeros as holes, and survives a power cut', async t => {
  const fs = await memoryFolder({})
  const bytes = Buffer.concat([Buffer.alloc(10, 1), Buffer.alloc(20_000), Buffer.alloc(5000, 2), Buffer.alloc(9000)])
  const outcome = await quarantine(fs).keep(cut(bytes, 4, 17))
  t.match(outcome.name, /^00000000000000000017-4-[0-9a-f]{8}\.tail$/)
  t.equal(outcome.bytesNotKept, 0)
  fs.powerCut()
  t.same(await readFile(fs, `${DIR}/quarantine/${outcome.name}`), bytes.subarray(4, 25_010))
})

t.test('the same cut is kept once, another one beside it', async t => {
  const fs = await memoryFolder({})
  const first = await quarantine(fs).keep(cut(Buffer.alloc(100, 1)))
  const again = await quarantine(fs).keep(cut(Buffer.alloc(100, 1)))
  t.equal(again.name, first.name)
  const other = await quarantine(fs).keep(cut(Buffer.alloc(100, 2)))
  t.not(other.name, first.name)
  t.equal((await items(fs)).length, 2)
})

t.test('the oldest tail cuts make room; what a repair has put there stays and does not count', async t => {
  let now = 1
  const fs = new MemoryFileSystem({ now: () => now++ })
  await putFiles(fs, {})
  await putFiles(fs, { 'segment.repair': Buffer.alloc(500, 9) }, `${DIR}/quarantine`)
  const bounded = quarantine(fs, { maxBytes: 250, maxItems: 3 })
  const names: (string | undefined)[] = []
  for (const byte of [1, 2, 3]) names.push((await bounded.keep(cut(Buffer.alloc(100, byte)))).name)
  t.same(await items(fs), [...names.slice(1), 'segment.repair'].sort())
  const small = quarantine(fs, { maxItems: 2 })
  const { removed, name } = await small.keep(cut(Buffer.alloc(10, 4)))
  t.same(removed, [names[1]])
  t.same(await items(fs), [names[2], name, 'segment.repair'].sort())
})

t.test('a cut larger than all of quarantine is not kept, and removes nothing', async t => {
  const fs = await memoryFolder({})
  const bounded = quarantine(fs, { maxBytes: 250 })
  const { name } = await bounded.keep(cut(Buffer.alloc(100, 1)))
  const outcome = await bounded.keep(cut(Buffer.alloc(251, 2)))
  t.match(outcome, { name: undefined, bytesNotKept: 251, why: 'too-large', removed: [] })
  t.same(await items(fs), [name])
})

t.test('without room on the volume nothing is left behind, and the caller is told', async t => {
  const fs = await memoryFolder({})
  fs.capacityBytes = 50
  t.match(await quarantine(fs).keep(cut(Buffer.alloc(100, 1))), { name: undefined, bytesNotKept: 100, why: 'no-space' })
  t.same(await items(fs), [])
})

t.test('another failure is the caller’s', async t => {
  const fs = await memoryFolder({})
  fs.onCall = call => {
    if (call.operation === 'sync') throw Object.assign(new Error('made to fail'), { code: 'EIO' })
  }
  await t.rejects(quarantine(fs).keep(cut(Buffer.alloc(100, 1))), { code: 'EIO' })
})
