/** What a figure depends on besides the code: processor, kernel, file system, disk, Node, and which code it was. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { deviceInWords, volumeInWords } from '../../lib/cli/bench-format.ts'
import { leavesOf } from '../../lib/disk-bench/block-device.ts'
import { type DeviceFacts, deviceFacts, type MachineFacts, machineFacts } from '../../lib/disk-bench/machine-facts.ts'

export interface Facts {
  readonly machine: MachineFacts
  /** Of the folder that was measured. */
  readonly volume: DeviceFacts
  /** Of the disks below it: `mq-deadline`. Absent where there is none or `/sys` cannot be read. */
  readonly scheduler?: string
  /** Version of heartwood. */
  readonly version: string
  /** Absent outside a git checkout. Ends in `-dirty` where lib/ or bench/ differ from it. */
  readonly commit?: string
}

/** @param directory - exists; the place that is measured. @param projectRoot - where package.json is. */
export function gatherFacts(directory: string, projectRoot: string): Facts {
  const volume = deviceFacts(directory)
  const manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { version: string }
  const scheduler = schedulerOf(volume)
  const commit = commitOf(projectRoot)
  return {
    machine: machineFacts(),
    volume,
    ...(scheduler === undefined ? {} : { scheduler }),
    version: manifest.version,
    ...(commit === undefined ? {} : { commit })
  }
}

/** Lines for people, each a subject and what is known of it. */
export function factLines({ machine, volume, scheduler, version, commit }: Facts): [string, string][] {
  const { cpu, cpus, memoryBytes, kernel, node, isVirtual } = machine
  return [
    ['CPU', `${cpu}, ${cpus} ${cpus === 1 ? 'core' : 'cores'}${isVirtual ? ', virtual machine' : ''}`],
    ['memory', `${(memoryBytes / 1024 ** 3).toFixed(1)} GiB`],
    ['kernel', kernel],
    ['file system', volumeInWords(volume)],
    ['disk', `${deviceInWords(volume)}${scheduler === undefined ? '' : `, scheduler ${scheduler}`}`],
    ['Node', node],
    ['heartwood', `${version}, commit ${commit ?? 'unknown'}`]
  ]
}

function schedulerOf({ device }: DeviceFacts): string | undefined {
  if (device === undefined) return undefined
  const names = leavesOf(device).map(({ name }) => {
    try {
      // The one in use is in brackets: `none [mq-deadline] kyber`.
      return /\[(.+?)\]/.exec(readFileSync(`/sys/class/block/${name}/queue/scheduler`, 'utf8'))?.[1]
    } catch {
      return undefined
    }
  })
  return [...new Set(names)].join(', ') || undefined
}

function commitOf(projectRoot: string): string | undefined {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: projectRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const commit = git('rev-parse', '--short=12', 'HEAD')
    // What a run before this one has written, or why a goal is missed, is no change of the code.
    const written = [':!bench/RESULTS.*', ':!bench/charts', ':!bench/missed-goals.json']
    return git('status', '--porcelain', '--', 'lib', 'bench', ...written) === '' ? commit : `${commit}-dirty`
  } catch {
    return undefined
  }
}
