import fc from 'fast-check'
import t from 'tap'
import { fileSystemConformance } from '../../lib/fs/conformance.ts'
import type { FileHandle } from '../../lib/fs/file-system.ts'
import { type FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { readWholeFile } from '../../lib/fs/replace-file.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'

fileSystemConformance(
  (name, body) => void t.test(`memory: ${name}`, body),
  async () => {
    const fs = new MemoryFileSystem()
    await fs.makeDirectory('/data')
    await fs.syncDirectory('/')
    const once = (operations: readonly string[], verdict: () => unknown) => {
      fs.onCall = ({ operation }: FileSystemCall) => {
        if (!operations.includes(operation)) return undefined
        fs.onCall = undefined
        return verdict()
      }
    }
    return {
      fs,
      root: '/data',
      forgets: true,
      powerCut: async () => fs.powerCut(),
      failNextSync: () =>
        once(['datasync', 'sync'], () => {
          throw Object.assign(new Error('EIO'), { code: 'EIO' })
        }),
      shortenNextWrite: bytes => once(['write'], () => bytes),
      makeSymlink: async (target, path) => fs.makeSymlink(target, path)
    }
  }
)

t.test('a full volume takes what fits, then fails with ENOSPC, and has room again after an unlink', async t => {
  const fs = new MemoryFileSystem({ capacityBytes: 1000 })
  const first = await fs.open('/a', 'create')
  t.equal(await first.write(Buffer.alloc(800), 0), 800)
  const second = await fs.open('/b', 'create')
  t.equal(await second.write(Buffer.alloc(800), 0), 200)
  await t.rejects(second.write(Buffer.alloc(600), 200), { code: 'ENOSPC' })
  await t.rejects(writeFully(second, Buffer.alloc(600), 200), { code: 'ENOSPC' })
  t.equal(await second.write(Buffer.alloc(200, 1), 0), 200, 'what is there can be overwritten')
  t.equal((await fs.volume('/')).freeBytes, 0)
  await fs.unlink('/a')
  t.equal((await fs.volume('/')).freeBytes, 0, 'an open file keeps its room')
  await first.close()
  t.equal((await fs.volume('/')).freeBytes, 800)
  await second.truncate(100)
  t.equal((await fs.volume('/')).freeBytes, 900)
})

t.test('a handle from before the power cut is dead', async t => {
  const fs = new MemoryFileSystem()
  const handle = await fs.open('/a', 'create')
  fs.powerCut()
  await t.rejects(handle.write(Buffer.from('x'), 0), { code: 'EBADF' })
  await t.rejects(handle.datasync(), { code: 'EBADF' })
  await handle.close()
})

t.test('a power cut while a write waits in the hook leaves nothing of it', async t => {
  const fs = new MemoryFileSystem()
  const handle = await fs.open('/a', 'create')
  await fs.syncDirectory('/')
  let go: () => void = () => undefined
  fs.onCall = () =>
    new Promise<void>(resolve => {
      go = resolve
    })
  const write = handle.write(Buffer.from('late'), 0)
  fs.powerCut()
  fs.onCall = undefined
  go()
  await t.rejects(write, { code: 'EBADF' })
  t.equal((await fs.stat('/a'))?.size, 0)
})

t.test('unsynced sectors come back as the crash wants them: kept, dropped, zero or garbled', async t => {
  for (const [outcome, expected] of [
    ['keep', 2],
    ['drop', 1],
    ['zero', 0]
  ] as const) {
    const { fs, handle } = await fileOf(Buffer.alloc(2048, 1))
    await writeFully(handle, Buffer.alloc(512, 2), 512)
    fs.powerCut({ sector: () => outcome })
    const content = (await readWholeFile(fs, '/a', 4096))!
    t.ok(
      content.subarray(512, 1024).every(byte => byte === expected),
      outcome
    )
    t.ok(
      content.subarray(0, 512).every(byte => byte === 1),
      'its neighbour is as it was'
    )
  }
  const { fs, handle } = await fileOf(Buffer.alloc(2048, 1))
  await writeFully(handle, Buffer.alloc(512, 2), 512)
  fs.powerCut({ sector: () => 'garble' })
  const content = (await readWholeFile(fs, '/a', 4096))!
  t.notOk(content.subarray(512, 1024).equals(Buffer.alloc(512, 1)))
  t.notOk(content.subarray(512, 1024).equals(Buffer.alloc(512, 2)))
})

t.test('a longer file whose content was lost ends in zeros, as on ext4', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(5000, 1))
  await writeFully(handle, Buffer.alloc(5000, 2), 5000)
  fs.powerCut({
    length: ({ durable, present }) => {
      t.same([durable, present], [5000, 10_000])
      return 8192
    }
  })
  const content = (await readWholeFile(fs, '/a', 10_000))!
  t.same(content, Buffer.concat([Buffer.alloc(5000, 1), Buffer.alloc(3192, 0)]))
})

