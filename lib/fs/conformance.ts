/**
 * What any `FileSystem` must do, as tests: the promises F1 to F8 of `file-system.ts`, one by one. Runs under any test
 * framework. Somebody who supplies a file system of their own runs this against it.
 */
import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { contentOf, createWith, pattern, read, using } from './conformance-tools.ts'
import type { FileSystem } from './file-system.ts'
import { replaceFile } from './replace-file.ts'
import { writeFully } from './write-fully.ts'

/** A file system with an empty folder to work in, and what only its maker can do to it. */
export interface ConformanceSubject {
  readonly fs: FileSystem
  /** An empty folder, absolute. */
  readonly root: string
  /** Takes the power away and brings it back, when no file is open. Without it, F3 and F4 are tested as far as can be without. */
  readonly powerCut?: (() => Promise<void>) | undefined
  /** True when a power cut surely forgets what was not synced, as a simulation does and a disk may not. */
  readonly forgets?: boolean | undefined
  /** Makes the next sync of a file fail, with what it covers lost. Needed to test F6. */
  readonly failNextSync?: (() => void) | undefined
  /** Makes the next write of a file end after so many bytes. Needed to test F1. */
  readonly shortenNextWrite?: ((bytes: number) => void) | undefined
  readonly makeSymlink?: ((target: string, path: string) => Promise<void>) | undefined
  readonly dispose?: (() => Promise<void>) | undefined
}

type Check = (subject: ConformanceSubject) => Promise<void>

/**
 * @param run - registers one test: `(name, body) => test(name, body)`.
 * @param makeFs - a fresh subject for each test.
 */
export function fileSystemConformance(
  run: (name: string, body: () => Promise<void>) => void,
  makeFs: () => Promise<ConformanceSubject>
): void {
  for (const [name, check] of CHECKS) {
    run(name, async () => {
      const subject = await makeFs()
      try {
        await check(subject)
      } finally {
        await subject.dispose?.()
      }
    })
  }
}

const F1: [string, Check][] = [
  [
    'F1: a write says how much of it was written, and writeFully completes it',
    async ({ fs, root, shortenNextWrite }) => {
      const bytes = pattern(10_000)
      await using(fs, posix.join(root, 'a'), 'create', async handle => {
        shortenNextWrite?.(100)
        const written = await handle.write(bytes, 0)
        assert.ok(written > 0 && written <= bytes.length)
        if (shortenNextWrite !== undefined) assert.equal(written, 100)
        assert.equal((await handle.stat()).size, written)
        shortenNextWrite?.(7)
        await writeFully(handle, bytes, 0)
        assert.deepEqual(await contentOf(handle), bytes)
      })
    }
  ],
  [
    'F1: a write on the calling thread is the same write',
    async ({ fs, root }) => {
      await using(fs, posix.join(root, 'a'), 'create', async handle => {
        assert.equal(handle.writeSync(Buffer.from('abcdef'), 0), 6)
        assert.equal(handle.writeSync(Buffer.from('XY'), 2), 2)
        assert.equal(String(await contentOf(handle)), 'abXYef')
        assert.equal(await handle.write(Buffer.alloc(0), 3), 0)
        assert.equal(await handle.write(Buffer.alloc(0), 300), 0)
        assert.equal((await handle.stat()).size, 6, 'nothing written behind the end is nothing')
      })
    }
  ],
  [
    'F1: bytes written behind the end leave zeros before them',
    async ({ fs, root }) => {
      await using(fs, posix.join(root, 'a'), 'create', async handle => {
        await writeFully(handle, Buffer.from('end'), 5000)
        const content = await contentOf(handle)
        assert.equal(content.length, 5003)
        assert.ok(content.subarray(0, 5000).every(byte => byte === 0))
      })
    }
  ]
]

