import t from 'tap'
import { WriteThread } from '../../lib/log/write-thread.ts'
import { KiB } from '../../lib/util/sizes.ts'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('small groups are written on the calling thread, large ones by the pool', async t => {
  const thread = new WriteThread()
  t.ok(thread.mayWriteHere(1, 0))
  t.ok(thread.mayWriteHere(256 * KiB, 0))
  t.notOk(thread.mayWriteHere(256 * KiB + 1, 0))
})

t.test('after a write that held the calling thread up, the pool writes, longer each time', async t => {
  const thread = new WriteThread()
  const isBackAfter = (count: number): boolean => {
    for (let i = 1; i < count; i += 1) thread.wroteThere()
    const wasAway = !thread.mayWriteHere(1, 0)
    thread.wroteThere()
    return wasAway && thread.mayWriteHere(1, 0)
  }
  thread.wroteHere(1.9)
  t.ok(thread.mayWriteHere(1, 0), 'that was quick enough')
  thread.wroteHere(2.1)
  t.ok(isBackAfter(4))
  thread.wroteHere(2.1)
  t.ok(isBackAfter(16))
  thread.wroteHere(2.1)
  t.ok(isBackAfter(64))
  for (let i = 0; i < 3; i += 1) {
    thread.wroteHere(2.1)
    t.ok(isBackAfter(256), 'and no longer than that')
  }
  for (let i = 0; i < 64; i += 1) thread.wroteHere(0.1)
  thread.wroteHere(2.1)
  t.ok(isBackAfter(4), 'what was slow is forgotten')
})

t.test('a program that awaits append after append in microtasks keeps its event loop turning', async t => {
  const thread = new WriteThread()
  t.ok(thread.mayWriteHere(1, 100))
  t.ok(thread.mayWriteHere(1, 100.9))
  t.notOk(thread.mayWriteHere(1, 101), 'the event loop has stood still for 1 ms')
  await new Promise(resolve => setImmediate(resolve))
  t.ok(thread.mayWriteHere(1, 102))
})

for (const durability of ['none', 'buffered'] as const) {
  t.test(`under "${durability}", timers fire beside a loop that awaits one append after the other`, async t => {
    const log = await openLog(await tempDir(t), { config: { durability } })
    t.teardown(() => log.close())
    const calls = await callsUntilTimer(() => log.append([{ value: 'x' }]))
    t.ok(calls < 300_000, `after ${calls} appends`)
  })
}

t.test('timers fire beside a loop that reads the same records from memory again and again', async t => {
  const log = await openLog(await tempDir(t), { config: { durability: 'none' } })
  t.teardown(() => log.close())
  await log.append([{ value: 'x' }])
  const calls = await callsUntilTimer(() => log.read(0))
  t.ok(calls < 300_000, `after ${calls} reads`)
})

async function callsUntilTimer(call: () => Promise<unknown>): Promise<number> {
  let fired = false
  setTimeout(() => {
    fired = true
  }, 20)
  let calls = 0
  for (; !fired && calls < 300_000; calls += 1) await call()
  return calls
}
