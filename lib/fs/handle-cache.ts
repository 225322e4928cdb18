import { LogError } from '../util/errors.ts'
import type { FileHandle, FileSystem } from './file-system.ts'
import { isSystemError, toLogError } from './system-errors.ts'

/** `write` also reads, so a handle for it serves both. */
export type HandleMode = 'read' | 'write'

/** The right to use a handle until it is given back. */
export interface Lease {
  readonly handle: FileHandle
  /** Idempotent. The handle must not be used afterwards. */
  release(): void
}

export interface HandleCacheStats {
  /** Files open now. */
  readonly open: number
  /** Of these, leased to somebody. */
  readonly leased: number
  readonly hits: number
  readonly misses: number
  readonly evicted: number
  /** Times a file was opened beyond the bound, because every open one was leased. */
  readonly exceeded: number
}

export const DEFAULT_MAX_OPEN = 512

/** Below this many, a shortage of descriptors has reasons that we cannot help. */
const LEAST_OPEN = 4

interface Entry {
  readonly path: string
  readonly handle: FileHandle
  readonly mode: HandleMode
  leases: number
  /** Used since the last search for something to close. */
  recentlyUsed: boolean
  /** No longer handed out; closed when the last lease ends. */
  retired: boolean
}

/**
 * Open files, at most so many at once, however many segments there are.
 *
 * Invariants:
 *   H1  A leased handle is never closed.
 *   H2  One handle for each path is handed out; one opened for reading is replaced when somebody wants to write.
 *   H3  Open files exceed the bound only by leases; such a file is closed as soon as it is given back.
 *   H4  Once `forget` returned, nobody gets the old file of that path, whatever is renamed to it.
 *
 * What goes is close to the least recently used: one round's grace for what was used since the last search
 * (second chance), so that a hit costs no bookkeeping. When the system has no descriptors left (EMFILE), idle files
 * are closed and the bound is lowered to what the system can give.
 */
export class HandleCache {
  readonly #fs: FileSystem
  #maxOpen: number
  /** In the order of the search: the next to look at comes first. */
  readonly #entries = new Map<string, Entry>()
  readonly #opening = new Map<string, { mode: HandleMode; forgotten: boolean; promise: Promise<Entry> }>()
  /** Includes those retired but still leased, and those being opened or closed. */
  #open = 0
  #closing = 0
  #leased = 0
  #hits = 0
  #misses = 0
  #evicted = 0
  #exceeded = 0
  #closed = false

  constructor(fs: FileSystem, { maxOpen = DEFAULT_MAX_OPEN }: { maxOpen?: number } = {}) {
    if (!Number.isInteger(maxOpen) || maxOpen < 1) throw new TypeError(`maxOpen must be 1 or more, not ${maxOpen}`)
    this.#fs = fs
    this.#maxOpen = maxOpen
  }

  get stats(): HandleCacheStats {
    return {
      open: this.#open,
      leased: this.#leased,
      hits: this.#hits,
      misses: this.#misses,
      evicted: this.#evicted,
      exceeded: this.#exceeded
    }
  }

  /** The bound, as lowered by a shortage of descriptors. */
  get maxOpen(): number {
    return this.#maxOpen
  }

