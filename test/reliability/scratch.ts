/**
 * Folders of the lanes, with what is mounted below them. Everything is given back when its lane ends, and what a lane
 * that was killed has left is given back when the next one begins.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PREFIX = 'heartwood-reliability-'
const OWNER = 'owner'

/** @param t - a test whose end gives the folder back. */
export function scratch(t: { teardown(f: () => void): void }): string {
  sweep()
  const folder = mkdtempSync(join(tmpdir(), PREFIX))
  writeFileSync(join(folder, OWNER), identity(process.pid) ?? '')
  t.teardown(() => giveBack(folder))
  return folder
}

/** Gives back what processes that are no more have left. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const folder = join(tmpdir(), name)
    const owner = existsSync(join(folder, OWNER)) ? readFileSync(join(folder, OWNER), 'utf8') : undefined
    // One without an owner is being made this very moment, or was left so.
    if (owner === undefined || identity(Number(owner.split(' ')[0])) === owner) continue
    giveBack(folder)
  }
}

/** Number and time of start: a number alone is given again. */
function identity(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return `${pid} ${text.slice(text.lastIndexOf(')')).split(' ')[20]}`
  } catch {
    return process.platform === 'linux' ? undefined : String(pid)
  }
}

/** Mount points below the folder, the innermost first. */
export function mountsBelow(folder: string): string[] {
  if (!existsSync('/proc/self/mounts')) return []
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  const points = lines.map(line => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
  return points.filter(point => point.startsWith(`${folder}/`)).sort((a, b) => b.length - a.length)
}

function giveBack(folder: string): void {
  for (const point of mountsBelow(folder)) run('umount', '--lazy', point)
  // `mount -o loop` lets go of its device with the unmounting; a failure in between does not.
  for (const device of loopsBelow(folder)) run('losetup', '--detach', device)
  rmSync(folder, { recursive: true, force: true })
}

function loopsBelow(folder: string): string[] {
  const out = run('losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE')
  const lines = out.split('\n').map(line => line.trim().split(/\s+/))
  return lines.filter(([, file]) => file?.startsWith(`${folder}/`)).map(([device]) => device!)
}

/** @returns what it printed; nothing when it failed or is not there. */
function run(command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}
