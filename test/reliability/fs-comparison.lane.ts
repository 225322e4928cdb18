/**
 * The simulator's disk held against a real one: whatever ext4 leaves after a power cut, the file system in memory could
 * have left too. Else the simulator would try less than what happens.
 */
import { join } from 'node:path'
import t from 'tap'
import { SEED } from '../helpers/seed.ts'
import { Random, seedBelow } from '../simulation/random.ts'
import { writeFigures } from './figures.ts'
import { type Found, whatIsImpossible } from './fs-admits.ts'
import { Comparison, FOLDERS } from './fs-comparison.ts'
import { Disk, whyNoMounts } from './mounts.ts'
import { scratch } from './scratch.ts'
import { seedOf } from './seeds.ts'

t.setTimeout(600_000)

const CUTS = Number(process.env['HEARTWOOD_FS_CUTS'] ?? 120)
/**
 * As it is mounted by default, and without what makes ext4 kinder to programs that forget to sync. Not with nodelalloc:
 * there a sector that was written three times may come back as it was after the first, and the one in memory knows but
 * the newest of the older ones (M4).
 */
const MOUNTS = [[], ['noauto_da_alloc'], ['data=writeback', 'noauto_da_alloc']]

const skip = whyNoMounts('mkfs.ext4', 'xfs_io')

t.test('what ext4 leaves after a power cut, the file system in memory may leave', { skip }, async t => {
  const began = performance.now()
  const disk = new Disk(join(scratch(t), 'disk'), 'ext4')
  disk.mount()
  const wrong: string[] = []
  let [cuts, calls, changed] = [0, 0, 0]
  for (; cuts < CUTS && wrong.length < 5; cuts += 1) {
    const at = `seed ${seedOf(cuts)}, cut ${cuts}`
    const random = new Random(seedBelow(seedOf(cuts), cuts))
    const comparison = new Comparison(join(disk.mountPoint, `work-${cuts}`), random)
    await comparison.begin()
    const most = random.between(5, 120)
    let difference: string | undefined
    for (let i = 0; i < most && difference === undefined; i += 1) {
      difference = await comparison.call()
      calls += 1
    }
    difference ??= await comparison.difference()
    const before = await comparison.real()
    const options = MOUNTS[Math.floor((cuts + 1) / 10) % MOUNTS.length] ?? []
    disk.cutPower({ journal: random.chance(50) })
    disk.remount(...options)
    const found = await comparison.real()
    if (!isSame(before, found)) changed += 1
    difference ??= await whatIsImpossible(comparison.memory, FOLDERS, found)
    if (difference !== undefined) wrong.push(`${at}: ${difference}`)
  }
  disk.unmount()
  t.comment(JSON.stringify({ cuts, calls, changed }))
  t.same(wrong, [])
  t.ok(changed > cuts / 4, 'the cuts took something')
  writeFigures({
    lane: 'fs-comparison',
    seconds: Math.round((performance.now() - began) / 1000),
    seed: SEED,
    figures: [
      {
        name: 'power cuts of ext4 held against the simulator’s disk',
        goal: CUTS,
        found: cuts,
        unit: '',
        meaning:
          'Random writes, cuts, syncs, renamings and removals are made on ext4 and on the file system in memory; their answers agree, and what ext4 has left after the cut is something that the one in memory may leave.'
      },
      {
        name: 'of these, cuts that took or changed something',
        goal: null,
        found: changed,
        unit: '',
        meaning: 'Names or bytes were not as before the cut.'
      },
      { name: 'calls made on both', goal: null, found: calls, unit: '', meaning: 'With the same answers.' }
    ],
    defects: wrong.length
  })
})

function isSame(one: Found, other: Found): boolean {
  return one.size === other.size && [...one].every(([path, bytes]) => other.get(path)?.equals(bytes) === true)
}
