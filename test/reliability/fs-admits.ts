/**
 * Whether a power cut of the file system in memory could have left what is found: for each name which file it leads to,
 * for each file its length and each of its sectors. `garble`, which would explain anything, is no explanation here.
 */
import { join } from 'node:path'
import { MemoryFile, SECTOR_BYTES, type SectorOutcome } from '../../lib/fs/memory-file.ts'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { MemoryFolder, type MemoryNode, type PendingChange } from '../../lib/fs/memory-tree.ts'

/** Content by path, of all files in the folders that are judged. */
export type Found = ReadonlyMap<string, Buffer>

const OUTCOMES: readonly SectorOutcome[] = ['keep', 'drop', 'older', 'zero']
const PROBE = '~probe'

/**
 * @param fs - as it was when the power was cut. It is left alone.
 * @param folders - paths; nothing outside of them is judged.
 * @returns what it could not have left, for people; `undefined` if it could have left all of it.
 */
export async function whatIsImpossible(
  fs: MemoryFileSystem,
  folders: readonly string[],
  found: Found
): Promise<string | undefined> {
  const twin = fs.clone()
  const count = twin.pendingChanges.length
  // A change in each folder leads to what the folder has for good.
  for (const folder of folders) await (await twin.open(join(folder, PROBE), 'create')).close()
  const changes = twin.pendingChanges.slice(0, count)
  const places = twin.pendingChanges.slice(count).map(({ assignments }) => (assignments[0] as Assignment).folder)
  return new Judge(folders, places, changes, found).judge()
}

type Assignment = PendingChange['assignments'][number]

interface Name {
  readonly path: string
  /** What a power cut cannot take back. */
  readonly durable: MemoryNode | undefined
  readonly bytes: Buffer | undefined
  /** What the changes that are not durable make of it. */
  readonly nodes: readonly (MemoryNode | undefined)[]
}

class Judge {
  readonly #changes: readonly PendingChange[]
  readonly #names = new Map<MemoryFolder, Map<string, Name>>()
  readonly #admitted = new Map<MemoryNode, Map<Buffer, boolean>>()

  constructor(
    folders: readonly string[],
    places: readonly MemoryFolder[],
    changes: readonly PendingChange[],
    found: Found
  ) {
    this.#changes = changes
    for (const [i, place] of places.entries()) {
      const folder = folders[i] as string
      const assigned = changes.flatMap(({ assignments }) => assignments.filter(({ folder: of }) => of === place))
      const there = [...found.keys()]
        .filter(path => join(path, '..') === folder)
        .map(path => path.slice(folder.length + 1))
      const names = new Set([...place.durable.keys(), ...assigned.map(({ name }) => name), ...there])
      const known = new Map<string, Name>()
      for (const name of names) {
        if (place.durable.get(name) instanceof MemoryFolder) continue
        const path = join(folder, name)
        const nodes = assigned.filter(of => of.name === name).map(({ node }) => node)
        known.set(name, { path, durable: place.durable.get(name), bytes: found.get(path), nodes })
      }
      this.#names.set(place, known)
    }
  }

  judge(): string | undefined {
    const all = [...this.#names.values()].flatMap(names => [...names.values()])
    for (const name of all) {
      const { path, bytes, durable, nodes } = name
      if (bytes === undefined || [durable, ...nodes].some(node => this.#isOf(name, node))) continue
      const files = [...new Set([durable, ...nodes])].filter(node => node instanceof MemoryFile)
      const reasons = files.map(file => `file ${file.inode}: ${whyNot(file, bytes)}`)
      return `${path} has ${bytes.length} bytes, which nothing of that name could have come back with (${reasons.join('; ')})`
    }
    if (this.#explains(this.#changes.length - 1, new Set(all))) return undefined
    const what = this.#changes.map(change => change.what).join('; ')
    const there = all.map(({ path, bytes }) => `${path} ${bytes === undefined ? 'is not there' : bytes.length}`)
    return `no choice of [${what}] leaves: ${there.join(', ')}`
  }

  /**
   * @param at - of the changes, from the last one down to this one it is still open which came to the disk.
   * @param undecided - names that none of the changes behind it, of those that did, speaks of.
   */
  #explains(at: number, undecided: ReadonlySet<Name>): boolean {
    const change = this.#changes[at]
    if (change === undefined) return [...undecided].every(name => this.#isOf(name, name.durable))
    const concerned = change.assignments.flatMap(({ folder, name, node }) => {
      const known = this.#names.get(folder)?.get(name)
      return known !== undefined && undecided.has(known) ? [{ known, node }] : []
    })
    if (concerned.every(({ known, node }) => this.#isOf(known, node))) {
      const left = new Set(undecided)
      for (const { known } of concerned) left.delete(known)
      if (this.#explains(at - 1, left)) return true
      // With nothing left to say it makes no difference.
      if (concerned.length === 0) return false
    }
    return this.#explains(at - 1, undecided)
  }

  #isOf({ bytes }: Name, node: MemoryNode | undefined): boolean {
    if (bytes === undefined || node === undefined) return bytes === node
    return node instanceof MemoryFile && this.#admits(node, bytes)
  }

  #admits(file: MemoryFile, bytes: Buffer): boolean {
    const known = this.#admitted.get(file) ?? new Map<Buffer, boolean>()
    this.#admitted.set(file, known)
    const before = known.get(bytes)
    if (before !== undefined) return before
    const answer = whyNot(file, bytes) === undefined
    known.set(bytes, answer)
    return answer
  }
}

/** Why no power cut could leave these bytes of the file; `undefined` if one could. */
export function whyNot(file: MemoryFile, bytes: Buffer): string | undefined {
  const { least, most } = file.possibleSizes
  if (bytes.length < least || bytes.length > most) return `its length is ${least} to ${most}`
  const images = OUTCOMES.map(outcome => {
    const twin = file.clone()
    twin.powerCut(() => outcome, bytes.length)
    const image = Buffer.alloc(bytes.length)
    twin.read(image, 0)
    return image
  })
  for (let from = 0; from < bytes.length; from += SECTOR_BYTES) {
    const to = Math.min(from + SECTOR_BYTES, bytes.length)
    const sector = bytes.subarray(from, to)
    if (images.some(image => image.subarray(from, to).equals(sector))) continue
    return `sector ${from / SECTOR_BYTES} is none that it may have (${sector.subarray(0, 8).toString('hex')})`
  }
  return undefined
}
