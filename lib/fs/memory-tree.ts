/**
 * Names in memory, which know what a power cut would leave of them.
 *
 * Invariants:
 *   D1  `live` of a folder is what calls see; `durable` is what a power cut cannot take back.
 *   D2  Changes wait in `#pending`, in order. One call is one change, so a rename is durable as a whole or not at all.
 *   D3  `sync(folder)` makes durable, in order, every waiting change that touches the folder, and no other. What an older
 *       one that still waits says of the same name is out of date then.
 */
import { posix } from 'node:path'
import { MemoryFile } from './memory-file.ts'

export class MemoryFolder {
  readonly live = new Map<string, MemoryNode>()
  readonly durable = new Map<string, MemoryNode>()
  readonly inode: number
  mode: number
  uid = 0
  gid = 0
  modifiedMs: number

  constructor(fields: { inode: number; mode: number; modifiedMs: number }) {
    this.inode = fields.inode
    this.mode = fields.mode
    this.modifiedMs = fields.modifiedMs
  }
}

export class MemorySymlink {
  readonly target: string
  readonly inode: number
  readonly mode = 0o777
  uid = 0
  gid = 0
  modifiedMs: number

  constructor(target: string, fields: { inode: number; modifiedMs: number }) {
    this.target = target
    this.inode = fields.inode
    this.modifiedMs = fields.modifiedMs
  }
}

export type MemoryNode = MemoryFile | MemoryFolder | MemorySymlink

interface Assignment {
  readonly folder: MemoryFolder
  readonly name: string
  /** What the name means from here on; `undefined` for nothing. */
  readonly node: MemoryNode | undefined
}

/** One change of names that no `sync` has covered yet. */
export interface PendingChange {
  /** For people and for seeds: `create /a/b`, `rename /a/b.tmp /a/b`. */
  readonly what: string
  readonly assignments: readonly Assignment[]
}

const MAX_SYMLINKS = 40