const F2: [string, Check][] = [
  [
    'F2: a read fills its target, less only at the end of the file, where 0 is no error',
    async ({ fs, root }) => {
      await using(fs, posix.join(root, 'a'), 'create', async handle => {
        const bytes = pattern(70_000)
        await writeFully(handle, bytes, 0)
        for (const read of [async (to: Buffer, at: number) => handle.readSync(to, at), handle.read.bind(handle)]) {
          const target = Buffer.alloc(50_000, 0xff)
          assert.equal(await read(target, 10), 50_000)
          assert.deepEqual(target, bytes.subarray(10, 50_010))
          assert.equal(await read(target, 69_990), 10)
          assert.deepEqual(target.subarray(0, 10), bytes.subarray(69_990))
          assert.equal(target[10], bytes[20], 'the rest of the target is left alone')
          assert.equal(await read(target, 70_000), 0)
          assert.equal(await read(target, 1_000_000), 0)
          assert.equal(await read(Buffer.alloc(0), 0), 0)
        }
      })
    }
  ],
  [
    'F2: truncating cuts the end off, and growing again shows zeros',
    async ({ fs, root }) => {
      await using(fs, posix.join(root, 'a'), 'create', async handle => {
        await writeFully(handle, pattern(1000), 0)
        await handle.truncate(300)
        assert.deepEqual(await contentOf(handle), pattern(1000).subarray(0, 300))
        await handle.truncate(600)
        assert.deepEqual(await contentOf(handle), Buffer.concat([pattern(1000).subarray(0, 300), Buffer.alloc(300)]))
      })
    }
  ],
  [
    'F2: reading past the cache gives the same bytes at any position, or says that it cannot',
    async ({ fs, root }) => {
      const path = posix.join(root, 'a')
      const bytes = pattern(2_500_001)
      await createWith(fs, path, bytes)
      const ranges: [number, number][] = [
        [0, 10],
        [4095, 2],
        [5000, 2_400_000],
        [2_500_000, 100],
        [2_500_001, 5],
        [9_000_000, 1]
      ]
      for (const [position, length] of ranges) {
        const found = await fs.readPastCache(path, position, length)
        if (found !== undefined) assert.ok(bytes.subarray(position, position + length).equals(found), `${position}`)
      }
    }
  ]
]

const F3: [string, Check][] = [
  [
    'F3: what a sync covered survives a power cut, content and length',
    async ({ fs, root, powerCut, forgets }) => {
      const path = posix.join(root, 'a')
      const handle = await fs.open(path, 'create')
      await writeFully(handle, pattern(5000), 0)
      await handle.datasync()
      await fs.syncDirectory(root)
      await writeFully(handle, Buffer.alloc(3000, 0xee), 4000)
      await handle.close()
      await powerCut?.()
      const found = await read(fs, path)
      assert.deepEqual(found.subarray(0, 4000), pattern(5000).subarray(0, 4000))
      if (forgets) assert.deepEqual(found, pattern(5000))
    }
  ],
  [
    'F3: a synced truncation survives a power cut; one that is not synced may come undone',
    async ({ fs, root, powerCut, forgets }) => {
      const paths = [posix.join(root, 'synced'), posix.join(root, 'unsynced')] as const
      for (const path of paths) {
        await createWith(fs, path, pattern(9000))
        const handle = await fs.open(path, 'write')
        await handle.truncate(100)
        if (path === paths[0]) await handle.sync()
        await handle.close()
      }
      if (powerCut === undefined) return
      await powerCut()
      assert.deepEqual(await read(fs, paths[0]), pattern(9000).subarray(0, 100))
      if (forgets) assert.deepEqual(await read(fs, paths[1]), pattern(9000))
    }
  ]
]

const F4: [string, Check][] = [
  [
    'F4: names made, changed and removed survive a power cut once their folder is synced, and not before',
    async ({ fs, root, powerCut, forgets }) => {
      for (const name of ['old', 'gone', 'stays']) await createWith(fs, posix.join(root, name), Buffer.from(name))
      await fs.rename(posix.join(root, 'old'), posix.join(root, 'new'))
      await fs.unlink(posix.join(root, 'gone'))
      await fs.makeDirectory(posix.join(root, 'folder'))
      await fs.syncDirectory(root)
      await fs.rename(posix.join(root, 'stays'), posix.join(root, 'strays'))
      await fs.unlink(posix.join(root, 'new'))
      const late = await fs.open(posix.join(root, 'late'), 'create')
      await late.datasync()
      await late.close()
      if (powerCut === undefined) return
      await powerCut()
      const names = (await fs.readDirectory(root)).map(entry => entry.name).sort()
      assert.ok(names.includes('folder') && !names.includes('old') && !names.includes('gone'))
      if (forgets) assert.deepEqual(names, ['folder', 'new', 'stays'])
    }
  ]
]

