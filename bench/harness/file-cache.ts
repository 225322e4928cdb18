/** Files in the page cache, or out of it. */
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  statfsSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'

const DROP = '/proc/sys/vm/drop_caches'
const PIECE = Buffer.alloc(1024 * 1024)

function forEachFile(directory: string, visit: (file: number) => void): void {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = openSync(join(entry.parentPath, entry.name), 'r')
    try {
      visit(file)
    } finally {
      closeSync(file)
    }
  }
}

/** Reads every file below `directory` once, so that the page cache has it as far as memory reaches. */
export function fillPageCache(directory: string): void {
  forEachFile(directory, file => {
    while (readSync(file, PIECE) > 0);
  })
}

/** True where this process may empty the kernel's page cache: Linux, as root, outside most containers. */
export function canDropPageCache(): boolean {
  try {
    accessSync(DROP, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Empties the page cache of the whole machine, after what lies below `directory` is on the disk. */
export function dropPageCache(directory: string): void {
  // What is dirty, or mapped by a process, stays in the cache.
  forEachFile(directory, fsyncSync)
  writeFileSync(DROP, '1')
}

const TMPFS_MAGIC = 0x01021994

/** What a reader has to know of a cold read below `directory`; `undefined` where it comes from a disk. */
export function coldNote(directory: string): string | undefined {
  return statfsSync(directory).type === TMPFS_MAGIC ? 'not cold: tmpfs is memory, there is no disk below it' : undefined
}
