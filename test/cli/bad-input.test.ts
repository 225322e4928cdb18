/** What a store is asked to do wrongly, or on a bad day: an error with a code each, nothing lost, and it goes on where it can. */
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { type ErrorCode, isLogError, type PartitionLog, Store } from '../../lib/index.ts'
import { finished, start } from '../helpers/binary.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

async function rejects(t: Test, what: string, code: ErrorCode, doing: () => unknown): Promise<void> {
  try {
    await doing()
    t.fail(`${what}: nothing was refused`)
  } catch (error) {
    t.ok(isLogError(error, code), `${what}: ${(error as Error).message}`)
  }
}

async function values(log: PartitionLog): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = []
  for await (const record of log.records()) found.push(record.value?.toString())
  return found
}

async function openOrders(t: Test): Promise<{ store: Store; log: PartitionLog }> {
  const store = await Store.open(join(await tempDir(t), 'data'))
  t.teardown(() => store.close())
  return { store, log: await store.openLog('orders', 0) }
}

test('an empty folder: nothing to read, and a place to begin', async t => {
  const dir = await tempDir(t)
  await rejects(t, 'reading', 'NOT_A_DATA_DIRECTORY', () => Store.open(dir, { readOnly: true }))
  for (const args of [
    ['topics', 'list'],
    ['consume', 'orders']
  ]) {
    const { status, stderr } = await run([...args, '--dir', dir])
    t.equal(status, 1)
    t.match(stderr, /^heartwood: NOT_A_DATA_DIRECTORY: .* is empty.*\n$/)
  }
  t.same(await readdir(dir), [], 'reading has left nothing there')
  const store = await Store.open(dir)
  await (await store.openLog('orders', 0)).append([{ value: 'x' }])
  await store.close()
})

test('a file instead of a folder', async t => {
  const file = join(await tempDir(t), 'file')
  await writeFile(file, 'mine')
  await rejects(t, 'writing', 'NOT_A_DATA_DIRECTORY', () => Store.open(file))
  await rejects(t, 'reading', 'NOT_A_DATA_DIRECTORY', () => Store.open(file, { readOnly: true }))
  const { status, stderr } = await run(['produce', 'orders', '--dir', file], 'x\n')
  t.equal(status, 1)
  t.match(stderr, /^heartwood: NOT_A_DATA_DIRECTORY: .*file is a file, not a data directory.*\n$/)
})