const F5: [string, Check][] = [
  [
    'F5: a rename replaces its target in one step',
    async ({ fs, root }) => {
      const path = posix.join(root, 'a')
      await replaceFile(fs, path, Buffer.alloc(1000, 0))
      let done = false
      const writer = (async () => {
        for (let round = 1; round <= 50; round += 1) await replaceFile(fs, path, Buffer.alloc(1000, round))
        done = true
      })()
      while (!done) {
        const content = await read(fs, path)
        assert.equal(content.length, 1000)
        assert.ok(
          content.every(byte => byte === content[0]),
          'a mix of two files'
        )
        await new Promise(setImmediate)
      }
      await writer
    }
  ],
  [
    'F5: a handle goes on with its file when the name goes to another, or to none',
    async ({ fs, root }) => {
      const path = posix.join(root, 'a')
      await createWith(fs, path, Buffer.from('first'))
      const first = await fs.open(path, 'read')
      await createWith(fs, posix.join(root, 'b'), Buffer.from('second'))
      await fs.rename(posix.join(root, 'b'), path)
      assert.equal(String(await contentOf(first)), 'first')
      const second = await fs.open(path, 'read')
      await fs.unlink(path)
      assert.equal(String(await contentOf(second)), 'second')
      await Promise.all([first.close(), second.close()])
    }
  ],
  [
    'F5: after a power cut in the middle of a replacement, the file is the old one or the new one',
    async ({ fs, root, powerCut }) => {
      const path = posix.join(root, 'a')
      await replaceFile(fs, path, Buffer.from('old'))
      await replaceFile(fs, path, Buffer.from('new'))
      const temporary = await fs.open(`${path}.tmp`, 'create')
      await writeFully(temporary, Buffer.from('newer'), 0)
      await temporary.sync()
      await temporary.close()
      await fs.rename(`${path}.tmp`, path)
      if (powerCut !== undefined) await powerCut()
      assert.match(String(await read(fs, path)), /^new(er)?$/)
    }
  ]
]

const F6: [string, Check][] = [
  [
    'F6: after a failed sync a later one succeeds and still the bytes may not be on the disk',
    async ({ fs, root, failNextSync, powerCut, forgets }) => {
      if (failNextSync === undefined || powerCut === undefined) return
      const path = posix.join(root, 'a')
      await createWith(fs, path, Buffer.from('before'))
      const handle = await fs.open(path, 'write')
      await writeFully(handle, Buffer.from('AFTER!'), 0)
      failNextSync()
      await assert.rejects(handle.datasync())
      await handle.datasync()
      assert.equal(String(await contentOf(handle)), 'AFTER!', 'the cache shows what the disk never got')
      const onDisk = await fs.readPastCache(path, 0, 6)
      if (onDisk !== undefined) assert.equal(String(onDisk), 'before')
      await handle.close()
      await powerCut()
      if (forgets) assert.equal(String(await read(fs, path)), 'before')
    }
  ]
]

