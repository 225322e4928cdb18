/**
 * Makes the kernel's memory warm before a measurement that creates files.
 *
 * On a virtual machine the first touch of a page that the host has not given yet costs up to ten times as much as a
 * page that was used before. Whoever comes first would pay for that, and the figures would have two humps. So every
 * contestant gets the same: a file of about the size of its own is written and removed, and the pages that are freed
 * are the ones it is given next.
 */
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const CHUNK_BYTES = 1024 * 1024
/** More than this would be written back while we write. */
const MAX_BYTES = 1024 * CHUNK_BYTES

/** @param bytes - size of the file; rounded up to 1 MiB, at most 1 GiB. */
export function warmPageCache(directory: string, bytes: number): void {
  if (bytes <= 0) return
  const path = join(directory, '.warm')
  const chunk = Buffer.alloc(CHUNK_BYTES, 'warm')
  const file = openSync(path, 'w')
  try {
    for (let written = 0; written < Math.min(bytes, MAX_BYTES); ) written += writeSync(file, chunk)
  } finally {
    closeSync(file)
    unlinkSync(path)
  }
}
