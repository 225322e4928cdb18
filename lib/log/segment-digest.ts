/**
 * Reads a whole `.log` file once: is every batch sound, and what is the digest of the file?
 *
 * The digest shows what no CRC does: a base offset or leader epoch that changed (they lie in front of what a batch's
 * CRC covers), a file that was swapped for another one with sound batches, a batch of the same offsets from elsewhere.
 *
 * Changes nothing. Without the package xxhash-wasm there is no digest; everything else is looked at all the same.
 */
import { basename } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { parseSegmentFileName } from '../segment/file-names.ts'
import { KiB } from '../util/sizes.ts'
import type { SegmentDigest } from './manifest.ts'
import { type ByteSource, type ScanOutcome, scanLogFile } from './recovery-scan.ts'

/** What is read at a time of what no scan has read. */
const PIECE_BYTES = 512 * KiB

/** What the package's `create64` gives. */
interface Hasher {
  update(bytes: Uint8Array): unknown
  digest(): bigint
}

export interface DigestOptions {
  /** Leader epoch of an offset, where it is known: a batch of another one is damage. */
  readonly epochAt?: ((offset: number) => number | undefined) | undefined
  /** Awaited before each piece is read: to go slowly, or to stop, by throwing. */
  readonly spend?: ((bytes: number) => Promise<void>) | undefined
}

export interface DigestedFile {
  /** Of the file. */
  readonly bytes: number
  /** How far its batches are sound, and what is wrong where they are not. */
  readonly scan: ScanOutcome
  /** Of the whole file, sound or not; `batches` counts the sound ones. `undefined` without xxhash-wasm. */
  readonly digest: SegmentDigest | undefined
}

/**
 * @param path - of a `.log` file: its name says where its offsets begin.
 * @throws the system's error; {LogError} UNSUPPORTED_FOR_MESSAGE_FORMAT for batches of magic 0 and 1; what `spend`
 *   throws.
 */
export async function digestOf(
  fs: FileSystem,
  path: string,
  { epochAt, spend }: DigestOptions = {}
): Promise<DigestedFile> {
  const hasher = await makeHasher()
  const baseOffset = parseSegmentFileName(basename(path))?.offset ?? 0
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    const source = new HashedSource(handle, hasher, spend)
    const scan = await scanLogFile(source, { baseOffset, from: 0, to: size, nextOffset: baseOffset, epochAt })
    await source.readTo(size)
    const hash = hasher?.digest().toString(16).padStart(16, '0')
    return { bytes: size, scan, digest: hash === undefined ? undefined : { batches: scan.batches, hash } }
  } finally {
    await handle.close()
  }
}

/** Hashes what goes by, each byte once: a scan reads in order, and now and then a piece anew. */
class HashedSource implements ByteSource {
  readonly #source: ByteSource
  readonly #hasher: Hasher | undefined
  readonly #spend: DigestOptions['spend']
  /** All before this position is in the hash. */
  #hashedTo = 0

  constructor(source: ByteSource, hasher: Hasher | undefined, spend: DigestOptions['spend']) {
    this.#source = source
    this.#hasher = hasher
    this.#spend = spend
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    await this.#spend?.(target.length)
    const count = await this.#source.read(target, position)
    const known = this.#hashedTo - position
    if (known >= 0 && known < count) {
      this.#hasher?.update(target.subarray(known, count))
      this.#hashedTo += count - known
    }
    return count
  }

  /** What the scan did not come to, because something in front of it is damaged. */
  async readTo(end: number): Promise<void> {
    const memory = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, Math.max(0, end - this.#hashedTo)))
    while (this.#hashedTo < end && this.#hasher !== undefined) {
      const before = this.#hashedTo
      await this.read(memory.subarray(0, end - before), before)
      // Somebody cut the file since it was measured.
      if (this.#hashedTo === before) return
    }
  }
}

let made: Promise<(() => Hasher) | undefined> | undefined

async function makeHasher(): Promise<Hasher | undefined> {
  made ??= import('xxhash-wasm').then(
    async ({ default: xxhash }) => {
      const { create64 } = await xxhash()
      return () => create64()
    },
    () => undefined
  )
  return (await made)?.()
}
