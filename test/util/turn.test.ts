import t from 'tap'
import { Turn } from '../../lib/util/turn.ts'

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

t.test('turns run one at a time, in the order they were asked for', async t => {
  const turn = new Turn()
  const seen: string[] = []
  const ask = (name: string, ms: number) =>
    turn.run(async () => {
      seen.push(`${name} begins`)
      await pause(ms)
      seen.push(`${name} ends`)
      return name
    })
  t.same(await Promise.all([ask('a', 5), ask('b', 1), ask('c', 0)]), ['a', 'b', 'c'])
  t.same(seen, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

t.test('a turn never begins before its asker has gone on', async t => {
  const turn = new Turn()
  let begun = false
  const done = turn.run(() => {
    begun = true
  })
  t.equal(begun, false)
  await done
  t.equal(begun, true)
})

t.test('a failure is the asker’s alone, and the next turn runs', async t => {
  const turn = new Turn()
  const failures = [
    turn.run(() => {
      throw new Error('thrown')
    }),
    turn.run(() => Promise.reject(new Error('rejected')))
  ]
  const after = turn.run(() => 'went on')
  await t.rejects(failures[0]!, { message: 'thrown' })
  await t.rejects(failures[1]!, { message: 'rejected' })
  t.equal(await after, 'went on')
})

t.test('idle means that nothing runs or waits', async t => {
  const turn = new Turn()
  t.equal(turn.idle, true)
  const one = turn.run(() => pause(2))
  t.equal(turn.isAwaited, false)
  const two = turn.run(() => pause(1))
  t.equal(turn.idle, false)
  t.equal(turn.isAwaited, true)
  await one
  t.equal(turn.idle, false)
  t.equal(turn.isAwaited, false)
  await two
  t.equal(turn.idle, true, 'as soon as the last asker knows')
  await t.rejects(turn.run(() => Promise.reject(new Error('x'))))
  t.equal(turn.idle, true)
})

t.test('ten thousand turns are no deeper than one', async t => {
  const turn = new Turn()
  let count = 0
  for (let i = 0; i < 10_000; i++) void turn.run(() => count++)
  t.equal(await turn.run(() => count), 10_000)
})
