import fc from 'fast-check'
import t from 'tap'
import { makeKeyHash } from '../../lib/compaction/key-hash.ts'
import { LOAD_FACTOR, OffsetMap, SLOT_BYTES } from '../../lib/compaction/offset-map.ts'
import { SEED } from '../helpers/seed.ts'

const seeds = Uint32Array.of(0x9e3779b9, 7, 0xffffffff, 0)

t.test('the hash is XXH64: of what others publish the values of', async t => {
  for (const kind of ['module', 'interface'] as const) {
    const hash = await makeKeyHash(new Uint32Array(4), kind)
    t.equal(hash.kind, kind)
    hash.hash(Buffer.alloc(0), 0, 0)
    t.same([...hash.words], [0x51d8e999, 0xef46db37, 0x51d8e999, 0xef46db37])
    hash.hash(Buffer.from('xabcx'), 1, 4)
    t.same([...hash.words], [0xad770999, 0x44bc2cf5, 0xad770999, 0x44bc2cf5])
  }
})

t.test('both ways to the hash give the same, for keys of every length', async t => {
  const fast = await makeKeyHash(seeds, 'module')
  const plain = await makeKeyHash(seeds, 'interface')
  t.equal((await makeKeyHash(seeds)).kind, 'module')
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) & 0xff))
  const lengths = [...Array(300).keys(), 65_535, 65_536, 65_537, 200_000, 5]
  for (const length of lengths) {
    fast.hash(bytes, 9, 9 + length)
    plain.hash(bytes, 9, 9 + length)
    if (fast.words.join() !== plain.words.join()) t.fail(`length ${length}`)
  }
  t.notSame([...fast.words.subarray(0, 2)], [...fast.words.subarray(2)])
})

t.test('a map answers as one of the language does (M1)', async t => {
  const keys = fc.array(fc.uint8Array({ maxLength: 3 }), { maxLength: 300 })
  const same = fc.assert(
    fc.asyncProperty(keys, fc.integer({ min: 0, max: 2 ** 53 - 400 }), async (puts, from) => {
      const map = await OffsetMap.create({ memoryBytes: 400 * SLOT_BYTES, seeds })
      const model = new Map<string, number>()
      for (const [i, key] of puts.entries()) {
        if (!map.put(key, 0, key.length, from + i)) return false
        model.set(Buffer.from(key).toString('hex'), from + i)
      }
      const found = puts.every(key => map.get(key, 0, key.length) === model.get(Buffer.from(key).toString('hex')))
      return found && map.size === model.size && map.get(Buffer.from('none of them'), 0, 12) === -1
    }),
    { seed: SEED, numRuns: 300 }
  )
  await t.resolves(same)
})

t.test('a full map takes later offsets of the keys that it has, and no other key (M2)', async t => {
  const map = await OffsetMap.create({ memoryBytes: 100 * SLOT_BYTES, seeds })
  t.equal(map.capacity, 100 * LOAD_FACTOR)
  t.equal(map.memoryBytes, 100 * SLOT_BYTES)
  const key = Buffer.alloc(4)
  for (let i = 0; i < 90; i += 1) {
    key.writeInt32LE(i)
    t.ok(map.put(key, 0, 4, i))
  }
  key.writeInt32LE(90)
  t.notOk(map.put(key, 0, 4, 90))
  t.equal(map.get(key, 0, 4), -1)
  key.writeInt32LE(3)
  t.ok(map.put(key, 0, 4, 91))
  t.equal(map.get(key, 0, 4), 91)
  t.equal(map.size, 90)
})

t.test('a map is no larger than the keys that can come, and takes one key whatever it is given', async t => {
  t.equal((await OffsetMap.create({ memoryBytes: 2 ** 40, mostKeys: 90, seeds })).capacity, 90)
  const least = await OffsetMap.create({ memoryBytes: 0, seeds })
  t.equal(least.capacity, 1)
  t.ok(least.put(Buffer.from('a'), 0, 1, 5))
  t.notOk(least.put(Buffer.from('b'), 0, 1, 6))
})
