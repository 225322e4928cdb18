import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nodeFileSystem as fs } from '../../lib/fs/node-file-system.ts'
import { listDirectory, refuseOtherFolders } from '../../lib/store/directory-listing.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

async function folderWith(t: Parameters<typeof tempDir>[0], names: readonly string[]): Promise<string> {
  const dir = await tempDir(t)
  for (const name of names) {
    if (name.endsWith('/')) await mkdir(join(dir, name), { recursive: true })
    else await writeFile(join(dir, name), '')
  }
  return dir
}

t.test("a broker's directory: its partitions, in order of topic and number", async t => {
  const listing = await listDirectory(fs, fixture('golden', 'kafka-4.3.1', 'clean'))
  t.ok(listing.isDataDirectory)
  t.equal(listing.partitions.length, 19)
  t.same(listing.partitions[0], { name: '__consumer_offsets-0', topic: '__consumer_offsets', partition: 0 })
  t.notOk(listing.brokerOwned)
})

t.test('partitions are ordered by number, not by text', async t => {
  const dir = await folderWith(t, ['meta.properties', 'a-10/', 'a-9/', 'a-b-0/'])
  t.same(
    (await listDirectory(fs, dir)).partitions.map(folder => folder.name),
    ['a-9', 'a-10', 'a-b-0']
  )
})

t.test('folders on their way out, strays, copies under way and everything else are left alone', async t => {
  const dir = await folderWith(t, [
    'meta.properties',
    'a-0/',
    'a-1.0123456789abcdef0123456789abcdef-delete/',
    'b-0.0123456789abcdef0123456789abcdef-stray/',
    'c-0.0123456789abcdef0123456789abcdef-future/',
    'remote-log-index-cache/',
    'lost+found/',
    'notes.txt',
    'd-0'
  ])
  const listing = await listDirectory(fs, dir)
  t.same(
    listing.partitions.map(folder => folder.name),
    ['a-0']
  )
  t.equal(listing.leftAlone.length, 3)
  t.same([...listing.unknown].sort(), ['d-0', 'notes.txt', 'remote-log-index-cache'], 'd-0 is a file')
})

t.test("the broker's metadata log makes the directory the broker's, and is no partition", async t => {
  const dir = await folderWith(t, ['__cluster_metadata-0/', 'a-0/'])
  const listing = await listDirectory(fs, dir)
  t.ok(listing.brokerOwned)
  t.same(
    listing.partitions.map(folder => folder.name),
    ['a-0']
  )
})

t.test('a symbolic link that looks like a partition is told apart', async t => {
  const dir = await folderWith(t, ['meta.properties'])
  const elsewhere = await tempDir(t)
  await symlink(elsewhere, join(dir, 'a-0'))
  const listing = await listDirectory(fs, dir)
  t.same(listing.partitions, [])
  t.same(
    listing.unsafe.map(folder => folder.name),
    ['a-0']
  )
})

t.test('a folder of other things is refused by what was found in it', async t => {
  const dir = await folderWith(t, ['Documents/', 'notes-1/', '.bashrc', 'todo.txt'])
  const listing = await listDirectory(fs, dir)
  t.notOk(listing.isDataDirectory)
  t.throws(() => refuseOtherFolders(dir, listing), { code: 'NOT_A_DATA_DIRECTORY', message: /Documents|\.bashrc|todo/ })
})

t.test('folders with a log in them are a data directory, even without any file beside them', async t => {
  const dir = await folderWith(t, ['a-0/', 'a-0/00000000000000000000.log'])
  refuseOtherFolders(dir, await listDirectory(fs, dir))
})

t.test('what every volume or file manager leaves behind does not count', async t => {
  const dir = await folderWith(t, ['lost+found/', '.DS_Store', '.lock', '.heartwood-lock-abc', 'meta.properties.tmp'])
  const listing = await listDirectory(fs, dir)
  t.ok(listing.empty)
  refuseOtherFolders(dir, listing)
})
