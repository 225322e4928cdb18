/**
 * What a folder lies on and what machine this is, as the kernel tells it. Every fact may be missing: outside Linux,
 * in a container that hides /sys, on a file system without a device.
 */
import fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { type VolumeKind, volumeKind } from '../fs/volume-kind.ts'
import { type BlockDevice, blockDeviceByName, blockDeviceByNumber, type Roots, readText } from './block-device.ts'

export interface MachineFacts {
  readonly cpu: string
  readonly cpus: number
  readonly memoryBytes: number
  /** `Linux 6.1.0`. */
  readonly kernel: string
  readonly node: string
  /** True in a virtual machine: its disks are what the host makes of them. */
  readonly isVirtual: boolean
}

export interface DeviceFacts {
  readonly fileSystem: string
  /** As of `volumeKind`: `memory` is gone with the machine, `network` is a server's word. */
  readonly kind: VolumeKind['kind']
  /** `undefined`: not told. */
  readonly mountPoint?: string
  readonly mountOptions?: readonly string[]
  /** What is mounted: `/dev/sda1`, `tmpfs`, `server:/export`. */
  readonly source?: string
  readonly device?: BlockDevice
}

const ROOTS: Roots = { proc: '/proc', sys: '/sys' }

export function machineFacts(roots: Roots = ROOTS): MachineFacts {
  const cpus = os.cpus()
  return {
    cpu: cpus[0]?.model.trim() ?? os.arch(),
    cpus: cpus.length,
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    isVirtual: isVirtualMachine(roots)
  }
}

/** @param dir - a folder that exists. */
export function deviceFacts(dir: string, roots: Roots = ROOTS): DeviceFacts {
  const { type } = fs.statfsSync(dir)
  const { name, kind } = volumeKind(type)
  const mount = process.platform === 'linux' ? mountOf(fs.realpathSync(dir), roots) : undefined
  const device =
    blockDeviceByNumber(fs.statSync(dir).dev, roots) ??
    // Btrfs and others number their volumes themselves; what is mounted names the device.
    (mount === undefined ? undefined : blockDeviceByName(mount.source, roots))
  return {
    fileSystem: mount === undefined || name === mount.type ? name : mount.type,
    kind,
    ...(mount === undefined ? {} : { mountPoint: mount.point, mountOptions: mount.options, source: mount.source }),
    ...(device === undefined ? {} : { device })
  }
}

interface Mount {
  readonly point: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** The mount that `path` lies in: the longest mount point above it, and of those at one place the last. */
function mountOf(path: string, { proc }: Roots): Mount | undefined {
  let found: Mount | undefined
  for (const line of readText(join(proc, 'self/mountinfo'))?.split('\n') ?? []) {
    const mount = parseMount(line)
    if (mount === undefined || !isWithin(path, mount.point)) continue
    if (found === undefined || mount.point.length >= found.point.length) found = mount
  }
  return found
}

/** `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`: proc(5). */
function parseMount(line: string): Mount | undefined {
  const [before, behind] = line.split(' - ')
  const [, , , , point, own] = before?.split(' ') ?? []
  const [type, source, ofVolume] = behind?.split(' ') ?? []
  if (point === undefined || own === undefined || type === undefined || source === undefined) return undefined
  const options = [...new Set([...own.split(','), ...(ofVolume ?? '').split(',')])].filter(option => option !== '')
  return { point: unescaped(point), type, source: unescaped(source), options }
}

/** Blanks and backslashes are written as `\040`. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

function isWithin(path: string, folder: string): boolean {
  return folder === '/' || path === folder || path.startsWith(`${folder}/`)
}

const MAKERS_OF_MACHINES = /qemu|kvm|amazon ec2|google|microsoft corporation|vmware|virtualbox|innotek|xen|openstack/i

function isVirtualMachine({ proc, sys }: Roots): boolean {
  if (/^flags\s*:.*\bhypervisor\b/m.test(readText(join(proc, 'cpuinfo')) ?? '')) return true
  // ARM has no such flag; a metal machine of a cloud says so in its product's name.
  const maker = readText(join(sys, 'class/dmi/id/sys_vendor')) ?? ''
  const product = readText(join(sys, 'class/dmi/id/product_name')) ?? ''
  return MAKERS_OF_MACHINES.test(maker) && !/metal|surface/i.test(product)
}