const F7: [string, Check][] = [
  [
    'F7: a missing path is undefined from stat and ENOENT elsewhere',
    async ({ fs, root }) => {
      const path = posix.join(root, 'missing')
      assert.equal(await fs.stat(path), undefined)
      assert.equal(await fs.stat(posix.join(path, 'below')), undefined)
      const calls: (() => Promise<unknown>)[] = [
        () => fs.open(path, 'read'),
        () => fs.open(path, 'write'),
        () => fs.open(posix.join(path, 'below'), 'create'),
        async () => fs.openSync(path, 'read'),
        () => fs.readDirectory(path),
        () => fs.makeDirectory(posix.join(path, 'below')),
        () => fs.removeDirectory(path),
        () => fs.rename(path, posix.join(root, 'other')),
        () => fs.unlink(path),
        () => fs.link(path, posix.join(root, 'other')),
        () => fs.syncDirectory(path),
        () => fs.changeMode(path, 0o600),
        () => fs.setModifiedTime(path, 0),
        () => fs.realPath(path),
        () => fs.readPastCache(path, 0, 1)
      ]
      for (const call of calls) await assert.rejects(call, { code: 'ENOENT' }, call.toString())
    }
  ],
  [
    'F7: errors carry the code of the system',
    async ({ fs, root }) => {
      const file = posix.join(root, 'file')
      const folder = posix.join(root, 'folder')
      await createWith(fs, file, Buffer.from('x'))
      await fs.makeDirectory(folder)
      await createWith(fs, posix.join(folder, 'full'), Buffer.from('y'))
      await assert.rejects(fs.open(file, 'create'), { code: 'EEXIST' })
      await assert.rejects(async () => fs.openSync(file, 'create'), { code: 'EEXIST' })
      await assert.rejects(fs.makeDirectory(folder), { code: 'EEXIST' })
      await assert.rejects(fs.link(file, posix.join(folder, 'full')), { code: 'EEXIST' })
      await assert.rejects(fs.open(posix.join(file, 'below'), 'read'), { code: 'ENOTDIR' })
      await assert.rejects(fs.readDirectory(file), { code: 'ENOTDIR' })
      await assert.rejects(fs.syncDirectory(file), { code: 'ENOTDIR' })
      await assert.rejects(fs.removeDirectory(folder), { code: 'ENOTEMPTY' })
      await assert.rejects(fs.open(folder, 'write'), { code: 'EISDIR' })
      await assert.rejects(fs.rename(file, folder), { code: 'EISDIR' })
      const reading = async (): Promise<void> =>
        using(fs, folder, 'read', async handle => void (await contentOf(handle, 1)))
      await assert.rejects(reading, { code: 'EISDIR' })
      await assert.rejects(
        using(fs, file, 'read', async handle => void (await handle.write(Buffer.from('z'), 0))),
        {
          code: 'EBADF'
        }
      )
    }
  ],
  [
    'F7: a closed handle fails with EBADF, and closing again does nothing',
    async ({ fs, root }) => {
      const handle = await fs.open(posix.join(root, 'a'), 'create')
      const underWay = handle.write(Buffer.from('abc'), 0)
      await Promise.all([handle.close(), handle.close()])
      handle.closeSync()
      assert.equal(await underWay, 3, 'what was under way is waited for')
      await assert.rejects(handle.write(Buffer.from('abc'), 0), { code: 'EBADF' })
      await assert.rejects(handle.read(Buffer.alloc(3), 0), { code: 'EBADF' })
      await assert.rejects(async () => handle.readSync(Buffer.alloc(3), 0), { code: 'EBADF' })
      await assert.rejects(handle.datasync(), { code: 'EBADF' })
      assert.equal(String(await read(fs, posix.join(root, 'a'))), 'abc')
    }
  ],
  [
    'F7: no mode of opening follows a symbolic link as last component, nor does stat',
    async ({ fs, root, makeSymlink }) => {
      if (makeSymlink === undefined) return
      const target = posix.join(root, 'target')
      const link = posix.join(root, 'link')
      await createWith(fs, target, Buffer.from('x'))
      await makeSymlink(target, link)
      await makeSymlink(posix.join(root, 'nothing'), posix.join(root, 'dangling'))
      for (const mode of ['read', 'write', 'create-or-open', 'truncate'] as const) {
        await assert.rejects(fs.open(link, mode), { code: 'ELOOP' }, mode)
        await assert.rejects(async () => fs.openSync(link, mode), { code: 'ELOOP' }, mode)
        await assert.rejects(fs.open(posix.join(root, 'dangling'), mode), { code: 'ELOOP' }, mode)
      }
      await assert.rejects(fs.open(posix.join(root, 'dangling'), 'create'), { code: 'EEXIST' })
      await assert.rejects(fs.changeMode(link, 0o644), { code: 'ELOOP' })
      await assert.rejects(fs.readPastCache(link, 0, 1), { code: 'ELOOP' })
      assert.equal((await fs.stat(link))?.kind, 'symlink')
      assert.equal(await fs.realPath(link), await fs.realPath(target))
      assert.equal(String(await read(fs, target)), 'x', 'and nobody wrote through it')
    }
  ]
]

