/**
 * Content of one file in memory, which knows what a power cut would leave of it.
 *
 * Invariants:
 *   M1  `#unsynced` holds, for every sector changed since the last successful sync, what the device has there.
 *   M2  Memory behind the file's end is zero, so that a file which grows over it reads as zeros.
 *   M3  A sector whose sync failed, or that the device lost, is shown to readers, clean for later syncs and never on
 *       the device, until it is written again. Linux treats pages so (promise F6).
 *   M4  A sector that was written several times since the last sync may have come to the device after any but the last.
 *   M5  A sync covers what was there when it began: what is written meanwhile waits for the next one.
 *   M6  A power cut leaves a length that the file had since its last sync, or one in between: a journal may have been
 *       written between any two calls, so a file that was emptied and written anew may come back empty.
 */
export const SECTOR_BYTES = 512

/**
 * What became of a sector that was changed and not synced: as before, as written, as it was before the newest write to
 * it (M4), zeros, or nonsense.
 */
export type SectorOutcome = 'drop' | 'keep' | 'older' | 'zero' | 'garble'

interface UnsyncedSector {
  readonly before: Buffer
  /** Before the newest change; `undefined`: there was one change. */
  older: Buffer | undefined
  lost: boolean
  /** Number of the newest change, of all changes of the file. */
  changed: number
}

/** What a sync that is under way will cover. */
export interface SyncScope {
  readonly size: number
  readonly changes: number
  /** Of the sectors to be covered, what they hold. */
  readonly sectors: ReadonlyMap<number, Buffer>
}

export class MemoryFile {
  readonly inode: number
  /** Names that lead here, and handles: memory is given back when both are 0. */
  names = 0
  handles = 0
  mode: number
  uid = 0
  gid = 0
  modifiedMs: number
  #bytes = Buffer.alloc(0)
  #size = 0
  #durableSize = 0
  #changes = 0
  /** Of the newest scope that a sync has covered. */
  #coveredChanges = 0
  /** Lengths since the last sync, as they came, without those between two neighbours (M6). */
  #sizes: { readonly change: number; readonly size: number }[] = []
  readonly #unsynced = new Map<number, UnsyncedSector>()

  constructor(fields: { inode: number; mode: number; modifiedMs: number }) {
    this.inode = fields.inode
    this.mode = fields.mode
    this.modifiedMs = fields.modifiedMs
  }

  get size(): number {
    return this.#size
  }

  get durableSize(): number {
    return this.#durableSize
  }