  /**
   * @throws {LogError} TOO_MANY_OPEN_FILES when the system has no descriptor and nothing idle could be closed;
   *   STORE_CLOSED after `close`. Else the system's error (ENOENT …).
   */
  async acquire(path: string, mode: HandleMode): Promise<Lease> {
    for (;;) {
      this.#refuseClosed(path)
      const entry = this.#usable(path, mode)
      if (entry !== undefined) return this.#lease(entry)
      const opening = this.#opening.get(path)
      if (opening === undefined || opening.forgotten) {
        return new HandleLease(await this.#openShared(path, mode), this.#release)
      }
      // Somebody opens it already. What comes of it may be for reading only, or be closed before our turn comes.
      const opened = await opening.promise
      if (!opened.retired && serves(opened.mode, mode) && !this.#closed) return this.#lease(opened)
    }
  }

  /** As `acquire`, on the calling thread: for files that are expected in the page cache. */
  acquireSync(path: string, mode: HandleMode): Lease {
    this.#refuseClosed(path)
    const entry = this.#usable(path, mode)
    if (entry !== undefined) return this.#lease(entry)
    this.#misses += 1
    this.#makeRoomSync()
    this.#open += 1
    try {
      return new HandleLease(this.#admit(path, mode, this.#openFileSync(path, mode)), this.#release)
    } catch (error) {
      this.#open -= 1
      throw error
    }
  }

  /** A lease where the file is open already, at the cost of a lookup; `undefined` where it would have to be opened. */
  tryAcquire(path: string, mode: HandleMode): Lease | undefined {
    const entry = this.#closed ? undefined : this.#usable(path, mode)
    return entry === undefined ? undefined : this.#lease(entry)
  }

  /**
   * Lets go of the file behind a path, before it is renamed or unlinked. Resolves when it is closed, or at once
   * while it is leased: then it is closed with the last lease, and is nobody else's until then.
   */
  async forget(path: string): Promise<void> {
    const opening = this.#opening.get(path)
    if (opening !== undefined) opening.forgotten = true
    const entry = this.#entries.get(path)
    if (entry !== undefined) await this.#retire(entry)
  }

  /** `forget` for every file below a folder. */
  async forgetFolder(folder: string): Promise<void> {
    const prefix = folder.endsWith('/') ? folder : `${folder}/`
    const paths = new Set([...this.#entries.keys(), ...this.#opening.keys()])
    await Promise.all([...paths].filter(path => path.startsWith(prefix)).map(path => this.forget(path)))
  }

  /** Closes what is idle; what is leased closes when it is given back. */
  async close(): Promise<void> {
    this.#closed = true
    for (const opening of this.#opening.values()) opening.forgotten = true
    await Promise.all([...this.#entries.values()].map(entry => this.#retire(entry)))
  }

  #usable(path: string, mode: HandleMode): Entry | undefined {
    const entry = this.#entries.get(path)
    if (entry === undefined || !serves(entry.mode, mode)) return undefined
    this.#hits += 1
    return entry
  }

  #lease(entry: Entry): Lease {
    if (entry.leases === 0) this.#leased += 1
    entry.leases += 1
    entry.recentlyUsed = true
    return new HandleLease(entry, this.#release)
  }

  readonly #release = (entry: Entry): void => {
    entry.leases -= 1
    if (entry.leases > 0) return
    this.#leased -= 1
    if (entry.retired) void this.#closeHandle(entry).catch(ignore)
    // H3: it was opened beyond the bound; now that something is idle again, the bound holds again.
    else if (this.#open - this.#closing > this.#maxOpen) void this.#retire(entry).catch(ignore)
  }

  #openShared(path: string, mode: HandleMode): Promise<Entry> {
    this.#misses += 1
    const promise = this.#openEntry(path, mode)
    const opening = { mode, forgotten: false, promise }
    this.#opening.set(path, opening)
    return promise.finally(() => {
      if (this.#opening.get(path) === opening) this.#opening.delete(path)
    })
  }

  async #openEntry(path: string, mode: HandleMode): Promise<Entry> {
    this.#open += 1
    try {
      await this.#makeRoom()
      const handle = await this.#openFile(path, mode)
      return this.#admit(path, mode, handle)
    } catch (error) {
      this.#open -= 1
      throw error
    }
  }

  /**
   * Puts a new handle in the place of what is there for its path (H2), unless it was forgotten meanwhile (H4). It has
   * one lease from the start, whoever opened it: before that one is told, others may look for something to close.
   */
  #admit(path: string, mode: HandleMode, handle: FileHandle): Entry {
    const entry: Entry = { path, handle, mode, leases: 1, recentlyUsed: true, retired: false }
    this.#leased += 1
    if (this.#closed || this.#opening.get(path)?.forgotten === true) {
      entry.retired = true
      return entry
    }
    const previous = this.#entries.get(path)
    if (previous !== undefined) void this.#retire(previous).catch(ignore)
    this.#entries.set(path, entry)
    return entry
  }

  async #openFile(path: string, mode: HandleMode): Promise<FileHandle> {
    for (;;) {
      try {
        return await this.#fs.open(path, mode)
      } catch (error) {
        if (!isSystemError(error, 'EMFILE', 'ENFILE')) throw error
        const victim = this.#shortOfDescriptors()
        if (victim === undefined) throw toLogError(error, 'open', path)
        await this.#retire(victim)
      }
    }
  }

  #openFileSync(path: string, mode: HandleMode): FileHandle {
    for (;;) {
      try {
        return this.#fs.openSync(path, mode)
      } catch (error) {
        if (!isSystemError(error, 'EMFILE', 'ENFILE')) throw error
        const victim = this.#shortOfDescriptors()
        if (victim === undefined) throw toLogError(error, 'open', path)
        this.#retireSync(victim)
      }
    }
  }

  /** Lowers the bound below what is open now, and gives what to close. */
  #shortOfDescriptors(): Entry | undefined {
    this.#maxOpen = Math.max(LEAST_OPEN, Math.min(this.#maxOpen, this.#open - 2))
    return this.#victim()
  }

  /** The one being opened counts already. */
  async #makeRoom(): Promise<void> {
    while (this.#open - this.#closing > this.#maxOpen) {
      const victim = this.#victim()
      if (victim === undefined) {
        this.#exceeded += 1
        return
      }
      await this.#retire(victim)
    }
  }

  #makeRoomSync(): void {
    while (this.#open - this.#closing >= this.#maxOpen) {
      const victim = this.#victim()
      if (victim === undefined) {
        this.#exceeded += 1
        return
      }
      this.#retireSync(victim)
    }
  }

