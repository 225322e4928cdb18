import { execFileSync } from 'node:child_process'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { fileSystemConformance } from '../../lib/fs/conformance.ts'
import { NodeFileSystem, nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { halfOfThreadPool, PoolGate } from '../../lib/fs/pool-gate.ts'
import { tempDir } from '../helpers/paths.ts'

fileSystemConformance(
  (name, body) => void t.test(`node: ${name}`, body),
  async () => ({ fs: nodeFileSystem, root: await tempDir(t), makeSymlink: symlink })
)

t.test('permissions are those asked for, whatever the umask', async t => {
  const folder = await tempDir(t)
  const old = process.umask(0o077)
  t.teardown(() => process.umask(old))
  await (await nodeFileSystem.open(join(folder, 'file'), 'create-or-open', 0o664)).close()
  await nodeFileSystem.makeDirectory(join(folder, 'folder'), 0o755)
  t.equal((await nodeFileSystem.stat(join(folder, 'file')))?.mode, 0o664)
  t.equal((await nodeFileSystem.stat(join(folder, 'folder')))?.mode, 0o755)
})

t.test('a pipe in place of a file does not hang the thread pool', async t => {
  const folder = await tempDir(t)
  execFileSync('mkfifo', [join(folder, 'pipe')])
  const handle = await nodeFileSystem.open(join(folder, 'pipe'), 'read')
  t.equal((await handle.stat()).kind, 'other')
  await t.rejects(handle.read(Buffer.alloc(1), 0), { code: 'ESPIPE', path: join(folder, 'pipe') })
  await handle.close()
})

t.test('no more calls are in the thread pool at once than the gate lets through, in the order they came', async t => {
  const gate = new PoolGate(2)
  const fs = new NodeFileSystem(gate)
  const folder = await tempDir(t)
  const handle = await fs.open(join(folder, 'a'), 'create')
  const order: number[] = []
  const writes = Array.from({ length: 3000 }, (_, index) =>
    handle.write(Buffer.from([index & 0xff]), index).then(() => order.push(index))
  )
  t.equal(gate.waiting, 2998)
  await Promise.all(writes)
  t.equal(gate.waiting, 0)
  // Two run at once, so neighbours may swap; nothing overtakes more than that for good.
  t.ok(order.every((index, at) => Math.abs(index - at) < 200))
  await handle.close()
})

t.test('a wrong argument does not cost a slot of the gate', async t => {
  const fs = new NodeFileSystem(new PoolGate(1))
  const folder = await tempDir(t)
  const handle = await fs.open(join(folder, 'a'), 'create')
  for (let round = 0; round < 3; round += 1) {
    for (const position of [Number.NaN, -1, 0.5, 2 ** 53]) {
      await t.rejects(handle.write(Buffer.from('x'), position), TypeError)
      await t.rejects(handle.read(Buffer.alloc(1), position), TypeError)
      t.throws(() => handle.readSync(Buffer.alloc(1), position), TypeError)
      t.throws(() => handle.writeSync(Buffer.alloc(1), position), TypeError)
    }
    await t.rejects(fs.open('nul\0byte', 'read'), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  t.equal(await handle.write(Buffer.from('x'), 0), 1)
  await handle.close()
})

t.test('half of the thread pool is at least one thread, and two of the default four', async t => {
  t.equal(halfOfThreadPool(undefined), 2)
  t.equal(halfOfThreadPool('1'), 1)
  t.equal(halfOfThreadPool('16'), 8)
  t.equal(halfOfThreadPool('nonsense'), 2)
  t.equal(halfOfThreadPool('100000'), 512)
})

t.test('an error of a descriptor names its file', async t => {
  const folder = await tempDir(t)
  const handle = await nodeFileSystem.open(join(folder, 'a'), 'create')
  await handle.close()
  const readOnly = await nodeFileSystem.open(join(folder, 'a'), 'read')
  await t.rejects(readOnly.write(Buffer.from('x'), 0), { code: 'EBADF', path: join(folder, 'a') })
  await readOnly.close()
})
