import t from 'tap'
import { WriteThread } from '../../lib/log/write-thread.ts'
import { KiB } from '../../lib/util/sizes.ts'

t.test('small groups are written on the calling thread, large ones by the pool', async t => {
  const thread = new WriteThread()
  t.ok(thread.mayWriteHere(1))
  t.ok(thread.mayWriteHere(256 * KiB))
  t.notOk(thread.mayWriteHere(256 * KiB + 1))
})

t.test(
  'after a write that held the calling thread up, the pool writes until it was quick 32 times in a row',
  async t => {
    const thread = new WriteThread()
    thread.wroteHere(1.9)
    t.ok(thread.mayWriteHere(1), 'that was quick enough')
    thread.wroteHere(2.1)
    t.notOk(thread.mayWriteHere(1))
    for (let i = 0; i < 31; i += 1) thread.wroteThere(0.1)
    t.notOk(thread.mayWriteHere(1))
    thread.wroteThere(50)
    for (let i = 0; i < 31; i += 1) thread.wroteThere(0.1)
    t.notOk(thread.mayWriteHere(1), 'a slow one begins the count anew')
    thread.wroteThere(0.1)
    t.ok(thread.mayWriteHere(1))
  }
)
