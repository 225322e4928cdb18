/** Where read bytes came from: the kernel's count of what it fetched from devices for this process. */
import fs from 'node:fs'
import type { VolumeKind } from '../fs/volume-kind.ts'
import { type BlockDevice, leavesOf } from './block-device.ts'
import type { DeviceFacts } from './machine-facts.ts'
import type { CacheState } from './report.ts'

export interface ReadOrigin {
  readonly cache: CacheState
  readonly note?: string
}

export class DeviceReads {
  readonly #kind: VolumeKind['kind']
  readonly #device: BlockDevice | undefined
  readonly #counter: () => number | undefined

  /** @param counter - bytes so far; another one for tests. */
  constructor(
    { kind, device }: Pick<DeviceFacts, 'kind' | 'device'>,
    counter: () => number | undefined = bytesFromDevices
  ) {
    this.#kind = kind
    this.#device = device
    this.#counter = counter
  }

  /** Begins to count; `end` says where the `bytes` that were read since came from, and why not from where `wanted`. */
  begin(wanted: 'cold' | 'warm'): { end(bytes: number): ReadOrigin } {
    const before = this.#counter()
    return {
      end: bytes => {
        const after = this.#counter()
        const fetched = before === undefined || after === undefined ? undefined : after - before
        const origin = this.#origin(bytes, fetched)
        const isFromMemory = origin.cache === 'warm' || fetched === undefined || fetched < bytes * 0.05
        return wanted === 'cold' || isFromMemory
          ? origin
          : { ...origin, note: 'there was not memory enough to keep it' }
      }
    }
  }

  #origin(bytes: number, fetched: number | undefined): ReadOrigin {
    if (this.#kind === 'memory') return { cache: 'warm', note: 'memory is all the device it has' }
    if (fetched === undefined) return { cache: 'unknown', note: 'the kernel does not count what it fetches' }
    // A little of anything else: indexes, folders, reading ahead.
    if (fetched >= bytes * 0.95) return this.#fromDevice()
    const part = `${Math.round((fetched / bytes) * 100)} % from the device`
    if (fetched > bytes * 0.05) return { cache: 'mixed', note: part }
    // What has no block device may fetch where the kernel does not count: FUSE, ZFS.
    return this.#device !== undefined
      ? { cache: 'warm' }
      : { cache: 'unknown', note: 'the kernel does not count it here' }
  }

  /** The kernel did ask the device; what that did is not counted here. */
  #fromDevice(): ReadOrigin {
    if (this.#device?.isCachedBelow === true)
      return { cache: 'unknown', note: 'not from memory here, but the file behind the loop device may be in memory' }
    if (this.#device !== undefined && leavesOf(this.#device).some(leaf => leaf.isVirtual))
      return { cache: 'cold', note: 'cold for this machine; the host of the virtual disk may have had it in memory' }
    return { cache: 'cold' }
  }
}

/** @see proc(5): `read_bytes` of /proc/PID/io. */
function bytesFromDevices(): number | undefined {
  try {
    const match = /^read_bytes: (\d+)$/m.exec(fs.readFileSync('/proc/self/io', 'utf8'))
    return match === null ? undefined : Number(match[1])
  } catch {
    return undefined
  }
}
