/** What a folder takes on the disk. */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export interface DiskUsage {
  /** Sum of the lengths of all files. */
  readonly bytes: number
  /** What the file system has given them: whole blocks, without holes. */
  readonly allocatedBytes: number
  readonly files: number
}

/** stat(2) counts blocks of 512 bytes, whatever those of the file system are. */
const STAT_BLOCK_BYTES = 512

/** Files below `directory`; the folders themselves are not counted. */
export function diskUsage(directory: string): DiskUsage {
  let bytes = 0
  let allocatedBytes = 0
  let files = 0
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const { size, blocks } = lstatSync(join(entry.parentPath, entry.name))
    bytes += size
    allocatedBytes += blocks * STAT_BLOCK_BYTES
    files += 1
  }
  return { bytes, allocatedBytes, files }
}
