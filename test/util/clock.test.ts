import t from 'tap'
import { systemClock } from '../../lib/util/clock.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

t.test('the system clock shows the time and lets a timer fire once', async t => {
  t.ok(Math.abs(systemClock.now() - Date.now()) < 1000)
  t.ok(Number.isInteger(systemClock.now()))
  const before = systemClock.monotonic()
  let fired = 0
  const keepAlive = setTimeout(() => {}, 5000)
  await new Promise<void>(resolve => {
    systemClock.setTimer(5, () => {
      fired += 1
      resolve()
    })
  })
  clearTimeout(keepAlive)
  t.equal(fired, 1)
  t.ok(systemClock.monotonic() - before >= 4)
})

t.test('a timer that was called off does not fire, nor one of more than 24 days at once', async t => {
  let fired = 0
  systemClock.setTimer(1, () => fired++).cancel()
  // Node itself fires after 1 ms what does not fit into 32 bits.
  const far = [2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER].map(ms => systemClock.setTimer(ms, () => fired++))
  await new Promise(resolve => setTimeout(resolve, 30))
  t.equal(fired, 0)
  for (const timer of far) timer.cancel()
})

t.test('the manual clock fires what falls due, in order, at its own moment', async t => {
  const clock = new ManualClock(1000)
  const seen: string[] = []
  clock.setTimer(30, () => seen.push(`c at ${clock.now()}`))
  clock.setTimer(10, () => {
    seen.push(`a at ${clock.now()}`)
    clock.setTimer(5, () => seen.push(`b at ${clock.now()}`))
  })
  const cancelled = clock.setTimer(12, () => seen.push('never'))
  cancelled.cancel()
  clock.advance(29)
  t.same(seen, ['a at 1010', 'b at 1015'])
  t.equal(clock.pendingTimers, 1)
  clock.advance(1)
  t.same(seen.at(-1), 'c at 1030')
  clock.jumpTo(5)
  t.equal(clock.now(), 5)
  t.equal(clock.monotonic(), 30, 'the monotonic clock does not jump')
})

t.test('advancing asynchronously lets promises settle between timers', async t => {
  const clock = new ManualClock()
  const seen: string[] = []
  const sleep = (ms: number) => new Promise<void>(resolve => clock.setTimer(ms, resolve))
  const work = (async () => {
    for (const step of ['one', 'two', 'three']) {
      await sleep(10)
      seen.push(step)
    }
  })()
  await clock.advanceAsync(25)
  t.same(seen, ['one', 'two'])
  await clock.advanceAsync(5)
  await work
  t.same(seen, ['one', 'two', 'three'])
})