/** A system's error, as `node:fs` would give it. */
export function systemError(code: string, call: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${REASONS[code] ?? 'failed'}, ${call} '${path}'`), {
    code,
    syscall: call,
    path
  })
}

const REASONS: Readonly<Record<string, string>> = {
  EBADF: 'bad file descriptor',
  EEXIST: 'file already exists',
  EIO: 'i/o error',
  EISDIR: 'illegal operation on a directory',
  ELOOP: 'too many symbolic links encountered',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  ENOTEMPTY: 'directory not empty',
  EPERM: 'operation not permitted'
}

export class MemoryTree {
  #root: MemoryFolder
  #pending: PendingChange[] = []

  constructor(root: MemoryFolder) {
    this.#root = root
  }

  get pending(): readonly PendingChange[] {
    return this.#pending
  }

  /** The same names, waiting changes and content, which go their own way from here. */
  clone(): MemoryTree {
    const twins = new Map<MemoryNode, MemoryNode>()
    const twinOf = <T extends MemoryNode>(node: T): T => {
      let twin = twins.get(node)
      if (twin === undefined) {
        twin = node instanceof MemoryFile ? node.clone() : node instanceof MemoryFolder ? new MemoryFolder(node) : node
        twins.set(node, twin)
        if (node instanceof MemoryFolder) fill(twin as MemoryFolder, node)
      }
      return twin as T
    }
    const fill = (twin: MemoryFolder, folder: MemoryFolder): void => {
      Object.assign(twin, { uid: folder.uid, gid: folder.gid })
      for (const [name, node] of folder.live) twin.live.set(name, twinOf(node))
      for (const [name, node] of folder.durable) twin.durable.set(name, twinOf(node))
    }
    const tree = new MemoryTree(twinOf(this.#root))
    tree.#pending = this.#pending.map(({ what, assignments }) => ({
      what,
      assignments: assignments.map(({ folder, name, node }) => ({
        folder: twinOf(folder),
        name,
        node: node && twinOf(node)
      }))
    }))
    return tree
  }

  /** The folder that holds the last name of a path, symbolic links on the way followed. */
  locate(path: string, call: string): { folder: MemoryFolder; name: string; node: MemoryNode | undefined } {
    const full = posix.resolve('/', path)
    if (full === '/') return { folder: this.#root, name: '', node: this.#root }
    const folder = this.folder(posix.dirname(full), call)
    const name = posix.basename(full)
    return { folder, name, node: folder.live.get(name) }
  }

  /** @throws ENOENT or ENOTDIR. */
  folder(path: string, call: string): MemoryFolder {
    const node = this.#follow(path, call).node
    if (node instanceof MemoryFolder) return node
    throw systemError('ENOTDIR', call, path)
  }

  realPath(path: string): string {
    return this.#follow(path, 'realpath').path
  }

  /** Applies a change to what calls see, and notes it down for a power cut. */
  change(what: string, ...assignments: readonly Assignment[]): void {
    for (const { folder, name, node } of assignments) {
      const before = folder.live.get(name)
      if (before instanceof MemoryFile) before.names -= 1
      if (node instanceof MemoryFile) node.names += 1
      if (node === undefined) folder.live.delete(name)
      else folder.live.set(name, node)
    }
    this.#pending.push({ what, assignments })
  }

  sync(folder: MemoryFolder): void {
    let left: PendingChange[] = []
    for (const change of this.#pending) {
      if (change.assignments.some(assignment => assignment.folder === folder)) {
        makeDurable(change)
        left = left.flatMap(older => withoutNames(older, change))
      } else left.push(change)
    }
    this.#pending = left
  }

  /** Leaves the durable names, and of the waiting changes those that `keeps` lets through, in order. */
  powerCut(keeps: (change: PendingChange) => boolean): void {
    for (const change of this.#pending) if (keeps(change)) makeDurable(change)
    this.#pending = []
    for (const { node } of this.walk()) if (node instanceof MemoryFile) node.names = 0
    revert(this.#root)
    for (const { node } of this.walk()) if (node instanceof MemoryFile) node.names += 1
  }

  /** Every name with what it means, folders before what is in them. */
  *walk(folder = this.#root, path = ''): Generator<{ path: string; node: MemoryNode }> {
    for (const [name, node] of folder.live) {
      yield { path: `${path}/${name}`, node }
      if (node instanceof MemoryFolder) yield* this.walk(node, `${path}/${name}`)
    }
  }

  #follow(path: string, call: string): { node: MemoryNode; path: string } {
    let names = posix.resolve('/', path).split('/').filter(Boolean)
    let links = 0
    for (;;) {
      const found = this.#descend(names, call, path)
      if (found.link === undefined) return { node: found.node, path: `/${names.join('/')}` }
      links += 1
      if (links > MAX_SYMLINKS) throw systemError('ELOOP', call, path)
      const target = posix.resolve(`/${names.slice(0, found.depth).join('/')}`, found.link.target)
      names = posix
        .resolve(target, ...names.slice(found.depth + 1))
        .split('/')
        .filter(Boolean)
    }
  }

  #descend(
    names: readonly string[],
    call: string,
    path: string
  ): { node: MemoryNode; depth: number; link: MemorySymlink | undefined } {
    let node: MemoryNode = this.#root
    for (const [depth, name] of names.entries()) {
      if (!(node instanceof MemoryFolder)) throw systemError('ENOTDIR', call, path)
      const next: MemoryNode | undefined = node.live.get(name)
      if (next === undefined) throw systemError('ENOENT', call, path)
      if (next instanceof MemorySymlink) return { node: next, depth, link: next }
      node = next
    }
    return { node, depth: names.length, link: undefined }
  }
}

/** What is left to say of `change` once `newer` is durable. */
function withoutNames(change: PendingChange, newer: PendingChange): PendingChange[] {
  const assignments = change.assignments.filter(
    ({ folder, name }) => !newer.assignments.some(other => other.folder === folder && other.name === name)
  )
  if (assignments.length === change.assignments.length) return [change]
  return assignments.length === 0 ? [] : [{ ...change, assignments }]
}

function makeDurable(change: PendingChange): void {
  for (const { folder, name, node } of change.assignments) {
    if (node === undefined) folder.durable.delete(name)
    else folder.durable.set(name, node)
  }
}

function revert(folder: MemoryFolder): void {
  folder.live.clear()
  for (const [name, node] of folder.durable) {
    folder.live.set(name, node)
    if (node instanceof MemoryFolder) revert(node)
  }
}
