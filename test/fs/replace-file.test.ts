import t from 'tap'
import { type FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { readWholeFile, replaceFile } from '../../lib/fs/replace-file.ts'

const NEW = Buffer.alloc(3000, 'n')

t.test('the steps are: write, fsync, rename, fsync of the folder', async t => {
  const { fs, calls } = await setUp()
  await replaceFile(fs, '/d/file', NEW)
  t.strictSame(calls, ['open', 'write', 'sync', 'close', 'rename', 'syncDirectory'])
})

t.test(
  'whichever call fails, and after a power cut at any of them, the file is the old one or the new one',
  async t => {
    const outcomes = new Set<string>()
    for (let failing = 0; failing < 6; failing += 1) {
      for (const fault of ['error', 'power cut', 'power cut that keeps names'] as const) {
        const { fs } = await setUp()
        let calls = 0
        fs.onCall = () => {
          if (calls++ !== failing) return
          if (fault === 'error') throw Object.assign(new Error('EIO'), { code: 'EIO' })
          fs.powerCut({ name: () => fault.endsWith('names') })
          throw new Error('power is gone')
        }
        await t.rejects(replaceFile(fs, '/d/file', NEW))
        fs.onCall = undefined
        if (fault === 'error') fs.powerCut()
        const found = String(await readWholeFile(fs, '/d/file', 10_000))
        t.ok(found === 'old' || found === String(NEW), `${fault} at call ${failing}`)
        outcomes.add(found)
        await replaceFile(fs, '/d/file', NEW)
        t.equal(String(await readWholeFile(fs, '/d/file', 10_000)), String(NEW), 'and the next time works')
      }
    }
    t.equal(outcomes.size, 2, 'both outcomes were seen')
  }
)

t.test('after it resolved, a power cut leaves the new content', async t => {
  const { fs } = await setUp()
  await replaceFile(fs, '/d/file', NEW)
  fs.powerCut()
  t.equal(String(await readWholeFile(fs, '/d/file', 10_000)), String(NEW))
})

t.test('a short write is completed', async t => {
  const { fs } = await setUp()
  fs.onCall = ({ operation }) => (operation === 'write' ? 1000 : undefined)
  await replaceFile(fs, '/d/file', NEW)
  fs.onCall = undefined
  t.ok(NEW.equals((await readWholeFile(fs, '/d/file', 10_000))!))
})

t.test('a write that gets nowhere fails, and leaves the old file and nothing else', async t => {
  const { fs } = await setUp()
  let writes = 0
  fs.onCall = ({ operation }) => (operation === 'write' ? Math.max(0, 100 - writes++ * 50) : undefined)
  await t.rejects(replaceFile(fs, '/d/file', NEW), { code: 'STORAGE_FAILED', details: { position: 150 } })
  fs.onCall = undefined
  t.equal(String(await readWholeFile(fs, '/d/file', 10_000)), 'old')
  t.strictSame(await names(fs), ['file'])
})

t.test('what lies under the temporary name is replaced, not written through', async t => {
  const { fs } = await setUp()
  fs.makeSymlink('/d/file', '/d/other.tmp')
  await replaceFile(fs, '/d/other', NEW)
  t.equal(String(await readWholeFile(fs, '/d/file', 10_000)), 'old')
  t.ok(NEW.equals((await readWholeFile(fs, '/d/other', 10_000))!))
})

t.test('mode and owner are those asked for', async t => {
  const { fs } = await setUp()
  await replaceFile(fs, '/d/file', NEW, { permissions: 0o640, owner: { uid: 12, gid: 34 } })
  t.match(await fs.stat('/d/file'), { mode: 0o640, uid: 12, gid: 34 })
})

t.test('a file that is too large is refused before memory is allocated for it', async t => {
  const { fs } = await setUp()
  const handle = await fs.open('/d/large', 'create')
  await handle.write(Buffer.from('x'), 5_000_000)
  const wanted: (number | undefined)[] = []
  fs.onCall = ({ operation, length }: FileSystemCall) => void (operation === 'read' && wanted.push(length))
  await t.rejects(readWholeFile(fs, '/d/large', 4_999_999), { code: 'CORRUPT_FILE', details: { size: 5_000_001 } })
  t.strictSame(wanted, [])
  t.equal((await readWholeFile(fs, '/d/large', 5_000_001))?.length, 5_000_001)
})

t.test('a missing file is undefined, an empty one is empty, a folder is an error', async t => {
  const { fs } = await setUp()
  t.equal(await readWholeFile(fs, '/d/none', 10), undefined)
  await replaceFile(fs, '/d/empty', Buffer.alloc(0))
  t.equal((await readWholeFile(fs, '/d/empty', 10))?.length, 0)
  await t.rejects(readWholeFile(fs, '/d', 10))
})

async function setUp() {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/d')
  await fs.syncDirectory('/')
  await replaceFile(fs, '/d/file', Buffer.from('old'))
  const calls: string[] = []
  fs.onCall = ({ operation }) => void calls.push(operation)
  return { fs, calls }
}

async function names(fs: MemoryFileSystem): Promise<string[]> {
  return (await fs.readDirectory('/d')).map(entry => entry.name)
}
