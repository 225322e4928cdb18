/**
 * One of many processes that want the same directory; started by `directory-lock.test.ts`.
 *
 * Arguments: directory, folder for the evidence, sections to go through, how it ends a section
 * (`release`, or `kill`: SIGKILL while the last one is held).
 */
import { closeSync, openSync, readdirSync, readFileSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { lockDirectory } from '../../lib/fs/directory-lock.ts'
import { isLogError } from '../../lib/util/errors.ts'

const [directory = '', evidence = '', sections = '0', ending = 'release', kinds = 'none'] = process.argv.slice(2)
const marker = join(evidence, 'inside')

async function main(): Promise<void> {
  for (let left = Number(sections); left > 0; ) {
    const lock = await lockDirectory(directory, {
      recordLocks: kinds.split(',') as ('fcntl' | 'sqlite' | 'none')[]
    }).catch(error => {
      if (isLogError(error, 'LOCKED')) return undefined
      throw error
    })
    if (lock === undefined) {
      await pause(Math.random() * 20)
      continue
    }
    left -= 1
    enter()
    await pause(Math.random() * 3)
    if (left === 0 && ending === 'kill') process.kill(process.pid, 'SIGKILL')
    leave()
    await lock.release()
    await pause(Math.random() * 3)
  }
}

function enter(): void {
  try {
    claimMarker()
  } catch {
    const other = Number(readFileSync(marker, 'utf8'))
    if (!isDead(other)) note(`overlap ${process.pid} ${other}\n`)
    unlinkSync(marker)
    claimMarker()
  }
  note('section\n')
}

/** Created or failed: two that are inside at once cannot both do it. */
function claimMarker(): void {
  writeFileSync(marker, String(process.pid), { flag: 'wx' })
}

function leave(): void {
  if (readFileSync(marker, 'utf8') !== String(process.pid)) note(`overlap ${process.pid} at the end\n`)
  unlinkSync(marker)
}

/** Killed while inside: the kernel closes all of its files, the socket among them, before the process is gone. */
function isDead(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).length === 0
  } catch {
    return true
  }
}

function note(line: string): void {
  const fd = openSync(join(evidence, 'notes'), 'a')
  writeSync(fd, line)
  closeSync(fd)
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, milliseconds)
  })
}

main().catch(error => {
  note(`failed ${String(error)}\n`)
  process.exitCode = 1
})