test('a folder without permission', async t => {
  const parent = await tempDir(t)
  const dir = join(parent, 'data')
  await run(['topics', 'create', 'orders', '--dir', dir])
  await run(['produce', 'orders', '--dir', dir], 'x\n')
  await chmod(parent, 0o755)
  await chmod(dir, 0o000)
  t.teardown(() => chmod(dir, 0o700))
  // Permissions do not bind root, so the command runs as nobody there.
  const isRoot = process.getuid?.() === 0
  const nobody = { uid: 65534, gid: 65534 }
  if (isRoot && !(await canRunAs(nobody))) {
    await t.test('a user who may not read it', { skip: 'nobody may not read the program itself' }, () => {})
    return
  }
  for (const args of [
    ['topics', 'list'],
    ['consume', 'orders'],
    ['produce', 'orders'],
    ['topics', 'create', 'x'],
    ['dump']
  ]) {
    const where = args[0] === 'dump' ? [dir] : ['--dir', dir]
    const child = start([...args, ...where], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', ...(isRoot ? nobody : {}) })
    const { status, stderr } = await finished(child)
    t.equal(status, 1, args.join(' '))
    // tap, which may not write its own notes as this user, complains behind it.
    t.match(stderr, /^heartwood: PERMISSION_DENIED: .*$/m, args.join(' '))
  }
  await chmod(dir, 0o700)
  t.equal((await run(['consume', 'orders', '--dir', dir])).stdout, 'x\n')
})

async function canRunAs(user: { uid: number; gid: number }): Promise<boolean> {
  try {
    const child = start(['--version'], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', ...user })
    return (await finished(child)).status === 0
  } catch {
    return false
  }
}

test('names of topics that lead elsewhere, or are none', async t => {
  const { store } = await openOrders(t)
  const parent = join(store.dirs[0] as string, '..')
  const before = await readdir(parent)
  for (const name of ['../x', '..', '.', '', 'a/b', 'a\\b', 'a\0b', 'ü', 'x'.repeat(250), ' ']) {
    await rejects(t, JSON.stringify(name), 'INVALID_TOPIC', () => store.createTopic(name))
    await rejects(t, JSON.stringify(name), 'INVALID_TOPIC', () => store.openLog(name, 0))
  }
  t.same(await readdir(parent), before)
})

test('records and batches above the limits', async t => {
  const { log } = await openOrders(t)
  await log.append([{ value: 'before' }])
  await rejects(t, '2 MiB', 'RECORD_BATCH_TOO_LARGE', () => log.append([{ value: Buffer.alloc(2 ** 21) }]))
  await rejects(t, 'together', 'RECORD_BATCH_TOO_LARGE', () =>
    log.append(Array.from({ length: 30 }, () => ({ value: Buffer.alloc(50_000) })))
  )
  // Untouched pages of zeros cost no memory; where even that is refused there is nothing to test.
  let huge: Buffer
  try {
    huge = Buffer.from(new ArrayBuffer(2 ** 31))
  } catch {
    t.comment('no 2 GiB to be had')
    huge = Buffer.alloc(2 ** 21)
  }
  const { rss } = process.memoryUsage()
  await rejects(t, '2 GiB', 'RECORD_BATCH_TOO_LARGE', () => log.append([{ value: huge }]))
  t.ok(process.memoryUsage().rss - rss < 64 * 2 ** 20, 'it was not copied to find out')
  await log.append([{ value: 'after' }])
  t.same(await values(log), ['before', 'after'])
})

test('offsets that are none', async t => {
  const { log } = await openOrders(t)
  await log.append([{ value: 'x' }])
  for (const offset of [-1, 2, 0.5, Number.NaN, 2 ** 53]) {
    await rejects(t, `read ${offset}`, 'OFFSET_OUT_OF_RANGE', () => log.read(offset))
    await rejects(t, `records from ${offset}`, 'OFFSET_OUT_OF_RANGE', async () => {
      for await (const record of log.records({ from: offset })) t.fail(`offset ${record.offset}`)
    })
    await rejects(t, `deleteRecordsBefore ${offset}`, 'OFFSET_OUT_OF_RANGE', () => log.deleteRecordsBefore(offset))
  }
  t.same(await values(log), ['x'])
})

test('a closed log, and a closed store', async t => {
  const { store, log } = await openOrders(t)
  await log.append([{ value: 'x' }])
  await log.close()
  await rejects(t, 'append', 'LOG_CLOSED', () => log.append([{ value: 'y' }]))
  await rejects(t, 'read', 'LOG_CLOSED', () => log.read(0))
  await rejects(t, 'sync', 'LOG_CLOSED', () => log.sync())
  await log.close()
  const again = await store.openLog('orders', 0)
  t.same(await values(again), ['x'], 'opened again it goes on')
  await store.close()
  await rejects(t, 'openLog', 'STORE_CLOSED', () => store.openLog('orders', 0))
  await rejects(t, 'createTopic', 'STORE_CLOSED', () => store.createTopic('more'))
  await rejects(t, 'append', 'LOG_CLOSED', () => again.append([{ value: 'y' }]))
})

test('a full disk: what was acknowledged stays, and when there is room again the log goes on', async t => {
  let isFull = false
  const fs = new MemoryFileSystem({
    onCall: ({ operation }) => {
      if (isFull && operation === 'write')
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    }
  })
  const store = await Store.open('/data', { fs })
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'before' }])
  isFull = true
  await rejects(t, 'append', 'NO_SPACE', () => log.append([{ value: 'lost' }]))
  t.same(await values(log), ['before'])
  isFull = false
  await log.append([{ value: 'after' }])
  t.same(await values(log), ['before', 'after'])
  await store.close()
  const again = await Store.open('/data', { fs })
  t.same(await values(await again.openLog('orders', 0)), ['before', 'after'])
  await again.close()
})

test('a second store in the same process or another', async t => {
  const { store, log } = await openOrders(t)
  const dir = store.dirs[0] as string
  await log.append([{ value: 'x' }])
  await rejects(t, 'in this process', 'LOCKED', () => Store.open(dir))
  const { status, stderr } = await finished(
    start(['topics', 'create', 'more', '--dir', dir], { stdio: ['ignore', 'pipe', 'pipe'] })
  )
  t.equal(status, 1)
  t.match(stderr, /^heartwood: LOCKED: .*\n$/)
  t.match(stderr, String(process.pid))
  const reader = await Store.open(dir, { readOnly: true })
  t.same(await values(await reader.openLog('orders', 0)), ['x'], 'a reader is welcome')
  await rejects(t, 'writing through it', 'READ_ONLY', async () =>
    (await reader.openLog('orders', 0)).append([{ value: 'y' }])
  )
  await reader.close()
  await log.append([{ value: 'y' }])
  t.same(await values(log), ['x', 'y'])
})

test('folders that stand where something else should', async t => {
  const dir = join(await tempDir(t), 'data')
  await mkdir(join(dir, 'orders-0', '00000000000000000000.log'), { recursive: true })
  await rejects(t, 'opening', 'STORAGE_FAILED', () => Store.open(dir))
})
