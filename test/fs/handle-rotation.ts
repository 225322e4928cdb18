/** Reads 500 files in turn, with few descriptors; started by `handle-cache.test.ts`. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HandleCache } from '../../lib/fs/handle-cache.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'

const FILES = 500

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'heartwood-test-'))
  try {
    const paths = Array.from({ length: FILES }, (_, index) => join(folder, String(index)))
    for (const path of paths) await writeFile(path, path)
    const cache = new HandleCache(nodeFileSystem, { maxOpen: Number(process.argv[2]) })
    let right = 0
    let most = 0
    const read = async (path: string, sync: boolean): Promise<void> => {
      const target = Buffer.alloc(path.length)
      const lease = sync ? cache.acquireSync(path, 'read') : await cache.acquire(path, 'read')
      const count = sync ? lease.handle.readSync(target, 0) : await lease.handle.read(target, 0)
      lease.release()
      if (count === path.length && String(target) === path) right += 1
      most = Math.max(most, cache.stats.open)
    }
    for (const path of paths) await read(path, false)
    for (const path of paths) await read(path, true)
    for (const path of paths) await read(path, right % 2 === 0)
    for (let at = 0; at < FILES * 2; at += 10) {
      const some = Array.from({ length: 10 }, (_, index) => paths[(at + index * 37) % FILES]!)
      await Promise.all(some.map((path, index) => read(path, index % 3 === 0)))
    }
    process.stdout.write(`${right} reads right, at most ${most} open, bound now ${cache.maxOpen}\n`)
    await cache.close()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

main().catch(error => {
  process.stdout.write(`${error.stack}\n`)
  process.exitCode = 1
})
