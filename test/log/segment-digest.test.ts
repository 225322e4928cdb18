import t from 'tap'
import { digestOf } from '../../lib/log/segment-digest.ts'
import { batch, batches, DIR, file, memoryFolder } from '../helpers/partition-folder.ts'

const PATH = `${DIR}/${file(0)}`
/** XXH64 with seed 0 of no bytes, as its specification has it. */
const EMPTY_HASH = 'ef46db3751d8e999'

/** What a file of these bytes is said to be. */
async function digested(bytes: Buffer, options = {}) {
  return digestOf(await memoryFolder({ [file(0)]: bytes }), PATH, options)
}

t.test('a digest is XXH64 of the whole file and the number of its batches', async t => {
  t.match(await digested(Buffer.alloc(0)), { bytes: 0, digest: { batches: 0, hash: EMPTY_HASH } })
  const { default: xxhash } = await import('xxhash-wasm')
  const bytes = Buffer.concat(batches(0, 40, { valueBytes: 30_000 }))
  const hash = (await xxhash()).h64Raw(bytes).toString(16).padStart(16, '0')
  const found = await digested(bytes)
  t.same(found.digest, { batches: 40, hash }, 'over several pieces')
  t.match(found, { bytes: bytes.length, scan: { damage: undefined, nextOffset: 40, gapCount: 0 } })
})

t.test('a batch that is larger than a piece is in the hash once', async t => {
  const { default: xxhash } = await import('xxhash-wasm')
  const bytes = Buffer.concat([batch(0, { valueBytes: 700_000 }), batch(1, { valueBytes: 1_500_000 }), batch(2)])
  const hash = (await xxhash()).h64Raw(bytes).toString(16).padStart(16, '0')
  t.same((await digested(bytes)).digest, { batches: 3, hash })
})

t.test('behind damage the file is hashed to its end, so that two damaged files are told apart', async t => {
  const bytes = Buffer.concat(batches(0, 60, { valueBytes: 30_000 }))
  bytes[100] = (bytes[100] as number) ^ 1
  const one = await digested(bytes)
  t.match(one, { bytes: bytes.length, digest: { batches: 0 }, scan: { damage: { position: 0, kind: 'corrupt' } } })
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
  t.not((await digested(bytes)).digest?.hash, one.digest?.hash)
})

t.test('what no CRC covers changes the digest: base offset, leader epoch', async t => {
  const sound = await digested(Buffer.concat(batches(0, 3)))
  const bytes = Buffer.concat(batches(0, 3))
  const last = bytes.length - batch(2).length
  for (const at of [last + 6, last + 15]) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] as number) ^ 1
    const found = await digested(changed)
    t.equal(found.scan.damage, undefined, 'every CRC is right, and offsets go up')
    t.not(found.digest?.hash, sound.digest?.hash)
  }
  const epochAt = (): number => 7
  t.match((await digested(bytes, { epochAt })).scan.damage, { isWhole: true }, 'an epoch that is known is compared')
})

t.test('each piece is paid for before it is read, and paying can end it', async t => {
  const bytes = Buffer.concat(batches(0, 60, { valueBytes: 30_000 }))
  let spent = 0
  await digested(bytes, {
    spend: async (count: number) => {
      spent += count
    }
  })
  t.equal(spent, bytes.length)
  const stop = new Error('enough')
  await t.rejects(digested(bytes, { spend: () => Promise.reject(stop) }), stop)
})
