import fc from 'fast-check'
import t from 'tap'
import { KEYS_AT_ONCE, type KeyHash, makeKeyHash } from '../../lib/compaction/key-hash.ts'
import { KeyPlaces, LOAD_FACTOR, OffsetMap, SLOT_BYTES } from '../../lib/compaction/offset-map.ts'
import { SEED } from '../helpers/seed.ts'

function hashOf(hash: KeyHash, bytes: Buffer, start: number, end: number): number[] {
  hash.hashAll(bytes, Int32Array.of(start), Int32Array.of(end), 1)
  return [...hash.words.subarray(0, 4)]
}

/** The map with one key at a time. */
function put(map: OffsetMap, key: Uint8Array, offset: number): boolean {
  const places = new KeyPlaces()
  places.add(0, key.length, offset)
  return map.putAll(key, places) === 1
}

function get(map: OffsetMap, key: Uint8Array): number | undefined {
  const places = new KeyPlaces()
  places.add(0, key.length, 0)
  const found = new Float64Array(1)
  map.getAll(key, places, found)
  return found[0]
}

const seeds = Uint32Array.of(0x9e3779b9, 7, 0xffffffff, 0)

t.test('the hash is XXH64: of what others publish the values of', async t => {
  for (const kind of ['module', 'interface'] as const) {
    const hash = await makeKeyHash(new Uint32Array(4), kind)
    t.equal(hash.kind, kind)
    t.same(hashOf(hash, Buffer.alloc(0), 0, 0), [0x51d8e999, 0xef46db37, 0x51d8e999, 0xef46db37])
    t.same(hashOf(hash, Buffer.from('xabcx'), 1, 4), [0xad770999, 0x44bc2cf5, 0xad770999, 0x44bc2cf5])
  }
})

t.test('both ways to the hash give the same, for keys of every length', async t => {
  const fast = await makeKeyHash(seeds, 'module')
  const plain = await makeKeyHash(seeds, 'interface')
  t.equal((await makeKeyHash(seeds)).kind, 'module')
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) & 0xff))
  const lengths = [...Array(300).keys(), 65_535, 65_536, 65_537, 200_000, 5]
  for (const length of lengths) {
    const [ours, theirs] = [hashOf(fast, bytes, 9, 9 + length), hashOf(plain, bytes, 9, 9 + length)]
    if (ours.join() !== theirs.join()) t.fail(`length ${length}`)
    if (ours.slice(0, 2).join() === ours.slice(2).join()) t.fail(`the seeds make no difference at ${length}`)
  }
})

t.test('many keys at once, near to each other and far apart, hash as each of them does', async t => {
  const fast = await makeKeyHash(seeds, 'module')
  const plain = await makeKeyHash(seeds, 'interface')
  const bytes = Buffer.from(Array.from({ length: 2_000_000 }, (_, i) => (i * 7919 + (i >> 9)) & 0xff))
  for (const distance of [40, 500, 3900]) {
    const starts = new Int32Array(KEYS_AT_ONCE).map((_, i) => 7 + i * distance)
    const ends = starts.map((start, i) => start + (i % 41))
    for (const hash of [fast, plain]) hash.hashAll(bytes, starts, ends, KEYS_AT_ONCE)
    t.ok(Buffer.from(fast.words).equals(Buffer.from(plain.words)), `${distance} bytes apart`)
    t.same(hashOf(plain, bytes, starts[300]!, ends[300]!), [...fast.words.subarray(1200, 1204)])
  }
})

t.test('a map answers as one of the language does (M1)', async t => {
  const keys = fc.array(fc.uint8Array({ maxLength: 3 }), { maxLength: 300 })
  const same = fc.assert(
    fc.asyncProperty(keys, fc.integer({ min: 0, max: 2 ** 53 - 400 }), async (puts, from) => {
      const map = await OffsetMap.create({ memoryBytes: 400 * SLOT_BYTES, seeds })
      const model = new Map<string, number>()
      for (const [i, key] of puts.entries()) {
        if (!put(map, key, from + i)) return false
        model.set(Buffer.from(key).toString('hex'), from + i)
      }
      const found = puts.every(key => get(map, key) === model.get(Buffer.from(key).toString('hex')))
      return found && map.size === model.size && get(map, Buffer.from('none of them')) === -1
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
    t.ok(put(map, key, i))
  }
  key.writeInt32LE(90)
  t.notOk(put(map, key, 90))
  t.equal(get(map, key), -1)
  key.writeInt32LE(3)
  t.ok(put(map, key, 91))
  t.equal(get(map, key), 91)
  t.equal(map.size, 90)
})

t.test('a map is no larger than the keys that can come, and takes one key whatever it is given', async t => {
  t.equal((await OffsetMap.create({ memoryBytes: 2 ** 40, mostKeys: 90, seeds })).capacity, 90)
  const least = await OffsetMap.create({ memoryBytes: 0, seeds })
  t.equal(least.capacity, 1)
  t.ok(put(least, Buffer.from('a'), 5))
  t.notOk(put(least, Buffer.from('b'), 6))
})
