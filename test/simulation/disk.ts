/**
 * The disk of one life of the simulated program: a file system in memory that writes down every call, fails those it is
 * told to fail, and from a chosen call on does nothing more, as when the process was killed.
 */
import { createHash } from 'node:crypto'
import type { FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { Random } from './random.ts'
import type { FaultKind } from './schedule.ts'

const READING: ReadonlySet<string> = new Set([
  'stat',
  'handleStat',
  'read',
  'readDirectory',
  'readPastCache',
  'realPath',
  'volume'
])

/** Whether a call leaves the disk as it is. */
export function isReading({ operation, mode }: FileSystemCall): boolean {
  return (
    READING.has(operation) || operation === 'close' || (operation === 'open' && (mode === 'read' || mode === 'write'))
  )
}

/** Everything that happened, as one digest: two runs are the same if and only if theirs are. */
export class Trace {
  readonly #hash = createHash('sha256')
  #pending: string[] = []
  /** Keeps the lines as well: for people who look at a replay. */
  readonly lines: string[] | undefined
  /** Where thousands of schedules run, nobody looks at what they did. */
  readonly isOff: boolean

  constructor({ keepsLines = false, isOff = false } = {}) {
    this.lines = keepsLines ? [] : undefined
    this.isOff = isOff
  }

  add(line: string): void {
    if (this.isOff) return
    // Identities of topics and names of folders that go are drawn by the system.
    this.#pending.push(line.replace(/[0-9a-f]{32}-delete/, '#-delete'))
    if (this.#pending.length >= 256) this.#flush()
  }

  digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex').slice(0, 32)
  }

  #flush(): void {
    this.lines?.push(...this.#pending)
    this.#hash.update(`${this.#pending.join('\n')}\n`)
    this.#pending = []
  }
}

interface Fault {
  readonly kind: FaultKind
  /** Calls that it fits until it strikes. */
  left: number
  readonly forever: boolean
  readonly endsAfter: number | undefined
}

export class SimulatedDisk {
  readonly fs: MemoryFileSystem
  readonly #trace: Trace
  #fault: Fault | undefined
  /** Calls that change the disk until the end; `undefined`: it is not near. */
  #untilDead: number | undefined
  /** As it was when the process ended: a sync that fails from then on does no harm to it. */
  #left: MemoryFileSystem | undefined
  /** A sync failed here: what it was to cover may be gone though nobody cut the power. */
  hasFailedSync = false
  /** A write was not what it said. What follows is no failure of the engine unless it serves wrong bytes. */
  hasLied = false
  changes = 0
  /** A fault struck, or the armed end came. */
  wasReached = false

  /** How many turns a call takes; `undefined`: none. */
  readonly #turns: Random | undefined

  /** @param slowBy - a seed: calls that change the disk take turns of the event loop, and then take effect. */
  constructor(fs: MemoryFileSystem, trace: Trace, slowBy?: number) {
    this.fs = fs
    this.#trace = trace
    this.#turns = slowBy === undefined ? undefined : new Random(slowBy)
    fs.onCall = call => this.#enter(call)
  }

  get isDead(): boolean {
    return this.#left !== undefined
  }

  get isArmed(): boolean {
    return this.#untilDead !== undefined
  }

  /** The process ends, if it has not already. @returns what is on the disk, its own from here on. */
  die(): MemoryFileSystem {
    this.#left ??= this.fs.clone()
    return this.#left
  }

  /** After so many more calls that change the disk nothing happens here any more. */
  dieAfter(changes: number): void {
    this.#untilDead = changes
  }

  fail(kind: FaultKind, after: number, forever: boolean, endsAfter?: number): void {
    this.#fault = { kind, left: after, forever: forever && kind !== 'lie' && kind !== 'lose', endsAfter }
  }

  heal(): void {
    this.#fault = undefined
  }

  #enter(call: FileSystemCall): unknown {
    if (this.isDead) throw failure('EIO', 'the process is gone')
    const changes = !isReading(call)
    if (changes) {
      this.changes += 1
      if (this.#untilDead !== undefined && --this.#untilDead < 0) {
        this.wasReached = true
        this.die()
        this.#trace.add(`killed before ${nameOf(call)}`)
        throw failure('EIO', 'the process is gone')
      }
    }
    const fault = this.#fault
    const strikes = fault !== undefined && fits(fault.kind, call, changes) && --fault.left < 0
    if (!this.#trace.isOff) this.#trace.add(strikes ? `${nameOf(call)} ${fault.kind}` : nameOf(call))
    if (!strikes) return changes ? this.#taking(call) : undefined
    this.wasReached = true
    if (fault.endsAfter !== undefined) this.#untilDead ??= fault.endsAfter
    if (!fault.forever) this.#fault = undefined
    return this.#strike(fault, call)
  }

  /** The process may end meanwhile; then it has no effect. */
  async #take(turns: number): Promise<void> {
    for (let left = turns; left > 0; left -= 1) await new Promise<void>(resolve => setImmediate(resolve))
    if (this.isDead) throw failure('EIO', 'the process is gone')
  }

  #taking({ operation }: FileSystemCall): Promise<void> | undefined {
    if (this.#turns === undefined) return undefined
    const isSync = operation === 'datasync' || operation === 'sync'
    const turns = this.#turns.below(isSync ? 12 : 3)
    if (turns === 0) return undefined
    const taken = this.#take(turns)
    // A call on the caller's thread waits for nothing.
    taken.catch(() => undefined)
    return taken
  }

  #strike(fault: Fault, { operation, length = 0 }: FileSystemCall): unknown {
    const { kind } = fault
    switch (kind) {
      case 'full':
        this.#fault = { ...fault, kind: 'ENOSPC', left: 0 }
        return Math.floor(length / 2)
      case 'short':
        return Math.floor(length / 2)
      case 'lie':
      case 'lose':
        this.hasLied = true
        return kind
      default:
        if (operation === 'datasync' || operation === 'sync') this.hasFailedSync = true
        throw failure(kind === 'sync' ? 'EIO' : kind, `${operation} made to fail`)
    }
  }
}

function fits(kind: FaultKind, { operation, length = 0 }: FileSystemCall, changes: boolean): boolean {
  switch (kind) {
    case 'short':
    case 'full':
    case 'lie':
    case 'lose':
      return operation === 'write' && length > 1
    case 'EMFILE':
      return operation === 'open'
    case 'sync':
      return operation === 'datasync' || operation === 'sync' || operation === 'syncDirectory'
    case 'ENOSPC':
      return changes && operation !== 'unlink' && operation !== 'removeDirectory'
    default:
      return operation !== 'close'
  }
}

function nameOf({ operation, path, to, mode, position, length }: FileSystemCall): string {
  return `${operation} ${path} ${to ?? mode ?? position ?? ''} ${length ?? ''}`
}

function failure(code: string, why: string): Error {
  return Object.assign(new Error(`${code}: ${why}`), { code })
}
