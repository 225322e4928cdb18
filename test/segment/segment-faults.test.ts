import { join } from 'node:path'
import t from 'tap'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { type FileSystemCall, type FileSystemOperation, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { Segment } from '../../lib/segment/segment.ts'
import { batchOf, content, factsOf, memoryEnv, segmentEnv } from '../helpers/segments.ts'

const DIR = '/t-0'
const LOG = join(DIR, segmentFileName(0, '.log'))
const INDEX = join(DIR, segmentFileName(0, '.index'))

async function memory() {
  const made = memoryEnv({ indexIntervalBytes: 0 })
  await made.fs.makeDirectory(DIR)
  const segment = await Segment.create(made.env, DIR, 0)
  const write = (bytes: Buffer): Promise<void> => segment.write(bytes, factsOf(bytes, segment.size))
  return { ...made, segment, write }
}

function failing(code: string): Error {
  return Object.assign(new Error(`${code}: made to fail`), { code })
}

/** Fails the calls of one kind to one file. */
function fails(operation: FileSystemOperation, path: string, code: string): (call: FileSystemCall) => void {
  return call => {
    if (call.operation === operation && call.path === path) throw failing(code)
  }
}

const first = batchOf({ baseOffset: 0 })
const second = batchOf({ baseOffset: 1, valueBytes: 500 })

t.test('a write that does less than asked is gone on with', async t => {
  const { fs, segment, write } = await memory()
  fs.onCall = call => (call.operation === 'write' && (call.length ?? 0) > 7 ? 7 : undefined)
  await write(first)
  await write(second)
  fs.onCall = undefined
  t.ok((await content(fs, LOG)).equals(Buffer.concat([first, second])))
  t.equal(segment.size, first.length + second.length)
})

t.test('a full disk takes nothing of the batch, and the segment goes on once there is room', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  fs.capacityBytes = first.length + 100
  await t.rejects(write(second), { code: 'NO_SPACE' })
  t.notOk(segment.isBroken)
  t.equal(segment.size, first.length)
  t.equal(segment.nextOffset, 1)
  t.ok((await content(fs, LOG)).equals(first), 'the part that did fit is cut off again')
  t.same(segment.locateSync(5)?.to, first.length, 'no index entry for what is not there')
  fs.capacityBytes = Number.MAX_SAFE_INTEGER
  await write(second)
  await segment.close({ clean: true })
  t.ok((await content(fs, LOG)).equals(Buffer.concat([first, second])))
  t.equal((await content(fs, INDEX)).length, 8)
})

t.test(
  'a write on the calling thread that fails has appended nothing, and the same bytes go the other way',
  async t => {
    const { fs, segment, write } = await memory()
    t.notOk(segment.tryWriteSync(first, factsOf(first, 0)), 'the file is not open yet')
    await write(first)
    let failures = 0
    fs.onCall = call => {
      if (call.path !== LOG || call.operation !== 'write' || failures > 0) return undefined
      if (call.position === first.length) return 100
      failures += 1
      throw failing('EIO')
    }
    t.notOk(segment.tryWriteSync(second, factsOf(second, segment.size)))
    t.equal(failures, 1)
    t.equal(segment.size, first.length)
    t.equal(segment.nextOffset, 1)
    t.same(segment.locateSync(5)?.to, first.length, 'no index entry for what is not there')
    fs.onCall = undefined
    await write(second)
    const third = batchOf({ baseOffset: 2 })
    t.ok(segment.tryWriteSync(third, factsOf(third, segment.size)))
    t.ok((await content(fs, LOG)).equals(Buffer.concat([first, second, third])))
    t.equal(segment.nextOffset, 3)
    await segment.close({ clean: true })
    t.equal((await content(fs, INDEX)).length, 16)
  }
)

/** Fails writes to the log behind `first` on the calling thread, after 100 bytes of them. */
function failsHalfWay(call: FileSystemCall): number | undefined {
  if (call.path !== LOG || call.operation !== 'write') return undefined
  if (call.position === first.length) return 100
  throw failing('EIO')
}

