/**
 * What a lookup costs, counted in calls through the FileSystem: one read of one index interval and its batch.
 */
import t from 'tap'
import type { FileHandle, FileSystem, OpenMode } from '../../lib/fs/file-system.ts'
import { NodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { sharedParts } from '../../lib/log/open-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { numbered, openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

/** Counts reads of `.log` files and the bytes they asked for. */
class CountingFileSystem extends NodeFileSystem {
  reads = 0
  bytes = 0

  override async open(path: string, mode: OpenMode, permissions?: number): Promise<FileHandle> {
    return this.#counted(await super.open(path, mode, permissions))
  }

  override openSync(path: string, mode: OpenMode): FileHandle {
    return this.#counted(super.openSync(path, mode))
  }

  #counted(handle: FileHandle): FileHandle {
    if (!handle.path.endsWith('.log')) return handle
    return new Proxy(handle, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown
        if (name === 'read' || name === 'readSync') {
          return (buffer: Uint8Array, position: number) => {
            this.reads += 1
            this.bytes += buffer.length
            return (value as FileHandle['read']).call(target, buffer, position)
          }
        }
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      }
    })
  }
}

t.test('a lookup by offset is one read of at most two index intervals and two batches', async t => {
  const dir = await tempDir(t)
  const indexIntervalBytes = 4096
  const writer = await openLog(dir, { config: { durability: 'none', indexIntervalBytes } })
  for (let i = 0; i < 20_000; i += 20) {
    await writer.append(numbered(20, i), { ownBatch: true })
  }
  await writer.close()
  const fs = new CountingFileSystem()
  const log = await openLog(dir, { clean: true, recoveryPoint: 20_000, shared: sharedParts({ fs: fs as FileSystem }) })
  t.teardown(() => log.close())
  await log.read(0, { maxBytes: 1 }) // the index is in memory from here on
  for (let i = 0; i < 500; i += 1) {
    const offset = (i * 7919) % 20_000
    fs.reads = 0
    fs.bytes = 0
    const { batches } = await log.read(offset, { maxBytes: 1 })
    const batch = new BatchView(batches)
    t.ok(batch.baseOffset <= offset && offset <= batch.lastOffset && batches.length === batch.size)
    if (fs.reads !== 1 || fs.bytes > 2 * (indexIntervalBytes + batch.size))
      t.fail(`${fs.reads} reads, ${fs.bytes} bytes for offset ${offset}`)
  }
})

t.test('what the writer still holds costs no read at all', async t => {
  const fs = new CountingFileSystem()
  const log = await openLog(await tempDir(t), { shared: sharedParts({ fs: fs as FileSystem }) })
  t.teardown(() => log.close())
  for (let i = 0; i < 100; i += 10) await log.append(numbered(10, i))
  fs.reads = 0
  for (let offset = 0; offset < 100; offset += 1) await log.read(offset)
  t.equal(fs.reads, 0)
  t.equal(log.stats().readsFromMemory, 100)
})
