/**
 * Other versions of Node.js, out of the npm registry, kept in `heartwood-node` below the user's cache folder.
 *
 *     node --import tsx test/lanes/node-versions.ts MAJOR      prints the path of the executable
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Oldest first; package.json's `engines` begins with the first. */
export const NODE_MAJORS = [20, 22, 24, 26] as const
export type NodeMajor = (typeof NODE_MAJORS)[number]

/** Path of the executable: this one when it is of that version, else one that is fetched when it is not there yet. */
export function nodeBinary(major: NodeMajor): string {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'heartwood-node')
  const folder = join(cache, String(major))
  const binary = join(folder, 'node_modules', 'node', 'bin', 'node')
  if (existsSync(binary)) return binary
  const work = `${folder}.${process.pid}.part`
  mkdirSync(work, { recursive: true })
  writeFileSync(join(work, 'package.json'), '{"private":true}')
  // The package's install script fetches the executable for this machine.
  const quiet = ['--no-audit', '--no-fund', '--no-progress']
  execFileSync('npm', ['install', ...quiet, `node@${major}`], { cwd: work, stdio: 'pipe', timeout: 300_000 })
  if (!existsSync(join(work, 'node_modules', 'node', 'bin', 'node')))
    throw new Error(`node@${major} brought no executable`)
  rmSync(folder, { recursive: true, force: true })
  renameSync(work, folder)
  return binary
}

const wanted = NODE_MAJORS.find(major => String(major) === process.argv[2])
if (wanted !== undefined && process.argv[1]?.includes('node-versions') === true) console.log(nodeBinary(wanted))