t.test('what a failed write on the calling thread left is gone when the segment is sealed instead', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  fs.onCall = failsHalfWay
  t.notOk(segment.tryWriteSync(second, factsOf(second, segment.size)))
  fs.onCall = undefined
  t.equal((await content(fs, LOG)).length, first.length + 100)
  await segment.seal()
  t.ok((await content(fs, LOG)).equals(first))
})

t.test('what a failed write on the calling thread left is cut off, also without a spare descriptor', async t => {
  const fs = new MemoryFileSystem()
  const handles = new HandleCache(fs, { maxOpen: 1 })
  const { env } = segmentEnv({ fs, handles })
  await fs.makeDirectory(DIR)
  const segment = await Segment.create(env, DIR, 0)
  await segment.write(first, factsOf(first, 0))
  fs.onCall = failsHalfWay
  t.notOk(segment.tryWriteSync(second, factsOf(second, segment.size)))
  fs.onCall = undefined
  // Somebody else's file would push ours out of the cache, and then the system has no descriptor for it.
  const lease = await handles.acquire(INDEX, 'read')
  lease.release()
  fs.onCall = call => {
    if (call.path !== LOG) return undefined
    if (call.operation === 'open') throw failing('EMFILE')
    return failsHalfWay(call)
  }
  await t.rejects(segment.write(second, factsOf(second, segment.size)), { name: 'LogError' })
  fs.onCall = undefined
  t.notOk(segment.isBroken)
  t.ok((await content(fs, LOG)).equals(first))
})

t.test('when the part that was written cannot be cut off, the segment is broken, and says so', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  fs.onCall = call => {
    if (call.path !== LOG) return undefined
    if (call.operation === 'truncate') throw failing('EIO')
    if (call.operation !== 'write') return undefined
    if (call.position !== first.length) throw failing('EIO')
    return 100
  }
  await t.rejects(write(second), { code: 'STORAGE_FAILED' })
  fs.onCall = undefined
  t.ok(segment.isBroken)
  await t.rejects(write(second), { code: 'STORAGE_FAILED' }, 'nothing goes behind half a batch')
  t.equal(segment.size, first.length)
  t.equal(await segment.read(Buffer.alloc(1000), 0), first.length, 'nobody reads the half')
  await t.rejects(segment.close({ clean: true }), { code: 'STORAGE_FAILED' }, 'it is no clean end')
})

t.test('a failed sync breaks the segment: a later one that succeeds would prove nothing', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  fs.onCall = fails('datasync', LOG, 'EIO')
  await t.rejects(segment.datasync(), { code: 'SYNC_FAILED' })
  fs.onCall = undefined
  t.ok(segment.isBroken)
  t.ok(segment.isDirty)
  await t.rejects(segment.datasync(), { code: 'SYNC_FAILED' })
  await t.rejects(segment.seal(), { name: 'LogError' })
  await t.rejects(write(second), { code: 'STORAGE_FAILED' })
  t.equal(await segment.read(Buffer.alloc(1000), 0), first.length)
})

t.test('the descriptor that wrote is the one that syncs, whatever else is opened meanwhile', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  const opened: string[] = []
  fs.onCall = call => {
    if (call.operation === 'open') opened.push(call.path)
  }
  await segment.datasync()
  await write(second)
  await segment.datasync()
  t.same(opened, [])
})

t.test('what is written while a sync is under way is not covered by it', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  let release = (): void => undefined
  fs.onCall = call => {
    if (call.operation !== 'datasync') return undefined
    return new Promise<void>(resolve => {
      release = resolve
    })
  }
  const syncing = segment.datasync()
  await new Promise(resolve => setImmediate(resolve))
  fs.onCall = undefined
  await write(second)
  release()
  await syncing
  t.ok(segment.isDirty)
  await segment.datasync()
  t.notOk(segment.isDirty)
})

