/** What a figure depends on besides the code: processor, kernel, file system, disk, Node, and which code it was. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'

export interface MachineFacts {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  /** As the processor tells it; a virtual disk's cache and a virtual clock are somebody else's. */
  readonly virtual: boolean
  readonly kernel: string
  readonly fileSystem: FileSystemFacts
  /** Absent where the file system is on no device, or `/sys` cannot be read. */
  readonly disk?: DiskFacts
  readonly node: string
  readonly heartwood: string
  /** Absent outside a git checkout. `-dirty` where lib/ or bench/ differ from it. */
  readonly commit?: string
}

export interface FileSystemFacts {
  readonly type: string
  readonly mount: string
  readonly options: string
}

export interface DiskFacts {
  readonly device: string
  readonly model?: string
  readonly rotational?: boolean
  readonly scheduler?: string
  /** `write back`: a flush has to reach the device; `write through`: it need not. */
  readonly writeCache?: string
  /** The file or the devices below a loop device or a device mapper. */
  readonly on?: string
}

/** @param directory - exists; the place that is measured. @param projectRoot - where package.json is. */
export function machineFacts(directory: string, projectRoot: string): MachineFacts {
  const mount = mountOf(realpathSync(directory), readText('/proc/self/mountinfo') ?? '')
  const disk = mount === undefined ? undefined : diskFacts('/sys', mount.deviceNumber)
  const commit = commitOf(projectRoot)
  const manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string }
  return {
    cpu: (cpus()[0]?.model ?? 'unknown').replace(/\s+/g, ' ').trim(),
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    virtual: /^flags\s*:.*\bhypervisor\b/m.test(readText('/proc/cpuinfo') ?? ''),
    kernel: `${process.platform} ${release()} ${process.arch}`,
    fileSystem: mount?.facts ?? { type: 'unknown', mount: directory, options: '' },
    ...(disk === undefined ? {} : { disk }),
    node: process.version,
    heartwood: manifest.version,
    ...(commit === undefined ? {} : { commit })
  }
}

/**
 * The mount that `path` is on.
 *
 * @param mountinfo - lines `id parent major:minor root mount options [tag]... - type source superOptions`; see
 *   proc(5). Of several mounts on one point the last covers the others.
 */
export function mountOf(path: string, mountinfo: string): { facts: FileSystemFacts; deviceNumber: string } | undefined {
  let found: { facts: FileSystemFacts; deviceNumber: string } | undefined
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ')
    const [, , deviceNumber, , rawMount, options] = left?.split(' ') ?? []
    const type = right?.split(' ')[0]
    if (deviceNumber === undefined || rawMount === undefined || options === undefined || type === undefined) continue
    const mount = rawMount.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8))
    )
    const covers = mount === '/' || path === mount || path.startsWith(`${mount}/`)
    if (covers && mount.length >= (found?.facts.mount.length ?? 0))
      found = { facts: { type, mount, options }, deviceNumber }
  }
  return found
}

/** @param sys - where sysfs is mounted. @param deviceNumber - `major:minor`. */
export function diskFacts(sys: string, deviceNumber: string): DiskFacts | undefined {
  let folder: string
  try {
    folder = realpathSync(join(sys, 'dev/block', deviceNumber))
  } catch {
    return undefined // No device of its own: tmpfs, overlayfs, btrfs.
  }
  const device = basename(folder)
  // A partition has no queue; its disk is the folder above.
  const disk = readText(join(folder, 'partition')) === undefined ? folder : dirname(folder)
  const rotational = readText(join(disk, 'queue/rotational'))
  return {
    device,
    ...optional('model', readText(join(disk, 'device/model'))),
    ...(rotational === undefined ? {} : { rotational: rotational === '1' }),
    ...optional('scheduler', /\[(.+?)\]/.exec(readText(join(disk, 'queue/scheduler')) ?? '')?.[1]),
    ...optional('writeCache', readText(join(disk, 'queue/write_cache'))),
    ...optional('on', readText(join(disk, 'loop/backing_file')) ?? slavesOf(disk))
  }
}

/** Lines for people, each a subject and what is known of it. */
export function factLines(facts: MachineFacts): [string, string][] {
  const { fileSystem, disk } = facts
  const lines: [string, string][] = [
    ['CPU', `${facts.cpu}, ${facts.cores} cores${facts.virtual ? ', virtual machine' : ''}`],
    ['memory', `${(facts.memoryBytes / 1024 ** 3).toFixed(1)} GiB`],
    ['kernel', facts.kernel],
    ['file system', `${fileSystem.type} on ${fileSystem.mount} (${fileSystem.options})`]
  ]
  if (disk !== undefined) lines.push(['disk', describeDisk(disk)])
  lines.push(['Node', facts.node])
  lines.push(['heartwood', `${facts.heartwood}, commit ${facts.commit ?? 'unknown'}`])
  return lines
}

function describeDisk(disk: DiskFacts): string {
  const parts = [disk.device]
  if (disk.model !== undefined) parts.push(disk.model)
  if (disk.rotational !== undefined) parts.push(disk.rotational ? 'says it rotates' : 'says it does not rotate')
  if (disk.scheduler !== undefined) parts.push(`scheduler ${disk.scheduler}`)
  if (disk.writeCache !== undefined) parts.push(`write cache: ${disk.writeCache}`)
  if (disk.on !== undefined) parts.push(`on ${disk.on}`)
  return parts.join(', ')
}

function optional<K extends string>(key: K, value: string | undefined): { [k in K]?: string } {
  return value === undefined || value === '' ? {} : ({ [key]: value } as { [k in K]?: string })
}

function slavesOf(disk: string): string | undefined {
  try {
    return readdirSync(join(disk, 'slaves')).join(', ')
  } catch {
    return undefined
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

function commitOf(projectRoot: string): string | undefined {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: projectRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const commit = git('rev-parse', '--short=12', 'HEAD')
    // Results written by a run before this one are no change of the code.
    const changes = git('status', '--porcelain', '--', 'lib', 'bench', ':!bench/RESULTS.*', ':!bench/charts')
    return changes === '' ? commit : `${commit}-dirty`
  } catch {
    return undefined
  }
}