  #victim(): Entry | undefined {
    // Two rounds at most: the first takes the grace of what was used lately, the second finds it.
    for (let left = this.#entries.size * 2; left > 0; left -= 1) {
      const entry = firstOf(this.#entries)
      if (entry === undefined) return undefined
      if (entry.leases === 0 && !entry.recentlyUsed) {
        this.#evicted += 1
        return entry
      }
      entry.recentlyUsed = false
      this.#entries.delete(entry.path)
      this.#entries.set(entry.path, entry)
    }
    return undefined
  }

  async #retire(entry: Entry): Promise<void> {
    if (this.#takeOut(entry)) await this.#closeHandle(entry)
  }

  #retireSync(entry: Entry): void {
    if (!this.#takeOut(entry)) return
    this.#open -= 1
    entry.handle.closeSync()
  }

  /** True when the entry may be closed now, by whoever asked. */
  #takeOut(entry: Entry): boolean {
    if (entry.retired) return false
    entry.retired = true
    if (this.#entries.get(entry.path) === entry) this.#entries.delete(entry.path)
    return entry.leases === 0
  }

  async #closeHandle(entry: Entry): Promise<void> {
    this.#closing += 1
    try {
      await entry.handle.close()
    } finally {
      this.#closing -= 1
      this.#open -= 1
    }
  }

  #refuseClosed(path: string): void {
    if (this.#closed) throw new LogError('STORE_CLOSED', `cannot open ${path}: the store is closed`, { path })
  }
}

class HandleLease implements Lease {
  readonly handle: FileHandle
  #entry: Entry | undefined
  readonly #giveBack: (entry: Entry) => void

  constructor(entry: Entry, giveBack: (entry: Entry) => void) {
    this.handle = entry.handle
    this.#entry = entry
    this.#giveBack = giveBack
  }

  release(): void {
    const entry = this.#entry
    if (entry === undefined) return
    this.#entry = undefined
    this.#giveBack(entry)
  }
}

function serves(has: HandleMode, wanted: HandleMode): boolean {
  return has === wanted || has === 'write'
}

function firstOf(entries: Map<string, Entry>): Entry | undefined {
  for (const entry of entries.values()) return entry
  return undefined
}

/** A close that fails has closed all the same; what was written is the syncs' to answer for. */
function ignore(): void {}
