/** The folder that a run works in: made with a name of its own, and gone when the run ends, however it ends. */
import fs from 'node:fs'
import { join } from 'node:path'
import { isSystemError, systemCode, toLogError } from '../fs/system-errors.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

const PREFIX = 'heartwood-bench-'

/** Room beside what is measured: folders, indexes, the file system's own needs. */
const RESERVE_BYTES = 32 * MiB

/**
 * Lets `work` use a new folder in `dir`, and removes it with all in it.
 *
 * @param sizeBytes - what the work will need at most, checked before anything is written.
 * @throws {LogError} INVALID_REQUEST when `dir` is no folder; NO_SPACE; PERMISSION_DENIED.
 */
export async function withScratch<T>(dir: string, sizeBytes: number, work: (folder: string) => Promise<T>): Promise<T> {
  const found = statOf(dir)
  if (!found.isDirectory()) throw new LogError('INVALID_REQUEST', `${dir} is not a directory`, { dir })
  requireSpace(dir, freeBytes(dir), sizeBytes)
  const folder = attempt('make a folder in', dir, () => fs.mkdtempSync(join(fs.realpathSync(dir), PREFIX)))
  try {
    return await work(folder)
  } catch (error) {
    // ENOSPC, EIO; what Node itself complains of (ERR_…) is a defect of ours.
    throw /^E[A-Z0-9]+$/.test(systemCode(error) ?? '') ? toLogError(error, 'measure in', dir) : error
  } finally {
    attempt('remove', folder, () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  }
}

/** Folders of other runs: under way now, or left by one that was killed. */
export function otherScratchFolders(dir: string): string[] {
  try {
    return fs.readdirSync(dir).filter(name => /^heartwood-bench-[A-Za-z0-9]{6}$/.test(name))
  } catch {
    // Whether the folder can be used is found out by using it.
    return []
  }
}

/** @throws {LogError} NO_SPACE */
export function requireSpace(dir: string, freeBytes: number, sizeBytes: number): void {
  const needed = sizeBytes + RESERVE_BYTES
  if (freeBytes >= needed) return
  const message =
    `${dir} has ${toMiB(freeBytes)} MiB free and ${toMiB(needed)} MiB are needed: ` +
    'free some space, or ask for less with --size or --quick'
  throw new LogError('NO_SPACE', message, { dir, freeBytes, needed })
}

function freeBytes(dir: string): number {
  const { bavail, bsize } = attempt('look at', dir, () => fs.statfsSync(dir))
  return bavail * bsize
}

function statOf(dir: string): fs.Stats {
  try {
    return fs.statSync(dir)
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR'))
      throw new LogError('INVALID_REQUEST', `there is no directory ${dir}: name one on the disk to measure`, { dir })
    throw toLogError(error, 'look at', dir)
  }
}

function attempt<T>(what: string, path: string, f: () => T): T {
  try {
    return f()
  } catch (error) {
    throw toLogError(error, what, path)
  }
}

function toMiB(bytes: number): number {
  return Math.round(bytes / MiB)
}