t.test('a file comes back with any length that it had since its last sync, as on ext4', async t => {
  // A journal written while it was empty: found by fs-comparison.lane.ts.
  const { fs, handle } = await fileOf(Buffer.alloc(5000, 1))
  await handle.truncate(100)
  await writeFully(handle, Buffer.alloc(300, 2), 100)
  fs.powerCut({
    sector: () => 'keep',
    length: lengths => {
      t.same(lengths, { path: '/a', durable: 5000, present: 400, least: 100, most: 5000 })
      return 100
    }
  })
  t.same(await readWholeFile(fs, '/a', 10_000), Buffer.alloc(100, 1))
})

t.test('what became durable is not undone by an older change of the same name that does so later', async t => {
  // The name led to a file that was replaced, though both folders had been synced: found by fs-comparison.lane.ts.
  const fs = new MemoryFileSystem()
  for (const folder of ['/from', '/to']) await fs.makeDirectory(folder)
  await fs.syncDirectory('/')
  for (const [path, text] of [
    ['/to/f', 'old'],
    ['/from/f', 'new']
  ] as const) {
    const handle = await fs.open(path, 'create')
    await handle.write(Buffer.from(text), 0)
    await handle.sync()
    await handle.close()
  }
  await fs.rename('/from/f', '/to/f')
  await fs.syncDirectory('/from')
  t.same(fs.pendingChanges, [], 'the older one has nothing left to say')
  await fs.syncDirectory('/to')
  fs.powerCut()
  t.same(await readWholeFile(fs, '/to/f', 10), Buffer.from('new'))
})

t.test('a rename survives as a whole or not at all', async t => {
  for (const keep of [true, false]) {
    const { fs } = await fileOf(Buffer.from('content'))
    await fs.rename('/a', '/b')
    t.same(
      fs.pendingChanges.map(change => change.what),
      ['rename /a /b']
    )
    fs.powerCut({ name: () => keep })
    t.same(
      (await fs.readDirectory('/')).map(entry => entry.name),
      [keep ? 'b' : 'a']
    )
  }
})

t.test(
  'whatever is written, cut and synced, a power cut that drops everything goes back to the last sync',
  async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), at: fc.nat(3000), length: fc.nat(1500), byte: fc.nat(255) }),
      fc.record({ kind: fc.constant('truncate' as const), at: fc.nat(3000) }),
      fc.record({ kind: fc.constant('sync' as const) }),
      fc.record({ kind: fc.constant('cut' as const) })
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
        let { fs, handle } = await fileOf(Buffer.alloc(0))
        let present = Buffer.alloc(0)
        let durable = present
        for (const each of steps) {
          if (each.kind === 'write') {
            const grown = Buffer.alloc(Math.max(present.length, each.length === 0 ? 0 : each.at + each.length))
            present.copy(grown)
            if (each.length > 0) grown.fill(each.byte, each.at, each.at + each.length)
            present = grown
            await writeFully(handle, Buffer.alloc(each.length, each.byte), each.at)
          } else if (each.kind === 'truncate') {
            const cut = Buffer.alloc(each.at)
            present.copy(cut)
            present = cut
            await handle.truncate(each.at)
          } else if (each.kind === 'sync') {
            await handle.datasync()
            durable = present
          } else {
            fs.powerCut()
            present = durable
            handle = await fs.open('/a', 'write')
          }
          const found = (await readWholeFile(fs, '/a', 10_000))!
          if (!found.equals(present)) throw new Error('content differs from the model')
        }
      }),
      { numRuns: 300 }
    )
  }
)

async function fileOf(bytes: Buffer): Promise<{ fs: MemoryFileSystem; handle: FileHandle }> {
  const fs = new MemoryFileSystem()
  const handle = await fs.open('/a', 'create')
  await writeFully(handle, bytes, 0)
  await handle.datasync()
  await fs.syncDirectory('/')
  return { fs, handle }
}

