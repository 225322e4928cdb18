import { test } from 'tap'
import { ClockGuard } from '../../lib/store/clock-guard.ts'
import { ManualClock } from '../helpers/manual-clock.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const YEAR = 365 * 24 * HOUR

const guarded = (): { clock: ManualClock; guard: ClockGuard } => {
  const clock = new ManualClock()
  return { clock, guard: new ClockGuard(clock) }
}

test('a clock that only goes on is trusted, however long nobody looked', async t => {
  const { clock, guard } = guarded()
  t.same(guard.check(), { trusted: true })
  clock.advance(30 * 24 * HOUR)
  t.same(guard.check(), { trusted: true })
})

test('a jump ahead beyond the bound is told with its size, and until when', async t => {
  const { clock, guard } = guarded()
  clock.jumpTo(clock.now() + 5 * MINUTE)
  t.ok(guard.check().trusted, 'five minutes are within the bound')
  clock.jumpTo(clock.now() + 1)
  t.same(guard.check(), { trusted: false, jumpMs: 5 * MINUTE + 1, settlesInMs: HOUR })
  clock.advance(10 * MINUTE)
  t.same(guard.check(), { trusted: false, jumpMs: 5 * MINUTE + 1, settlesInMs: 50 * MINUTE })
})

test('after an hour without a further jump the new time is the right one', async t => {
  const { clock, guard } = guarded()
  clock.jumpTo(clock.now() + YEAR)
  t.notOk(guard.check().trusted)
  clock.advance(HOUR - 1)
  t.notOk(guard.check().trusted)
  clock.advance(1)
  t.ok(guard.check().trusted)
  clock.jumpTo(clock.now() + YEAR)
  t.notOk(guard.check().trusted, 'the next one is a jump again')
})

test('a further jump begins the hour anew', async t => {
  const { clock, guard } = guarded()
  clock.jumpTo(clock.now() + YEAR)
  guard.check()
  clock.advance(50 * MINUTE)
  clock.jumpTo(clock.now() + YEAR)
  t.same(guard.check(), { trusted: false, jumpMs: 2 * YEAR, settlesInMs: HOUR })
})

test('a clock that comes back is trusted at once, and so is one that somebody vouches for', async t => {
  const { clock, guard } = guarded()
  const right = clock.now()
  clock.jumpTo(right + YEAR)
  t.notOk(guard.check().trusted)
  clock.jumpTo(right + 1000)
  t.ok(guard.check().trusted)
  clock.jumpTo(right + YEAR)
  t.notOk(guard.check().trusted)
  guard.acknowledge()
  t.ok(guard.check().trusted)
})

test('set back suspends nothing; ahead again from there does', async t => {
  const { clock, guard } = guarded()
  const before = clock.now()
  clock.jumpTo(before - YEAR)
  t.ok(guard.check().trusted)
  clock.advance(HOUR)
  clock.jumpTo(before)
  t.match(guard.check(), { trusted: false, jumpMs: YEAR - HOUR })
})

test('many small jumps add up to one; a clock that is adjusted does not', async t => {
  const { clock, guard } = guarded()
  for (let i = 0; i < 2; i += 1) {
    clock.advance(MINUTE)
    clock.jumpTo(clock.now() + 3 * MINUTE)
    t.equal(guard.check().trusted, i === 0, `jump ${i}`)
  }
  const other = guarded()
  for (let i = 0; i < 10_000; i += 1) {
    other.clock.advance(MINUTE)
    other.clock.jumpTo(other.clock.now() + 30)
    if (!other.guard.check().trusted) t.fail(`after ${i} minutes, ${30 * i} ms ahead`)
  }
  t.pass('five minutes ahead after a week, half a millisecond in a second')
})
