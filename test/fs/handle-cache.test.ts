import { execFileSync } from 'node:child_process'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { replaceFile } from '../../lib/fs/replace-file.ts'

t.test('the same file is opened once, and shared', async t => {
  const { cache, paths } = await setUp(1)
  const [first, second] = await Promise.all([cache.acquire(paths[0]!, 'read'), cache.acquire(paths[0]!, 'read')])
  t.equal(first.handle, second.handle)
  const third = cache.acquireSync(paths[0]!, 'read')
  t.equal(third.handle, first.handle)
  t.match(cache.stats, { open: 1, leased: 1, misses: 1, hits: 1 })
  for (const lease of [first, second, third]) {
    lease.release()
    lease.release()
  }
  t.match(cache.stats, { open: 1, leased: 0 })
})

t.test('no more files are open than the bound, the least recently used go first', async t => {
  const { cache, paths, opened } = await setUp(4, 3)
  for (const path of paths.slice(0, 3)) (await cache.acquire(path, 'read')).release()
  for (const path of [paths[3]!, paths[3]!]) (await cache.acquire(path, 'read')).release()
  t.match(cache.stats, { open: 3, evicted: 1 })
  opened.length = 0
  // The first was evicted; what was used since is still there.
  for (const path of paths.slice(1)) (await cache.acquire(path, 'read')).release()
  t.strictSame(opened, [])
  ;(await cache.acquire(paths[0]!, 'read')).release()
  t.strictSame(opened, [paths[0]])
})

t.test('a leased file is never closed; the bound gives way and is met again when it is given back', async t => {
  const { cache, paths } = await setUp(5, 2)
  const leases = await Promise.all(paths.map(path => cache.acquire(path, 'read')))
  t.match(cache.stats, { open: 5, leased: 5, exceeded: 3, evicted: 0 })
  const target = Buffer.alloc(2)
  for (const [index, lease] of leases.entries()) {
    t.equal(await lease.handle.read(target, 0), 2)
    t.equal(String(target), `f${index}`)
  }
  for (const lease of leases) lease.release()
  await new Promise(setImmediate)
  t.match(cache.stats, { open: 2, leased: 0 })
  t.equal(cache.acquireSync(paths[4]!, 'read').handle.readSync(target, 0), 2)
})

t.test('a handle for writing serves readers; one for reading is replaced when somebody wants to write', async t => {
  const { cache, paths } = await setUp(1)
  const path = paths[0]!
  const reader = await cache.acquire(path, 'read')
  const writer = await cache.acquire(path, 'write')
  t.not(writer.handle, reader.handle)
  await writer.handle.write(Buffer.from('XY'), 0)
  const target = Buffer.alloc(2)
  t.equal(await reader.handle.read(target, 0), 2, 'the old one lives on while it is leased')
  t.equal(String(target), 'XY')
  t.equal(cache.acquireSync(path, 'read').handle, writer.handle)
  t.equal(cache.stats.open, 2)
  reader.release()
  await new Promise(setImmediate)
  t.equal(cache.stats.open, 1)
})

t.test('after forget, the next to ask gets what has the name now', async t => {
  const { fs, cache, paths } = await setUp(2)
  const [first, second] = [paths[0]!, paths[1]!]
  const held = await cache.acquire(first, 'read')
  ;(await cache.acquire(second, 'read')).release()
  await Promise.all([cache.forget(first), cache.forget(second)])
  await fs.rename(second, first)
  const fresh = await cache.acquire(first, 'read')
  const target = Buffer.alloc(2)
  await fresh.handle.read(target, 0)
  t.equal(String(target), 'f1')
  await held.handle.read(target, 0)
  t.equal(String(target), 'f0', 'who leased the old file still has it')
  held.release()
  await new Promise(setImmediate)
  t.equal(cache.stats.open, 1)
})

t.test('forget also reaches a file that is just being opened', async t => {
  const { fs, cache, paths } = await setUp(2)
  let go: () => void = () => undefined
  fs.onCall = ({ operation }) =>
    operation === 'open'
      ? new Promise<void>(resolve => {
          go = resolve
        })
      : undefined
  const opening = cache.acquire(paths[0]!, 'read')
  await new Promise(setImmediate)
  await cache.forget(paths[0]!)
  go()
  fs.onCall = undefined
  const old = await opening
  const fresh = await cache.acquire(paths[0]!, 'read')
  t.not(fresh.handle, old.handle)
  old.release()
  fresh.release()
  await new Promise(setImmediate)
  t.match(cache.stats, { open: 1, leased: 0 })
})

t.test('forgetFolder lets go of what lies below, and of nothing beside', async t => {
  const { fs, cache } = await setUp(0)
  for (const folder of ['/a', '/a-b']) {
    await fs.makeDirectory(folder)
    await replaceFile(fs, `${folder}/x`, Buffer.from('x'))
    ;(await cache.acquire(`${folder}/x`, 'read')).release()
  }
  await cache.forgetFolder('/a')
  t.equal(cache.stats.open, 1)
  ;(await cache.acquire('/a-b/x', 'read')).release()
  t.match(cache.stats, { hits: 1 })
})