const F8: [string, Check][] = [
  [
    'F8: many calls on many handles run at once',
    async ({ fs, root }) => {
      await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          const path = posix.join(root, `file-${index}`)
          const bytes = pattern(3000 + index)
          await using(fs, path, 'create', async handle => {
            await writeFully(handle, bytes, 0)
            await Promise.all([handle.datasync(), handle.sync(), handle.stat()])
            const parts = [0, 1000, 2000].map(async at => {
              const target = Buffer.alloc(1000)
              assert.equal(await handle.read(target, at), 1000)
              assert.deepEqual(target, bytes.subarray(at, at + 1000))
            })
            await Promise.all(parts)
          })
        })
      )
      assert.equal((await fs.readDirectory(root)).length, 40)
    }
  ],
  [
    'modes of opening: what must exist, what must not, what is emptied',
    async ({ fs, root }) => {
      const path = posix.join(root, 'a')
      const opened = async (mode: 'create-or-open' | 'truncate'): Promise<string> => {
        let found = ''
        await using(fs, path, mode, async handle => {
          found = String(await contentOf(handle))
          await writeFully(handle, Buffer.from('full'), 0)
        })
        return found
      }
      assert.equal(await opened('create-or-open'), '')
      assert.equal(await opened('create-or-open'), 'full')
      assert.equal(await opened('truncate'), '')
      await fs.unlink(path)
      assert.equal(await opened('truncate'), '')
      const handle = fs.openSync(path, 'write')
      assert.equal(String(await contentOf(handle)), 'full')
      handle.closeSync()
    }
  ],
  [
    'permissions are those asked for, and by default nobody else may look',
    async ({ fs, root }) => {
      const mode = async (name: string): Promise<number | undefined> => (await fs.stat(posix.join(root, name)))?.mode
      await (await fs.open(posix.join(root, 'private'), 'create')).close()
      await (await fs.open(posix.join(root, 'shared'), 'create', 0o666)).close()
      await fs.makeDirectory(posix.join(root, 'folder'))
      await fs.makeDirectory(posix.join(root, 'open-folder'), 0o777)
      assert.equal(await mode('private'), 0o600)
      assert.equal(await mode('shared'), 0o666)
      assert.equal(await mode('folder'), 0o700)
      assert.equal(await mode('open-folder'), 0o777)
      await fs.changeMode(posix.join(root, 'shared'), 0o640)
      assert.equal(await mode('shared'), 0o640)
    }
  ],
  [
    'stat tells kind, size, time and identity; a hard link is the same file',
    async ({ fs, root }) => {
      const path = posix.join(root, 'a')
      await createWith(fs, path, Buffer.from('12345'))
      await fs.setModifiedTime(path, 1_600_000_000_000)
      const stat = await fs.stat(path)
      assert.equal(stat?.kind, 'file')
      assert.equal(stat.size, 5)
      assert.equal(stat.modifiedMs, 1_600_000_000_000)
      await fs.link(path, posix.join(root, 'b'))
      const other = await fs.stat(posix.join(root, 'b'))
      assert.deepEqual([other?.device, other?.inode], [stat.device, stat.inode])
      await fs.unlink(path)
      assert.equal(String(await read(fs, posix.join(root, 'b'))), '12345')
      await fs.changeOwner(posix.join(root, 'b'), stat.uid, stat.gid)
      const kinds = (await fs.readDirectory(root)).map(entry => `${entry.name} ${entry.kind}`)
      assert.deepEqual(kinds, ['b file'])
      assert.equal((await fs.stat(root))?.kind, 'directory')
    }
  ],
  [
    'a folder moves with what is in it, and the volume tells its free bytes',
    async ({ fs, root }) => {
      await fs.makeDirectory(posix.join(root, 'a'))
      await createWith(fs, posix.join(root, 'a', 'x'), Buffer.from('inside'))
      await fs.rename(posix.join(root, 'a'), posix.join(root, 'b'))
      assert.equal(String(await read(fs, posix.join(root, 'b', 'x'))), 'inside')
      await fs.unlink(posix.join(root, 'b', 'x'))
      await fs.removeDirectory(posix.join(root, 'b'))
      assert.deepEqual(await fs.readDirectory(root), [])
      const { type, freeBytes } = await fs.volume(root)
      assert.ok(Number.isSafeInteger(type) && freeBytes > 0)
    }
  ],
  [
    'a watch tells of a new file, and nothing after it is closed',
    async ({ fs, root }) => {
      let heard: () => void = () => undefined
      const first = new Promise<void>(resolve => {
        heard = resolve
      })
      const watch = fs.watch(root, () => heard())
      await createWith(fs, posix.join(root, 'a'), Buffer.from('x'))
      await first
      watch.close()
    }
  ]
]

const CHECKS = [...F1, ...F2, ...F3, ...F4, ...F5, ...F6, ...F7, ...F8]
