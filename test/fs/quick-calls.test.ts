import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { NodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { PoolGate } from '../../lib/fs/pool-gate.ts'
import { QuickCalls } from '../../lib/fs/quick-calls.ts'

/** Calls that take so long, one after another; resolves to how many of them were allowed. */
function callsOf(milliseconds: number): { quick: QuickCalls; attempt(count: number): number } {
  let now = 0
  const quick = new QuickCalls(() => now)
  const call = (): void => {
    now += milliseconds
  }
  const attempt = (count: number): number => {
    let ran = 0
    for (let i = 0; i < count; i += 1) {
      if (!quick.allowed()) continue
      quick.run(call)
      ran += 1
    }
    return ran
  }
  return { quick, attempt }
}

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

t.test('a turn of the event loop has a bound on the time spent in it', async t => {
  const { attempt } = callsOf(0.125)
  t.equal(attempt(100), 8)
  await nextTurn()
  t.equal(attempt(100), 8)
})

t.test('a slow call sends those after it to the pool, ever more of them while it stays so', async t => {
  const { quick, attempt } = callsOf(3)
  const pauses: number[] = []
  for (let i = 0; i < 5; i += 1) {
    t.equal(attempt(1), 1)
    await nextTurn()
    let pause = 0
    while (!quick.allowed()) pause += 1
    pauses.push(pause)
  }
  t.same(pauses, [4, 16, 64, 256, 256])
})

t.test('after many quick calls one that is slow is an exception again', async t => {
  let now = 0
  const quick = new QuickCalls(() => now)
  const slow = (): void => {
    now += 3
  }
  const pauseAfterSlow = async (): Promise<number> => {
    quick.run(slow)
    await nextTurn()
    let pause = 0
    while (!quick.allowed()) pause += 1
    return pause
  }
  t.same([await pauseAfterSlow(), await pauseAfterSlow()], [4, 16])
  for (let i = 0; i < 64; i += 1) quick.run(() => undefined)
  t.equal(await pauseAfterSlow(), 4)
})

t.test('a call that throws counts as well', async t => {
  let now = 0
  const quick = new QuickCalls(() => now)
  const fail = (): never => {
    now += 3
    throw new Error('EIO')
  }
  t.throws(() => quick.run(fail), /EIO/)
  t.notOk(quick.allowed())
})

t.test('what exists is opened, looked at, read and closed without the pool; errors are those of the pool', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'quick-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'a'), 'content')
  // A gate that never opens: whatever asks the pool waits for ever.
  const shut = new PoolGate(0)
  const fs = new NodeFileSystem(shut, new QuickCalls(() => 0))
  t.match(await fs.stat(join(dir, 'a')), { kind: 'file', size: 7 })
  t.equal(await fs.stat(join(dir, 'none')), undefined)
  t.same(await fs.readDirectory(dir), [{ name: 'a', kind: 'file' }])
  t.equal(await fs.realPath(join(dir, '.', 'a')), join(realpathSync(dir), 'a'))
  await t.rejects(fs.realPath(join(dir, 'none')), { code: 'ENOENT' })
  t.ok((await fs.volume(dir)).freeBytes > 0)
  const handle = await fs.open(join(dir, 'a'), 'read')
  const target = Buffer.alloc(10)
  t.equal(await handle.read(target, 0), 7)
  t.match(await handle.stat(), { size: 7 })
  await handle.close()
  await handle.close()
  await t.rejects(handle.read(target, 0), { code: 'EBADF' })
  await t.rejects(handle.stat(), { code: 'EBADF' })
  await t.rejects(fs.open(join(dir, 'none'), 'read'), { code: 'ENOENT' })
  await t.rejects(fs.readDirectory(join(dir, 'none')), { code: 'ENOENT' })
  t.equal(shut.waiting, 0)
  const written = await fs.open(join(dir, 'a'), 'write')
  written.writeSync(Buffer.from('x'), 0)
  void written.close()
  t.equal(shut.waiting, 1, 'a file that was written is closed in the pool')
})
