import fc from 'fast-check'
import t from 'tap'
import { hashKey, KeyOffsets } from '../../lib/log/key-offsets.ts'
import { MiB } from '../../lib/util/sizes.ts'

function hashOf(bytes: Uint8Array, seed: number): Buffer {
  const words = new Uint32Array(4)
  // Bytes of others around it, which must not matter.
  const around = Buffer.concat([Buffer.alloc(3, 255), bytes, Buffer.alloc(3, 255)])
  hashKey(around, 3, 3 + bytes.length, new Uint32Array(4).fill(seed), words)
  const hash = Buffer.alloc(16)
  for (const [i, word] of words.entries()) hash.writeUInt32LE(word, 4 * i)
  return hash
}

t.test('the hash is MurmurHash3 for x86 with 128 bits', async t => {
  // SMHasher's verification value: the hash of the hashes of 0, 0 1, 0 1 2, … with the seeds 256, 255, 254, …
  const hashes: Buffer[] = []
  for (let i = 0; i < 256; i += 1)
    hashes.push(
      hashOf(
        Uint8Array.from({ length: i }, (_, j) => j),
        256 - i
      )
    )
  t.equal(hashOf(Buffer.concat(hashes), 0).readUInt32LE(0), 0xb3ece62a)
  const words = (text: string): string => hashOf(Buffer.from(text), 0).swap32().toString('hex')
  t.equal(
    words('I will not buy this tobacconist’s, it is scratched.'.replace('’', "'")),
    '9b5b7ba2ef3f7866889adeaf00f3f98e'
  )
})

t.test('a table of offsets answers as a Map does, until it is full', async () => {
  const step = fc.record({
    what: fc.constantFrom('set', 'set', 'set', 'get', 'forget', 'clear'),
    key: fc.integer({ min: 0, max: 1200 }),
    offset: fc.oneof(
      fc.integer({ min: 0, max: 100 }),
      fc.maxSafeInteger().map(n => Math.abs(n) % (2 ** 53 - 1))
    )
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 3000, size: 'max' }), steps => {
      const table = new KeyOffsets(0)
      let model = new Map<string, number>()
      let taken = new Set<string>()
      for (const { what, key, offset } of steps) {
        const bytes = Buffer.from(`key-${key}`)
        const id = String(bytes)
        if (what === 'set') {
          const fits = taken.has(id) || taken.size < table.capacity
          if (table.set(bytes, 0, bytes.length, offset) !== fits) throw new Error(`${id} fits: ${fits}`)
          if (fits) model.set(id, offset)
          if (fits) taken.add(id)
        } else if (what === 'forget') {
          table.forget(bytes, 0, bytes.length)
          model.delete(id)
        } else if (what === 'clear' && key < 20) {
          table.clear()
          model = new Map()
          taken = new Set()
        }
        if (table.get(bytes, 0, bytes.length) !== model.get(id)) throw new Error(`${id} after ${what}`)
        if (table.size !== model.size) throw new Error(`size after ${what}`)
      }
    }),
    { numRuns: 60, seed: 1 }
  )
})

t.test('it grows up to its bound, keeps what it has, and refuses what is new beyond', async t => {
  const table = new KeyOffsets(3 * MiB)
  const bytes = Buffer.alloc(8)
  let count = 0
  for (; ; count += 1) {
    bytes.writeDoubleBE(count)
    if (!table.set(bytes, 0, 8, count * 2 ** 33)) break
  }
  t.equal(count, table.capacity)
  t.ok(count * 32 <= 3 * MiB && count * 64 > 3 * MiB, `${count} keys in 3 MiB`)
  for (let i = 0; i < count; i += 1) {
    bytes.writeDoubleBE(i)
    if (table.get(bytes, 0, 8) !== i * 2 ** 33) t.fail(`key ${i}`)
  }
})