  /** The shortest and the longest that it was since the last sync (M6). */
  get possibleSizes(): { readonly least: number; readonly most: number } {
    let [least, most] = [this.#durableSize, this.#durableSize]
    for (const { size } of this.#sizes) {
      least = Math.min(least, size)
      most = Math.max(most, size)
    }
    return { least, most }
  }

  /** Indexes of the sectors that a power cut may take back, in order. */
  get unsyncedSectors(): number[] {
    return [...this.#unsynced.keys()].sort((a, b) => a - b)
  }

  read(target: Uint8Array, position: number): number {
    const end = Math.min(position + target.byteLength, this.#size)
    if (end <= position) return 0
    target.set(this.#bytes.subarray(position, end))
    return end - position
  }

  /** A file in the same state, that goes its own way from here, without handles. */
  clone(): MemoryFile {
    const twin = new MemoryFile(this)
    twin.names = this.names
    twin.uid = this.uid
    twin.gid = this.gid
    twin.#bytes = Buffer.from(this.#bytes)
    twin.#size = this.#size
    twin.#durableSize = this.#durableSize
    twin.#changes = this.#changes
    twin.#coveredChanges = this.#coveredChanges
    twin.#sizes = [...this.#sizes]
    // Nobody writes into what was kept of a sector.
    for (const [index, sector] of this.#unsynced) twin.#unsynced.set(index, { ...sector })
    return twin
  }

  /** @param isLost - the device says it has them, and never will (M3). */
  write(source: Uint8Array, position: number, isLost = false): void {
    // As with pwrite(2): no bytes at a position behind the end do not grow the file.
    if (source.byteLength === 0) return
    const end = position + source.byteLength
    this.#reserve(end)
    this.#touch(position, end)
    this.#bytes.set(source, position)
    if (end > this.#size) this.#resize(end)
    if (isLost) this.#lose(position, end)
  }

  truncate(length: number): void {
    this.#changes += 1
    this.#reserve(length)
    if (length < this.#size) {
      this.#touch(length, this.#size)
      this.#bytes.fill(0, length, this.#size)
    }
    this.#resize(length)
  }

  #resize(length: number): void {
    const [before, last] = [this.#sizes.at(-2)?.size ?? this.#durableSize, this.#sizes.at(-1)?.size]
    if (last !== undefined && (length - last) * (last - before) >= 0) this.#sizes.pop()
    this.#sizes.push({ change: this.#changes, size: length })
    this.#size = length
  }

  beginSync(): SyncScope {
    const sectors = new Map<number, Buffer>()
    for (const [index, { lost }] of this.#unsynced) if (!lost) sectors.set(index, this.#copyOf(index))
    return { size: this.#size, changes: this.#changes, sectors }
  }

  /** M5. */
  endSync({ size, changes, sectors }: SyncScope): void {
    // One that began later has ended before it.
    if (changes < this.#coveredChanges) return
    this.#coveredChanges = changes
    for (const [index, bytes] of sectors) {
      const sector = this.#unsynced.get(index)
      if (sector === undefined || sector.lost) continue
      if (sector.changed <= changes) this.#unsynced.delete(index)
      else this.#unsynced.set(index, { ...sector, before: bytes })
    }
    this.#durableSize = size
    this.#sizes = this.#sizes.filter(({ change }) => change > changes)
  }

  /** M3. */
  failSync(): void {
    for (const sector of this.#unsynced.values()) sector.lost = true
  }

  /** The bytes as the device has them once it has written what it can. */
  readPastCache(position: number, length: number): Buffer {
    const copy = Buffer.from(this.#bytes.subarray(0, this.#size))
    for (const [index, sector] of this.#unsynced) if (sector.lost) sector.before.copy(copy, index * SECTOR_BYTES)
    return copy.subarray(position, Math.min(position + length, copy.length))
  }

  /**
   * Leaves what a power cut may leave.
   *
   * @param outcome - of each sector changed since the last sync. One that is lost (M3) is always dropped.
   * @param length - of the file: anything within `possibleSizes`.
   */
  powerCut(outcome: (sectorIndex: number) => SectorOutcome, length: number): void {
    this.#reserve(this.possibleSizes.most)
    for (const [index, sector] of this.#unsynced) {
      const bytes = this.#bytes.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES)
      switch (sector.lost ? 'drop' : outcome(index)) {
        case 'drop':
          sector.before.copy(bytes)
          break
        case 'older':
          ;(sector.older ?? sector.before).copy(bytes)
          break
        case 'zero':
          bytes.fill(0)
          break
        case 'garble':
          for (let at = 0; at < bytes.length; at += 1) bytes[at] = (bytes[at]! ^ 0xa5) + index + at
          break
        case 'keep':
          break
      }
    }
    this.#bytes.fill(0, length)
    this.#unsynced.clear()
    this.#size = length
    this.#durableSize = length
    this.#sizes = []
  }

  #touch(from: number, to: number): void {
    if (to <= from) return
    const changed = ++this.#changes
    const last = Math.floor((to - 1) / SECTOR_BYTES)
    for (let index = Math.floor(from / SECTOR_BYTES); index <= last; index += 1) {
      const known = this.#unsynced.get(index)
      const present = this.#copyOf(index)
      if (known === undefined) {
        this.#unsynced.set(index, { before: present, older: undefined, lost: false, changed })
      } else {
        // What is lost is not on the device, and was never on its way there.
        if (!known.lost) known.older = present
        known.lost = false
        known.changed = changed
      }
    }
  }

  #copyOf(sector: number): Buffer {
    return Buffer.from(this.#bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES))
  }

  #lose(from: number, to: number): void {
    const last = Math.floor((to - 1) / SECTOR_BYTES)
    for (let index = Math.floor(from / SECTOR_BYTES); index <= last; index += 1) {
      const sector = this.#unsynced.get(index)
      if (sector !== undefined) sector.lost = true
    }
  }

  /** Memory for `size` bytes, in whole sectors, growing by half so that appends stay cheap. */
  #reserve(size: number): void {
    if (size <= this.#bytes.length) return
    const wanted = Math.max(size, Math.floor(this.#bytes.length * 1.5))
    const grown = Buffer.alloc(Math.ceil(wanted / SECTOR_BYTES) * SECTOR_BYTES)
    this.#bytes.copy(grown, 0, 0, this.#size)
    this.#bytes = grown
  }
}
