/** What is told of a disk, from a /proc and a /sys that are made up. */
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import {
  type BlockDevice,
  blockDeviceByName,
  blockDeviceByNumber,
  leavesOf
} from '../../lib/disk-bench/block-device.ts'
import { deviceFacts, machineFacts } from '../../lib/disk-bench/machine-facts.ts'
import { tempDir } from '../helpers/paths.ts'

interface Made {
  readonly roots: { readonly proc: string; readonly sys: string }
  file(path: string, text: string): Promise<void>
  link(path: string, target: string): Promise<void>
}

async function made(t: { teardown(f: () => Promise<void>): void }): Promise<Made> {
  const root = await tempDir(t)
  const at = async (path: string): Promise<string> => {
    await mkdir(dirname(join(root, path)), { recursive: true })
    return join(root, path)
  }
  return {
    roots: { proc: join(root, 'proc'), sys: join(root, 'sys') },
    file: async (path, text) => writeFile(await at(path), `${text}\n`),
    link: async (path, target) => symlink(join(root, target), await at(path))
  }
}

/** Sector counts, and what a partition's number leads to. */
async function withDisk(make: Made, name: string, files: Record<string, string>, number?: string): Promise<void> {
  for (const [path, text] of Object.entries(files)) await make.file(`sys/devices/${name}/${path}`, text)
  await make.link(`sys/class/block/${name}`, `sys/devices/${name}`)
  if (number !== undefined) await make.link(`sys/dev/block/${number}`, `sys/devices/${name}`)
}

t.test('a partition is told as the disk that it is part of', async t => {
  const make = await made(t)
  const files = { size: '2000', 'queue/rotational': '1', 'queue/write_cache': 'write back', 'device/vendor': 'ATA' }
  await withDisk(make, 'sdb', { ...files, 'device/model': 'ST4000', 'sdb3/partition': '3' })
  await make.link('sys/dev/block/8:19', 'sys/devices/sdb/sdb3')
  const expected: BlockDevice = {
    name: 'sdb',
    model: 'ST4000',
    bytes: 1_024_000,
    isRotational: true,
    writeCache: 'write back',
    isVirtual: false,
    parts: []
  }
  t.same(blockDeviceByNumber(8 * 256 + 19, make.roots), expected)
  t.equal(blockDeviceByNumber(8 * 256 + 20, make.roots), undefined, 'no such device')
})

t.test('numbers above 255 are taken apart as the kernel puts them together', async t => {
  const make = await made(t)
  await withDisk(make, 'nvme0n1', { size: '8' }, '259:300')
  // makedev(259, 300): the minor's low byte, the major's twelve bits, the rest of the minor.
  t.equal(blockDeviceByNumber((300 & 0xff) + 259 * 256 + 0x100 * 4096, make.roots)?.name, 'nvme0n1')
})

t.test('a mapped device is told with what it is made of, down to the disks', async t => {
  const make = await made(t)
  await withDisk(make, 'sda', { 'queue/rotational': '1' })
  await withDisk(make, 'nvme0n1', { 'queue/rotational': '0', 'nvme0n1p1/partition': '1' })
  await make.link('sys/class/block/nvme0n1p1', 'sys/devices/nvme0n1/nvme0n1p1')
  await withDisk(make, 'md0', { 'slaves/.keep': '' })
  await withDisk(make, 'dm-0', { 'dm/name': 'vg-data' }, '252:0')
  await make.link('sys/devices/md0/slaves/sda', 'sys/devices/sda')
  await make.link('sys/devices/md0/slaves/nvme0n1p1', 'sys/devices/nvme0n1/nvme0n1p1')
  await make.link('sys/devices/dm-0/slaves/md0', 'sys/devices/md0')
  const found = blockDeviceByNumber(252 * 256, make.roots) as BlockDevice
  t.equal(found.model, 'vg-data')
  t.same(
    leavesOf(found).map(leaf => [leaf.name, leaf.isRotational]),
    [
      ['nvme0n1', false],
      ['sda', true]
    ]
  )
})

t.test('devices that go round end all the same', async t => {
  const make = await made(t)
  await withDisk(make, 'dm-0', { size: '8' })
  await make.link('sys/devices/dm-0/slaves/dm-0', 'sys/devices/dm-0')
  t.equal(leavesOf(blockDeviceByName('/dev/dm-0', make.roots) as BlockDevice).length, 1)
})

t.test('a virtual disk is known by its name or by what it calls itself', async t => {
  const make = await made(t)
  const cases: [string, string | undefined, boolean][] = [
    ['vda', undefined, true],
    ['xvdb', undefined, true],
    ['sda', 'QEMU HARDDISK', true],
    ['nvme1n1', 'Amazon Elastic Block Store', true],
    ['nvme2n1', 'Amazon EC2 NVMe Instance Storage', false],
    ['nvme3n1', 'Samsung SSD 980 PRO', false]
  ]
  for (const [name, model, isVirtual] of cases) {
    await withDisk(make, name, { size: '8', ...(model === undefined ? {} : { 'device/model': model }) })
    t.equal(blockDeviceByName(`/dev/${name}`, make.roots)?.isVirtual, isVirtual, name)
  }
})

t.test('a virtual machine is known by the processor or by who made it', async t => {
  const isVirtual = async (cpuinfo: string, vendor?: string, product = ''): Promise<boolean> => {
    const make = await made(t)
    await make.file('proc/cpuinfo', cpuinfo)
    if (vendor !== undefined) {
      await make.file('sys/class/dmi/id/sys_vendor', vendor)
      await make.file('sys/class/dmi/id/product_name', product)
    }
    return machineFacts(make.roots).isVirtual
  }
  t.equal(await isVirtual('flags\t\t: fpu hypervisor lahf_lm'), true)
  t.equal(await isVirtual('flags\t\t: fpu lahf_lm', 'Dell Inc.', 'PowerEdge'), false)
  t.equal(await isVirtual('Features\t: fp asimd', 'Amazon EC2', 'm7g.large'), true)
  t.equal(await isVirtual('Features\t: fp asimd', 'Amazon EC2', 'm7g.metal'), false)
})

t.test(
  'the mount is the innermost one, the last of those at one place',
  { skip: process.platform !== 'linux' },
  async t => {
    const make = await made(t)
    const dir = join(await tempDir(t), 'with blank')
    await mkdir(dir)
    const point = dir.replace(' ', '\\040')
    await make.file(
      'proc/self/mountinfo',
      [
        '20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro',
        `21 20 8:2 / ${point} rw - ext4 /dev/sdb1 rw`,
        `22 20 0:30 / ${point} rw,noatime shared:1 - made-up /dev/none rw,nobarrier`,
        `23 20 8:3 / ${point}er rw - ext4 /dev/sdc1 rw`
      ].join('\n')
    )
    const { source, mountPoint, mountOptions, fileSystem } = deviceFacts(dir, make.roots)
    t.same({ source, mountPoint, fileSystem }, { source: '/dev/none', mountPoint: dir, fileSystem: 'made-up' })
    t.same(mountOptions, ['rw', 'noatime', 'nobarrier'])
  }
)

t.test('nothing is known where the kernel shows nothing', async t => {
  const make = await made(t)
  const facts = deviceFacts(await tempDir(t), make.roots)
  t.equal(facts.device, undefined)
  t.equal(facts.source, undefined)
})
