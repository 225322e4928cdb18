import { mkdir, readdir, realpath, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { NodeFileSystem, nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { type LocateOptions, locateDirectory } from '../../lib/store/locate-directory.ts'
import { tempDir } from '../helpers/paths.ts'

const writing: LocateOptions = {
  fs: nodeFileSystem,
  readOnly: false,
  createIfMissing: true,
  forceUnsafeFileSystem: false
}
const reading: LocateOptions = { ...writing, readOnly: true }

t.test('a missing folder is made for writing, with its parents, for its owner alone', async t => {
  const dir = await tempDir(t)
  const path = join(dir, 'a', 'b')
  t.equal(await locateDirectory(path, writing), await realpath(path))
  t.equal((await stat(path)).mode & 0o777, 0o700)
  t.equal((await stat(join(dir, 'a'))).mode & 0o777, 0o700)
})

t.test('it is not made for reading, nor when that was asked', async t => {
  const dir = await tempDir(t)
  await t.rejects(locateDirectory(join(dir, 'a'), reading), { code: 'NOT_A_DATA_DIRECTORY' })
  await t.rejects(locateDirectory(join(dir, 'a'), { ...writing, createIfMissing: false }), {
    code: 'NOT_A_DATA_DIRECTORY'
  })
  t.same(await readdir(dir), [])
})

t.test('an empty folder can be written but not read', async t => {
  const dir = await tempDir(t)
  t.equal(await locateDirectory(dir, writing), await realpath(dir))
  await t.rejects(locateDirectory(dir, reading), { code: 'NOT_A_DATA_DIRECTORY' })
})

t.test('a file, or a path through one, is no data directory', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'file'), 'x')
  await t.rejects(locateDirectory(join(dir, 'file'), writing), { code: 'NOT_A_DATA_DIRECTORY' })
  await t.rejects(locateDirectory(join(dir, 'file', 'x'), writing), { name: 'LogError' })
})

t.test('symbolic links on the way are resolved once; one that leads nowhere makes nothing', async t => {
  const dir = await tempDir(t)
  await mkdir(join(dir, 'real'))
  await symlink(join(dir, 'real'), join(dir, 'link'))
  t.equal(await locateDirectory(join(dir, 'link'), writing), await realpath(join(dir, 'real')))
  await symlink(join(dir, 'nowhere'), join(dir, 'dangling'))
  await t.rejects(locateDirectory(join(dir, 'dangling'), writing), { code: 'NOT_A_DATA_DIRECTORY' })
  t.same((await readdir(dir)).sort(), ['dangling', 'link', 'real'])
})

t.test('nothing is written into a folder that holds other things', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'thesis.tex'), 'x')
  await t.rejects(locateDirectory(dir, writing), { code: 'NOT_A_DATA_DIRECTORY', message: /thesis\.tex/ })
  t.same(await readdir(dir), ['thesis.tex'])
})

class NetworkFileSystem extends NodeFileSystem {
  override async volume(): Promise<{ type: number; freeBytes: number }> {
    return { type: 0x6969, freeBytes: 1e9 }
  }
}

t.test('writing on NFS is refused unless forced; reading works', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'meta.properties'), 'version=1\n')
  const fs = new NetworkFileSystem()
  await t.rejects(locateDirectory(dir, { ...writing, fs }), { code: 'UNSAFE_FILE_SYSTEM' })
  await locateDirectory(dir, { ...writing, fs, forceUnsafeFileSystem: true })
  await locateDirectory(dir, { ...reading, fs })
})

class ForbiddenFileSystem extends NodeFileSystem {
  override async readDirectory(): Promise<never> {
    throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
  }
}

t.test('a folder that this user may not read is named as that', async t => {
  const fs = new ForbiddenFileSystem()
  await t.rejects(locateDirectory(await tempDir(t), { ...writing, fs }), { code: 'PERMISSION_DENIED' })
  await t.rejects(locateDirectory(await tempDir(t), { ...reading, fs }), { code: 'PERMISSION_DENIED' })
})
