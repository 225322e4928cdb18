import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import { hasSubscribers, publish } from '../../lib/util/diagnostics.ts'

t.test('a message is made only for those who listen', async t => {
  let made = 0
  const message = () => {
    made += 1
    return { topic: 'orders' }
  }
  publish('roll', message)
  t.equal(made, 0)
  const heard: unknown[] = []
  const listener = (data: unknown) => heard.push(data)
  subscribe('heartwood:roll', listener)
  t.ok(hasSubscribers('roll'))
  t.notOk(hasSubscribers('flush'))
  publish('roll', message)
  publish('flush', message)
  unsubscribe('heartwood:roll', listener)
  publish('roll', message)
  t.same(heard, [{ topic: 'orders' }])
  t.equal(made, 1)
})
