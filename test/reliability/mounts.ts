/** File systems of their own for a test: made in an image, mounted over a loop device, cut off from their power. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MiB } from '../../lib/index.ts'

export type Kind = 'ext4' | 'xfs'

const IMAGE_BYTES: Readonly<Record<Kind, number>> = { ext4: 64 * MiB, xfs: 320 * MiB }

/** @returns why file systems cannot be mounted here; `false`: they can. */
export function whyNoMounts(...commands: readonly string[]): string | false {
  if (process.platform !== 'linux') return 'mounting is for Linux'
  if (process.getuid?.() !== 0) return 'mounting takes root'
  for (const command of ['mount', 'losetup', ...commands]) {
    if (spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0) return `${command} is not installed`
  }
  return false
}

/** @throws when the command fails, with what it said. */
export function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** @returns the device that is mounted there. */
export function loopDevice(mountPoint: string): string {
  return execFileSync('findmnt', ['--noheadings', '--output', 'SOURCE', mountPoint], { encoding: 'utf8' }).trim()
}

/** An image with an empty file system, and where it is mounted. Given back with the folder: see scratch.ts. */
export class Disk {
  readonly mountPoint: string
  readonly #image: string

  /** @param bytes - size of the image, which takes no more room than what is written to it. */
  constructor(folder: string, kind: Kind, bytes = IMAGE_BYTES[kind]) {
    mkdirSync(folder, { recursive: true })
    this.#image = join(folder, 'image')
    this.mountPoint = join(folder, 'mounted')
    mkdirSync(this.mountPoint)
    writeFileSync(this.#image, '')
    truncateSync(this.#image, bytes)
    run(`mkfs.${kind}`, '-q', this.#image)
  }

  mount(...options: readonly string[]): void {
    run('mount', '-o', ['loop', ...options].join(), this.#image, this.mountPoint)
  }

  unmount(): void {
    run('umount', this.mountPoint)
  }

  remount(...options: readonly string[]): void {
    this.unmount()
    this.mount(...options)
  }

  /**
   * From now on nothing reaches the disk any more: neither what was not synced, nor the journal.
   *
   * @param options.journal - written once more before: what it says of files whose content was not.
   */
  cutPower({ journal = false }: { journal?: boolean } = {}): void {
    run('xfs_io', '-x', '-c', journal ? 'shutdown -f' : 'shutdown', this.mountPoint)
  }
}