t.test('a file that cannot be opened costs nothing but the error', async t => {
  const { cache } = await setUp(0)
  await t.rejects(Promise.all([cache.acquire('/none', 'read'), cache.acquire('/none', 'read')]), { code: 'ENOENT' })
  t.throws(() => cache.acquireSync('/none', 'read'), { code: 'ENOENT' })
  t.match(cache.stats, { open: 0, leased: 0 })
})

t.test('when the system has no descriptors left, idle files are closed and the bound is lowered', async t => {
  const { fs, cache, paths } = await setUp(20, 100)
  let open = 0
  fs.onCall = ({ operation }) => {
    if (operation === 'close') open -= 1
    if (operation !== 'open') return
    if (open >= 10) throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })
    open += 1
  }
  for (let round = 0; round < 3; round += 1) {
    for (const [index, path] of paths.entries()) {
      const lease = (index + round) % 2 === 0 ? await cache.acquire(path, 'read') : cache.acquireSync(path, 'read')
      lease.release()
    }
  }
  t.ok(cache.maxOpen < 12 && cache.maxOpen >= 4)
  const leases = paths.slice(0, 10).map(path => cache.acquireSync(path, 'read'))
  await t.rejects(cache.acquire(paths[15]!, 'read'), { code: 'TOO_MANY_OPEN_FILES', message: /ulimit/ })
  t.throws(() => cache.acquireSync(paths[15]!, 'read'), { code: 'TOO_MANY_OPEN_FILES' })
  for (const lease of leases) lease.release()
  ;(await cache.acquire(paths[15]!, 'read')).release()
})

t.test('close closes what is idle at once, what is leased later, and opens nothing more', async t => {
  const { cache, paths } = await setUp(3)
  const leases = await Promise.all(paths.map(path => cache.acquire(path, 'write')))
  leases[0]!.release()
  await cache.close()
  t.match(cache.stats, { open: 2 })
  t.equal(await leases[1]!.handle.write(Buffer.from('x'), 0), 1)
  leases[1]!.release()
  leases[2]!.release()
  await new Promise(setImmediate)
  t.match(cache.stats, { open: 0, leased: 0 })
  await t.rejects(cache.acquire(paths[0]!, 'read'), { code: 'STORE_CLOSED' })
  t.throws(() => cache.acquireSync(paths[0]!, 'read'), { code: 'STORE_CLOSED' })
})

t.test('whatever is asked for in whatever order, a lease reads its own file and none is left open', async t => {
  const { fs, cache, paths } = await setUp(30, 5)
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648
    return Math.floor((seed / 2147483648) * below)
  }
  fs.onCall = async () => {
    for (let turns = random(4); turns > 0; turns -= 1) await undefined
  }
  const use = async (): Promise<void> => {
    for (let round = 0; round < 200; round += 1) {
      const index = random(paths.length)
      const lease = await cache.acquire(paths[index]!, random(4) === 0 ? 'write' : 'read')
      if (random(10) === 0) await cache.forget(paths[index]!)
      const target = Buffer.alloc(4)
      const count = await lease.handle.read(target, 0)
      if (target.toString('utf8', 0, count) !== `f${index}`) throw new Error('a lease on another file')
      lease.release()
    }
  }
  await Promise.all(Array.from({ length: 12 }, use))
  await cache.close()
  await new Promise(setImmediate)
  t.match(cache.stats, { open: 0, leased: 0 })
})

t.test('five hundred files in rotation work in a process that may open sixty-four', { timeout: 60_000 }, async t => {
  const here = fileURLToPath(import.meta.url)
  const rotation = join(here, '..', `handle-rotation${extname(here)}`)
  for (const maxOpen of ['30', '512']) {
    const command = 'ulimit -n 64 && exec "$@"'
    const args = ['-c', command, 'sh', process.execPath, ...process.execArgv, rotation, maxOpen]
    const output = execFileSync('sh', args, { encoding: 'utf8' })
    t.match(output, /^2500 reads right, at most \d+ open/, output.trim())
  }
})

async function setUp(files: number, maxOpen = 100) {
  const fs = new MemoryFileSystem()
  const paths: string[] = []
  for (let index = 0; index < files; index += 1) {
    const path = `/file-${index}`
    paths.push(path)
    await replaceFile(fs, path, Buffer.from(`f${index}`))
  }
  const opened: string[] = []
  fs.onCall = ({ operation, path }) => void (operation === 'open' && opened.push(path))
  return { fs, cache: new HandleCache(fs, { maxOpen }), paths, opened }
}

t.test('only a file that is open already is leased without a call', async t => {
  const { cache, paths } = await setUp(1)
  const path = paths[0]!
  t.equal(cache.tryAcquire(path, 'read'), undefined)
  const lease = await cache.acquire(path, 'read')
  t.equal(cache.tryAcquire(path, 'read')?.handle, lease.handle)
  t.equal(cache.tryAcquire(path, 'write'), undefined)
  await cache.close()
  t.equal(cache.tryAcquire(path, 'read'), undefined)
})
