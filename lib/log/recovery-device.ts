/** The bytes that recovery judges: the page cache's, or after a failed sync the device's. */
import type { FileHandle, FileSystem } from '../fs/file-system.ts'
import type { Clock } from '../util/clock.ts'
import { QuickPieces } from './quick-pieces.ts'
import type { ReportBuilder } from './recovery-report.ts'
import type { ByteSource } from './recovery-scan.ts'
import type { Watermark } from './watermark-file.ts'

export interface RecoverySource extends ByteSource {
  readonly size: number
  close(): Promise<void>
}

/**
 * Opens a `.log` file to be scanned.
 *
 * Where a sync has failed, the page cache may show what the device never got. So what lies above the watermark is
 * read from the device as well, and only what both agree on is there; where the device cannot be asked, nothing is.
 */
export async function openForRecovery(
  fs: FileSystem,
  path: string,
  from: { base: number; watermark: Watermark | undefined; report: ReportBuilder; clock: Clock }
): Promise<RecoverySource> {
  const handle = await fs.open(path, 'read')
  try {
    const { size } = await handle.stat()
    const { watermark, base } = from
    if (watermark === undefined || !watermark.syncFailed || base < watermark.segmentBaseOffset) {
      const quick = new QuickPieces(from.clock)
      return {
        size,
        read: (target, position) => handle.read(target, position),
        tryReadSync: (target, position) => quick.tryRead(() => handle.readSync(target, position)),
        close: () => handle.close()
      }
    }
    const doubtFrom = base === watermark.segmentBaseOffset ? watermark.position : 0
    return new DeviceSource({ fs, path, handle, size, doubtFrom, report: from.report })
  } catch (error) {
    await handle.close()
    throw error
  }
}

class DeviceSource implements RecoverySource {
  readonly size: number
  readonly #fs: FileSystem
  readonly #path: string
  readonly #handle: FileHandle
  readonly #report: ReportBuilder
  /** Bytes below are good: they were synced before the sync that failed. */
  readonly #doubtFrom: number
  #noted = false

  constructor(from: {
    fs: FileSystem
    path: string
    handle: FileHandle
    size: number
    doubtFrom: number
    report: ReportBuilder
  }) {
    this.#fs = from.fs
    this.#path = from.path
    this.#handle = from.handle
    this.size = from.size
    this.#doubtFrom = from.doubtFrom
    this.#report = from.report
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const count = await this.#handle.read(target, position)
    const from = Math.max(position, this.#doubtFrom)
    const length = position + count - from
    if (length <= 0) return count
    const device = await this.#fs.readPastCache(this.#path, from, length)
    if (device === undefined) {
      this.#note('The device cannot be read past the page cache here, so that nothing above the last sync is accepted.')
      return from - position
    }
    const same = commonLength(device, target.subarray(from - position, count))
    if (same < length) this.#note('The page cache shows bytes which the device does not have; they are not accepted.')
    return from - position + same
  }

  close(): Promise<void> {
    return this.#handle.close()
  }

  #note(message: string): void {
    if (this.#noted) return
    this.#noted = true
    this.#report.note('SYNC_HAD_FAILED', `A sync of this log had failed. ${message}`, { path: this.#path })
  }
}

function commonLength(one: Uint8Array, other: Uint8Array): number {
  const length = Math.min(one.length, other.length)
  if (Buffer.compare(one.subarray(0, length), other.subarray(0, length)) === 0) return length
  let at = 0
  while (one[at] === other[at]) at += 1
  return at
}