t.test('index entries that cannot be written now are written later', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  await write(second)
  fs.onCall = call => (call.operation === 'write' && call.path === INDEX ? 3 : undefined)
  // Three bytes at a time, and then none any more: a torn entry.
  let writes = 0
  fs.onCall = call => {
    if (call.operation !== 'write' || call.path !== INDEX) return undefined
    writes += 1
    if (writes > 1) throw failing('ENOSPC')
    return 3
  }
  await t.rejects(segment.flushIndexes(), { code: 'NO_SPACE' })
  t.equal((await content(fs, INDEX)).length, 3)
  fs.onCall = undefined
  await segment.close({ clean: true })
  t.equal((await content(fs, INDEX)).length, 8)
})

t.test('a failed cut of an index leaves the log as it was', async t => {
  // The other way round an index would point behind the end of its log.
  const { fs, segment, write } = await memory()
  await write(first)
  await write(second)
  await segment.flushIndexes()
  fs.onCall = fails('truncate', INDEX, 'EIO')
  await t.rejects(segment.truncateTo(1), { code: 'STORAGE_FAILED' })
  t.equal(segment.size, first.length + second.length)
})

t.test('an index whose sync failed is written anew', async t => {
  const { fs, segment, write } = await memory()
  await write(first)
  await write(second)
  fs.onCall = fails('datasync', INDEX, 'EIO')
  await t.rejects(segment.seal(), { code: 'STORAGE_FAILED' })
  const renamed: string[] = []
  fs.onCall = call => {
    if (call.operation === 'rename') renamed.push(call.to ?? '')
  }
  await segment.seal()
  t.same(renamed, [INDEX])
  t.equal((await content(fs, INDEX)).length, 8)
})

t.test('any one call may fail while a segment is made, and making it again works', async t => {
  for (let n = 1; ; n += 1) {
    const { env, fs } = memoryEnv({ preallocate: true, segmentBytes: 10_000, indexBytes: 800 })
    await fs.makeDirectory(DIR)
    let calls = 0
    fs.onCall = () => {
      calls += 1
      if (calls === n) throw failing('ENOSPC')
    }
    const made = await Segment.create(env, DIR, 0).catch((error: unknown) => error)
    fs.onCall = undefined
    if (!(made instanceof Error)) {
      t.ok(n > 5, `${n - 1} calls`)
      return
    }
    t.match(made, { code: 'NO_SPACE' })
    const segment = await Segment.create(env, DIR, 0).catch((error: unknown) => error)
    t.ok(segment instanceof Segment, `after a failure of call ${n}: ${segment}`)
  }
})

t.test('any one call may fail while a segment is sealed: nothing is lost, and sealing it again works', async t => {
  const bytes = Buffer.concat([first, second])
  for (let n = 1; ; n += 1) {
    const { fs, env, segment, write } = await memory()
    await write(first)
    await write(second)
    await segment.appendAborted({ producerId: 1, firstOffset: 0, lastOffset: 1, lastStableOffset: 2 })
    let calls = 0
    let failed: FileSystemCall | undefined
    fs.onCall = call => {
      calls += 1
      if (calls !== n) return
      failed = call
      throw failing('ENOSPC')
    }
    const error: unknown = await segment.seal().catch((reason: unknown) => reason)
    fs.onCall = undefined
    const what = `${failed?.operation} ${failed?.path}`
    if (failed === undefined) {
      t.ok(n > 5, `${n - 1} calls`)
      return
    }
    if (segment.isBroken) t.equal(what, `sync ${LOG}`, 'only a failed sync of the log is final')
    else if (error !== undefined) await segment.seal()
    await segment.close({ clean: false })
    const again = await Segment.open(env, DIR, 0, { readOnly: false, trustIndexes: !segment.isBroken })
    t.equal(again.size, bytes.length)
    if (segment.isBroken) await again.rebuildIndexes()
    t.equal((await again.locate(1)).lastOffset, 1, what)
    t.equal(await again.offsetOfLargestTimestamp(), 0, what)
    if (!segment.isBroken) t.equal((await again.collectAborted(0, 5)).entries.length, 1, what)
  }
})
