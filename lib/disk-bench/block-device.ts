/** Block devices as Linux shows them in /sys: what a disk calls itself, and what lies under a mapped one. */
import fs from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Where the kernel's files are; another root for tests. */
export interface Roots {
  readonly proc: string
  readonly sys: string
}

export interface BlockDevice {
  /** The whole disk, not the partition: `sda`, `nvme0n1`, `dm-0`. */
  readonly name: string
  readonly model?: string
  readonly bytes?: number
  readonly isRotational?: boolean
  /** `write back`: it has a cache that a flush must empty. `write through`: none, so the kernel sends no flush. */
  readonly writeCache?: 'write back' | 'write through'
  /** Known by its driver or its name to be made by a hypervisor. */
  readonly isVirtual: boolean
  /** Of a loop device. */
  readonly backingFile?: string
  /** Of a loop device: its file is read through the page cache, so that what it gives may come from memory. */
  readonly isCachedBelow?: boolean
  /** What it is made of: disks of an array, of a mapped device, the disk that a loop device's file lies on. */
  readonly parts: readonly BlockDevice[]
}

/** Devices on devices: mapped on array on disk. A bound, in case they ever go round. */
const DEEPEST = 6

const VIRTUAL_NAME = /^(vd[a-z]|xvd[a-z])/
const VIRTUAL_MODEL =
  /QEMU|VMware|VBOX|VirtualBox|Virtual disk|Msft|Amazon Elastic Block Store|PersistentDisk|nvme_card-pd|Xen|virtio/i

/** @param dev - `st_dev` of a file. */
export function blockDeviceByNumber(dev: number, roots: Roots, depth = 0): BlockDevice | undefined {
  // As glibc's major() and minor() take it apart; above 2^32 bit operations of JavaScript do not reach.
  const high = Math.floor(dev / 2 ** 32)
  const major = ((dev >>> 8) & 0xfff) | (high & ~0xfff)
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00)
  return deviceAt(join(roots.sys, `dev/block/${major}:${minor}`), roots, depth)
}

/** @param source - `/dev/sda1`, also by a symbolic link. */
export function blockDeviceByName(source: string, roots: Roots, depth = 0): BlockDevice | undefined {
  if (!source.startsWith('/dev/')) return undefined
  const path = realPath(source) ?? source
  return deviceAt(join(roots.sys, 'class/block', basename(path)), roots, depth)
}

/** The devices that hold the bytes in the end. */
export function leavesOf(device: BlockDevice): BlockDevice[] {
  return device.parts.length === 0 ? [device] : device.parts.flatMap(leavesOf)
}

function deviceAt(link: string, roots: Roots, depth: number): BlockDevice | undefined {
  const found = realPath(link)
  if (found === undefined || depth > DEEPEST) return undefined
  // A partition's folder lies in that of its disk.
  const folder = fs.existsSync(join(found, 'partition')) ? dirname(found) : found
  const name = basename(folder)
  const text = (path: string): string | undefined => readText(join(folder, path)) || undefined
  const model = [text('device/vendor'), text('device/model'), text('dm/name')]
    // The vendor of a SATA disk is "ATA", of a virtio disk a number: neither says anything.
    .filter(part => part !== undefined && part !== 'ATA' && !part.startsWith('0x'))
    .join(' ')
  const sectors = Number(text('size'))
  const rotational = text('queue/rotational')
  const cache = text('queue/write_cache')
  const backingFile = text('loop/backing_file')
  return {
    name,
    ...(model === '' ? {} : { model }),
    // The kernel counts in sectors of 512 bytes whatever the disk's are.
    ...(sectors > 0 ? { bytes: sectors * 512 } : {}),
    ...(rotational === undefined ? {} : { isRotational: rotational === '1' }),
    ...(cache === 'write back' || cache === 'write through' ? { writeCache: cache } : {}),
    isVirtual: VIRTUAL_NAME.test(name) || VIRTUAL_MODEL.test(model),
    ...(backingFile === undefined ? {} : { backingFile, isCachedBelow: text('loop/dio') !== '1' }),
    parts: partsOf(folder, backingFile, roots, depth)
  }
}

function partsOf(folder: string, backingFile: string | undefined, roots: Roots, depth: number): BlockDevice[] {
  if (backingFile !== undefined) {
    const dev = deviceNumberOf(backingFile)
    const under = dev === undefined ? undefined : blockDeviceByNumber(dev, roots, depth + 1)
    return under === undefined ? [] : [under]
  }
  let names: string[]
  try {
    names = fs.readdirSync(join(folder, 'slaves')).sort()
  } catch {
    return []
  }
  return names.flatMap(name => deviceAt(join(roots.sys, 'class/block', name), roots, depth + 1) ?? [])
}

function deviceNumberOf(path: string): number | undefined {
  try {
    return fs.statSync(path).dev
  } catch {
    return undefined
  }
}

function realPath(path: string): string | undefined {
  try {
    return fs.realpathSync(path)
  } catch {
    return undefined
  }
}

/** A small file of the kernel's, trimmed; `undefined` when it is not there or not for us. */
export function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}
