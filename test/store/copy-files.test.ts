import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { readWholeFile, replaceFile } from '../../lib/fs/replace-file.ts'
import { copyFile, tryLink } from '../../lib/store/copy-files.ts'
import { removeTree } from '../../lib/store/remove-tree.ts'

const attributes = { filePermissions: 0o640, folderPermissions: 0o750, owner: undefined }

async function withFile(bytes: Buffer): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/a')
  await replaceFile(fs, '/a/source', bytes)
  return fs
}

t.test('the first bytes of a file are copied, and what was copied survives a power cut once its name does', async t => {
  const bytes = Buffer.alloc(3_000_000, 'abc')
  const fs = await withFile(bytes)
  for (const length of [0, 1, 1_048_576, 1_048_577, 2_999_999, 3_000_000]) {
    await copyFile(fs, { from: '/a/source', to: `/a/${length}` }, length, attributes)
  }
  await fs.syncDirectory('/a')
  await fs.syncDirectory('/')
  fs.powerCut()
  for (const length of [0, 1, 1_048_576, 1_048_577, 2_999_999, 3_000_000]) {
    const copy = await readWholeFile(fs, `/a/${length}`, 1e7)
    t.ok(copy?.equals(bytes.subarray(0, length)), `${length} bytes`)
  }
  t.equal((await fs.stat('/a/1'))?.mode, 0o640)
})

t.test('a file that is shorter than was thought, or a target that is there, is an error', async t => {
  const fs = await withFile(Buffer.from('short'))
  await t.rejects(copyFile(fs, { from: '/a/source', to: '/a/copy' }, 6, attributes), { code: 'STORAGE_FAILED' })
  await t.rejects(copyFile(fs, { from: '/a/source', to: '/a/copy' }, 5, attributes), { code: 'EEXIST' })
  await t.rejects(copyFile(fs, { from: '/a/none', to: '/a/other' }, 5, attributes), { code: 'ENOENT' })
})

t.test('where there are no hard links, the caller is told to copy; other errors are errors', async t => {
  const fs = await withFile(Buffer.from('x'))
  t.equal(await tryLink(fs, '/a/source', '/a/second'), true)
  await t.rejects(tryLink(fs, '/a/none', '/a/third'), { code: 'ENOENT' })
  fs.onCall = ({ operation }) => {
    if (operation === 'link') throw Object.assign(new Error('EXDEV'), { code: 'EXDEV' })
    return undefined
  }
  t.equal(await tryLink(fs, '/a/source', '/a/third'), false)
})

t.test('a folder is removed with all in it, links not followed; none is no error', async t => {
  const fs = await withFile(Buffer.from('x'))
  await fs.makeDirectory('/b')
  await replaceFile(fs, '/b/kept', Buffer.from('y'))
  await fs.makeDirectory('/a/quarantine')
  await replaceFile(fs, '/a/quarantine/item', Buffer.from('z'))
  fs.makeSymlink('/b', '/a/link')
  await removeTree(fs, '/a')
  await removeTree(fs, '/a')
  t.equal(await fs.stat('/a'), undefined)
  t.ok(await fs.stat('/b/kept'))
})
