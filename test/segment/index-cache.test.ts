import t from 'tap'
import { CacheSlot } from '../../lib/segment/cache-slot.ts'
import { IndexCache } from '../../lib/segment/index-cache.ts'

t.test('what was used least goes when the budget is spent', async t => {
  const cache = new IndexCache({ maxBytes: 4000 })
  const gone: string[] = []
  const add = (name: string) => cache.add(1000, () => gone.push(name))
  const first = add('first')
  add('second')
  add('third')
  t.same(gone, [])
  // Everything was used since the last search: one round of grace, then the oldest goes.
  add('fourth')
  t.same(gone, ['first'])
  t.equal(cache.count, 3)
  t.ok(cache.bytes <= 4000)
  first.used = true
  add('fifth')
  t.same(gone, ['first', 'second'])
})

t.test('what is used between two searches stays', async t => {
  const cache = new IndexCache({ maxBytes: 4000 })
  const gone: string[] = []
  const add = (name: string) => cache.add(1000, () => gone.push(name))
  add('a')
  const b = add('b')
  add('c')
  add('d')
  b.used = true
  add('e')
  t.same(gone, ['a', 'c'])
})

t.test('an index larger than the budget is held until the next one comes', async t => {
  const cache = new IndexCache({ maxBytes: 100 })
  let evicted = 0
  cache.add(1_000_000, () => (evicted += 1))
  t.equal(cache.count, 1)
  cache.add(1, () => undefined)
  t.equal(evicted, 1)
  t.equal(cache.count, 1)
})

t.test('what its owner removes is not evicted, and costs nothing any more', async t => {
  const cache = new IndexCache()
  const entry = cache.add(1000, () => t.fail('removed already'))
  cache.remove(entry)
  cache.remove(entry)
  t.equal(cache.bytes, 0)
  t.equal(cache.count, 0)
  t.throws(() => new IndexCache({ maxBytes: -1 }), TypeError)
})

t.test('a slot keeps what it holds, and lets the cache drop what it lends', async t => {
  const cache = new IndexCache({ maxBytes: 500 })
  const held = new CacheSlot<{ memory: number }>()
  const lent = new CacheSlot<{ memory: number }>()
  held.hold({ memory: 10_000 }, cache)
  lent.lend({ memory: 100 }, cache)
  t.equal(cache.count, 1)
  cache.add(400, () => undefined)
  t.equal(lent.get(), undefined)
  t.equal(held.get()?.memory, 10_000)
  held.clear(cache)
  t.equal(held.get(), undefined)
})