t.test('a clone is in the same state, what is not durable included, and goes its own way', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(1024, 1))
  await writeFully(handle, Buffer.alloc(512, 2), 512)
  await fs.link('/a', '/b')
  await fs.makeDirectory('/folder')
  const twin = fs.clone()
  await writeFully(handle, Buffer.alloc(512, 3), 0)
  await fs.unlink('/b')
  t.same((await readWholeFile(twin, '/b', 4096))?.subarray(0, 1), Buffer.alloc(1, 1))
  t.equal(twin.pendingChanges.length, 2)
  const kept = twin.clone()
  kept.powerCut({ sector: () => 'keep', name: ({ what }) => what.startsWith('link') })
  t.same(await readWholeFile(kept, '/a', 4096), Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(512, 2)]))
  t.same((await kept.stat('/a'))?.inode, (await kept.stat('/b'))?.inode, 'one file of two names')
  t.equal(await kept.stat('/folder'), undefined)
  twin.powerCut()
  t.same(await readWholeFile(twin, '/a', 4096), Buffer.alloc(1024, 1))
  t.equal(await twin.stat('/b'), undefined)
  t.same((await readWholeFile(fs, '/a', 4096))?.subarray(0, 512), Buffer.alloc(512, 3), 'the original is untouched')
})

t.test('a sector that was written twice may have come to the device after the first time', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(512, 1))
  await writeFully(handle, Buffer.alloc(100, 2), 0)
  await writeFully(handle, Buffer.alloc(100, 3), 100)
  fs.powerCut({ sector: () => 'older' })
  const wanted = Buffer.concat([Buffer.alloc(100, 2), Buffer.alloc(412, 1)])
  t.same(await readWholeFile(fs, '/a', 4096), wanted)
})

/** @returns what ends each `datasync` that begins from now on. */
function holdSyncs(fs: MemoryFileSystem): (() => void)[] {
  const waiting: (() => void)[] = []
  fs.onCall = ({ operation }) =>
    operation === 'datasync' ? new Promise<void>(resolve => waiting.push(resolve)) : undefined
  return waiting
}

t.test('a sync covers what was there when it began, and nothing that was written meanwhile', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(512, 1))
  await writeFully(handle, Buffer.alloc(100, 2), 0)
  const waiting = holdSyncs(fs)
  const first = handle.datasync()
  await writeFully(handle, Buffer.alloc(100, 3), 100)
  await writeFully(handle, Buffer.alloc(600, 4), 512)
  const early = fs.clone()
  waiting.shift()?.()
  await first
  early.powerCut()
  fs.powerCut()
  t.same(await readWholeFile(early, '/a', 4096), Buffer.alloc(512, 1), 'nothing before it ends')
  const wanted = Buffer.concat([Buffer.alloc(100, 2), Buffer.alloc(412, 1)])
  t.same(await readWholeFile(fs, '/a', 4096), wanted)
})

t.test('of two syncs that run at once, the one that began first takes nothing back of the other', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(512, 1))
  await writeFully(handle, Buffer.alloc(100, 2), 0)
  const waiting = holdSyncs(fs)
  const first = handle.datasync()
  await writeFully(handle, Buffer.alloc(600, 3), 100)
  const second = handle.datasync()
  await writeFully(handle, Buffer.alloc(100, 4), 200)
  waiting.pop()?.()
  await second
  waiting.pop()?.()
  await first
  fs.powerCut()
  t.same(await readWholeFile(fs, '/a', 4096), Buffer.concat([Buffer.alloc(100, 2), Buffer.alloc(600, 3)]))
})

t.test('a device of 4 KiB sectors writes each of them whole, and only new ones may hold anything', async t => {
  const { fs, handle } = await fileOf(Buffer.alloc(4096 + 512, 1))
  await writeFully(handle, Buffer.alloc(4096 * 3, 2), 512)
  const asked: (readonly [number, boolean])[] = []
  fs.powerCut({
    sectorBytes: 4096,
    sector: ({ index, isNew }) => {
      asked.push([index, isNew])
      return index === 1 ? 'keep' : 'drop'
    },
    length: ({ present }) => present
  })
  t.same(asked, [
    [0, false],
    [1, false],
    [2, true],
    [3, true]
  ])
  const content = (await readWholeFile(fs, '/a', 20_000))!
  t.same(
    content,
    Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096, 2), Buffer.alloc(4096 + 512, 0)]),
    'what was dropped is as before, or zeros where nothing was'
  )
})

t.test('a write may be a lie: reported and never made, or made and lost by the device', async t => {
  for (const verdict of ['lie', 'lose']) {
    const { fs, handle } = await fileOf(Buffer.alloc(1024, 1))
    fs.onCall = ({ operation }) => (operation === 'write' ? verdict : undefined)
    t.equal(await handle.write(Buffer.alloc(512, 2), 512), 512, 'it says all is written')
    fs.onCall = undefined
    await handle.datasync()
    const seen = (await readWholeFile(fs, '/a', 4096))!
    t.equal(seen[600], verdict === 'lie' ? 1 : 2, `readers, ${verdict}`)
    t.equal((await fs.readPastCache('/a', 0, 1024))?.[600], 1, 'the device')
    fs.powerCut({ sector: () => 'keep' })
    t.same(await readWholeFile(fs, '/a', 4096), Buffer.alloc(1024, 1))
  }
})
