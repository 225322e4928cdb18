import { createHash } from 'node:crypto'
import { chmod, cp, lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

type Test = Parameters<typeof tempDir>[0]

/** Path, kind, mode, time of change and content of everything in a folder. */
export async function photograph(dir: string): Promise<Map<string, string>> {
  const seen = new Map<string, string>()
  for (const entry of (await readdir(dir, { recursive: true, withFileTypes: true })).sort()) {
    const path = join(entry.parentPath, entry.name)
    const { mode, mtimeMs, size } = await lstat(path)
    const content = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : ''
    seen.set(path.slice(dir.length), `${mode.toString(8)} ${mtimeMs} ${size} ${content}`)
  }
  return seen
}

/** A directory as a broker left it, with modes as brokers have them. */
export async function brokersDirectory(t: Test, version = 'kafka-4.3.1', folder = 'clean'): Promise<string> {
  const dir = await tempDir(t)
  await cp(fixture('golden', version, folder), dir, { recursive: true })
  await chmod(dir, 0o755)
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
  }
  return dir
}

/** What a killed process leaves behind: a copy of the files of a store that is still open. */
export async function crashImage(t: Test, dir: string): Promise<string> {
  const image = await tempDir(t)
  // Sockets are the lock of the living process.
  await cp(dir, image, { recursive: true, filter: async path => !(await lstat(path)).isSocket() })
  await chmod(image, 0o700)
  return image
}

export async function values(log: PartitionLog): Promise<string[]> {
  const found: string[] = []
  for await (const record of log.records({ from: 'earliest' })) found.push(String(record.value))
  return found
}
