/** The judge of fs-comparison.lane.ts, where no file system can be mounted too. */
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { SEED } from '../helpers/seed.ts'
import { Random, seedBelow } from '../simulation/random.ts'
import { type Found, whatIsImpossible } from './fs-admits.ts'
import { Comparison, contentOf, FOLDERS } from './fs-comparison.ts'

const inMemory = (fs: MemoryFileSystem): Promise<Found> => contentOf(fs, folder => folder)

/** What a random power cut leaves of a twin. */
async function cut(fs: MemoryFileSystem, random: Random): Promise<Found> {
  const twin = fs.clone()
  twin.powerCut({
    sector: () => random.pick(['keep', 'drop', 'older', 'zero']),
    length: ({ least, most }) => random.between(least, most),
    name: () => random.chance(50)
  })
  return inMemory(twin)
}

t.test('whatever the file system in memory leaves is possible, and little else', async t => {
  let [refused, changes] = [0, 0]
  for (let n = 0; n < 60; n += 1) {
    const random = new Random(seedBelow(SEED, n))
    const comparison = new Comparison(undefined, random)
    await comparison.begin()
    for (let i = random.below(80); i > 0; i -= 1) await comparison.call()
    const { memory } = comparison
    const found = await cut(memory, random)
    t.equal(await whatIsImpossible(memory, FOLDERS, found), undefined, `seed ${SEED}, ${n}`)
    t.equal(await whatIsImpossible(memory, FOLDERS, await inMemory(memory)), undefined, 'nothing was lost')
    for (const [path, bytes] of found) {
      if (bytes.length === 0) continue
      const other = Buffer.from(bytes)
      other[random.below(other.length)] = 0xee
      changes += 1
      if ((await whatIsImpossible(memory, FOLDERS, new Map([...found, [path, other]]))) !== undefined) refused += 1
    }
  }
  t.ok(refused > 0.98 * changes && changes > 100, `${refused} of ${changes} changed bytes are noticed`)
})

t.test('what was made durable is there', async t => {
  const fs = new MemoryFileSystem()
  for (const folder of FOLDERS) await fs.makeDirectory(folder)
  await fs.syncDirectory('/')
  const handle = await fs.open('/work/f', 'create')
  await handle.write(Buffer.from('abc'), 0)
  await handle.sync()
  await handle.close()
  const judged = (found: Record<string, string>): Promise<string | undefined> =>
    whatIsImpossible(fs, FOLDERS, new Map(Object.entries(found).map(([path, text]) => [path, Buffer.from(text)])))
  t.equal(await judged({}), undefined, 'the name is not durable')
  t.equal(await judged({ '/work/f': 'abc' }), undefined)
  t.match(await judged({ '/work/f': 'ab' }), 'its length is 3 to 3')
  t.match(await judged({ '/work/f': 'abd' }), 'sector 0')
  t.match(await judged({ '/work/g': 'abc' }), '/work/g has 3 bytes')
  await fs.syncDirectory('/work')
  await fs.syncDirectory('/work/a')
  t.match(await judged({}), 'leaves: /work/f is not there')
  await fs.rename('/work/f', '/work/a/g')
  t.equal(await judged({ '/work/f': 'abc' }), undefined)
  t.equal(await judged({ '/work/a/g': 'abc' }), undefined)
  t.match(await judged({ '/work/a/g': 'abc', '/work/f': 'abc' }), 'no choice of [rename /work/f /work/a/g]')
  t.match(await judged({}), 'no choice')
})
