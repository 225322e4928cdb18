import fs from 'node:fs'
import type { FileHandle, FileStat } from './file-system.ts'
import type { PoolGate } from './pool-gate.ts'
import { QUICK_READ_BYTES, type QuickCalls } from './quick-calls.ts'

type Done<T> = (error: NodeJS.ErrnoException | null, value?: T) => void

/**
 * A file by its descriptor, over the callback forms of `node:fs`.
 *
 * Invariants:
 *   N1  The descriptor is closed only when no call on it is under way or waiting: its number may go to another
 *       file at once, and a late call would read or write that one.
 *   N2  At most one close, whatever is called how often.
 */
export class NodeFileHandle implements FileHandle {
  readonly path: string
  readonly #fd: number
  readonly #gate: PoolGate
  readonly #quick: QuickCalls | undefined
  /** Closing a file that was written may begin writing it out. */
  #changed = false
  #underWay = 0
  #closing: Promise<void> | undefined
  #whenIdle: (() => void) | undefined

  /**
   * Takes the descriptor over.
   *
   * @param quick - of a file that was neither made nor emptied by opening it.
   */
  constructor(path: string, fd: number, gate: PoolGate, quick?: QuickCalls) {
    this.path = path
    this.#fd = fd
    this.#gate = gate
    this.#quick = quick
  }

  read(target: Uint8Array, position: number): Promise<number> {
    // A read may stop early without being at the end (a signal, 2 GiB a call), so only 0 means end of file.
    const fd = this.#fd
    const length = target.byteLength
    if (length === 0) return Promise.resolve(0)
    const quick = length <= QUICK_READ_BYTES ? this.#quick : undefined
    if (quick?.allowed() === true) return settled(() => quick.run(() => this.readSync(target, position)))
    return this.#call(done => {
      checkPosition(position)
      let filled = 0
      const more = (error: NodeJS.ErrnoException | null, count: number): void => {
        filled += count
        if (error !== null || count === 0 || filled === length) done(error, filled)
        else fs.read(fd, target, filled, length - filled, position + filled, more)
      }
      fs.read(fd, target, 0, length, position, more)
    })
  }

  /** One read, as far as it goes: for direct I/O, where a second one would not be aligned. */
  readOnce(target: Uint8Array, position: number): Promise<number> {
    return this.#call(done => fs.read(this.#fd, target, 0, target.byteLength, position, done))
  }

  readSync(target: Uint8Array, position: number): number {
    this.#refuseClosed('read')
    checkPosition(position)
    const length = target.byteLength
    let filled = 0
    try {
      while (filled < length) {
        const count = fs.readSync(this.#fd, target, filled, length - filled, position + filled)
        if (count === 0) break
        filled += count
      }
    } catch (error) {
      throw withPath(error, this.path)
    }
    return filled
  }

  write(source: Uint8Array, position: number): Promise<number> {
    this.#changed = true
    return this.#call(done => {
      checkPosition(position)
      fs.write(this.#fd, source, 0, source.byteLength, position, done)
    })
  }

  writeSync(source: Uint8Array, position: number): number {
    this.#refuseClosed('write')
    this.#changed = true
    checkPosition(position)
    try {
      return fs.writeSync(this.#fd, source, 0, source.byteLength, position)
    } catch (error) {
      throw withPath(error, this.path)
    }
  }

  truncate(length: number): Promise<void> {
    this.#changed = true
    return this.#call(done => fs.ftruncate(this.#fd, length, done))
  }

  datasync(): Promise<void> {
    return this.#call(done => fs.fdatasync(this.#fd, done))
  }

  sync(): Promise<void> {
    return this.#call(done => fs.fsync(this.#fd, done))
  }

  async stat(): Promise<FileStat> {
    const quick = this.#quick
    if (quick?.allowed() === true) {
      this.#refuseClosed('fstat')
      return toFileStat(quick.run(() => fs.fstatSync(this.#fd)))
    }
    return toFileStat(await this.#call<fs.Stats>(done => fs.fstat(this.#fd, done)))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  closeSync(): void {
    if (this.#closing !== undefined) return
    if (this.#underWay > 0) throw new TypeError(`closeSync while a call on ${this.path} is under way`)
    this.#closing = Promise.resolve()
    fs.closeSync(this.#fd)
  }

  async #close(): Promise<void> {
    const quick = this.#changed || this.#underWay > 0 ? undefined : this.#quick
    if (quick?.allowed() === true) return quick.run(() => fs.closeSync(this.#fd))
    if (this.#underWay > 0) {
      await new Promise<void>(resolve => {
        this.#whenIdle = resolve
      })
    }
    return callThrough(this.#gate, done => fs.close(this.#fd, done))
  }

  #call<T>(invoke: (done: Done<T>) => void): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.path))
    return new Promise((resolve, reject) => {
      const done: Done<T> = (error, value) => {
        this.#gate.leave()
        this.#underWay -= 1
        if (this.#underWay === 0) this.#whenIdle?.()
        if (error === null || error === undefined) resolve(value as T)
        else reject(withPath(error, this.path))
      }
      this.#underWay += 1
      this.#gate.enter(() => {
        // Node checks its arguments before it starts; a slot must not be lost to a wrong position.
        try {
          invoke(done)
        } catch (error) {
          done(error as NodeJS.ErrnoException)
        }
      })
    })
  }

  #refuseClosed(call: string): void {
    if (this.#closing !== undefined) throw closedError(this.path, call)
  }
}

/** Runs one callback-style call through the gate. */
export function callThrough<T>(gate: PoolGate, invoke: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const done: Done<T> = (error, value) => {
      gate.leave()
      if (error === null || error === undefined) resolve(value as T)
      else reject(error)
    }
    gate.enter(() => {
      try {
        invoke(done)
      } catch (error) {
        done(error as NodeJS.ErrnoException)
      }
    })
  })
}

/** A call on this thread, in the form of one in the pool. */
function settled<T>(call: () => T): Promise<T> {
  try {
    return Promise.resolve(call())
  } catch (error) {
    return Promise.reject(error)
  }
}

export function toFileStat(stats: fs.Stats): FileStat {
  return {
    kind: entryKind(stats),
    size: stats.size,
    modifiedMs: stats.mtimeMs,
    mode: stats.mode & 0o777,
    uid: stats.uid,
    gid: stats.gid,
    device: stats.dev,
    inode: stats.ino
  }
}

export function entryKind(entry: fs.Stats | fs.Dirent): FileStat['kind'] {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  return entry.isSymbolicLink() ? 'symlink' : 'other'
}

/** Node takes a position that is none for "where the last call ended", which would put bytes anywhere. */
function checkPosition(position: number): void {
  if (!Number.isSafeInteger(position) || position < 0) throw new TypeError(`not a position in a file: ${position}`)
}

function closedError(path: string, call = 'use'): NodeJS.ErrnoException {
  return Object.assign(new Error(`EBADF: file is closed, ${call} '${path}'`), { code: 'EBADF', path })
}

/** A call on a descriptor fails without saying which file: the message is useless to an operator then. */
function withPath(error: unknown, path: string): unknown {
  if (error instanceof Error && !('path' in error)) Object.assign(error, { path })
  return error
}
