/**
 * Who holds a data directory: what /proc tells about a process and about locks. Everything here is for messages and
 * for looking without touching; it never decides who gets a lock.
 */
import { lstat, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { LogError } from '../util/errors.ts'

export type HolderKind = 'kafka' | 'heartwood' | 'unknown'

export interface LockHolder {
  /** As the holder's own process table numbers it; `undefined` when nothing tells. */
  readonly pid: number | undefined
  readonly kind: HolderKind
  /** Names of program and script, no arguments: those may hold secrets. */
  readonly command: string | undefined
}

/** The lock file of Kafka's LogManager. Its descriptors are precious: see `record-lock.ts`. */
export const LOCK_FILE = '.lock'

const MAX_COMMAND_CHARACTERS = 120

/** What runs under this pid, as far as /proc says. */
export async function describeProcess(pid: number): Promise<LockHolder> {
  const args = await commandLine(pid)
  if (args === undefined) return { pid, kind: 'unknown', command: undefined }
  const [program = '', ...rest] = args
  if (rest.includes('kafka.Kafka')) return { pid, kind: 'kafka', command: 'kafka.Kafka' }
  // Options may have values of their own; a script looks like a file.
  const script = rest.find(arg => !arg.startsWith('-') && /[/\\]|\.[cm]?[jt]s$/.test(arg))
  const command = [program, ...(script === undefined ? [] : [script])].map(part => basename(part)).join(' ')
  return { pid, kind: 'unknown', command: command.slice(0, MAX_COMMAND_CHARACTERS) }
}

/** `undefined` where there is no /proc, or the process is gone or somebody else's. */
async function commandLine(pid: number): Promise<string[] | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8')
    const args = text.split('\0').filter(Boolean)
    return args.length === 0 ? undefined : args
  } catch {
    return undefined
  }
}

/**
 * The process with a record lock on `path`, from /proc/locks. The file is not opened: closing any descriptor of it
 * would end this process' own lock.
 *
 * @returns undefined when there is none, or the system does not tell (no /proc; the holder is in another container).
 */
export async function recordLockHolder(path: string): Promise<number | undefined> {
  let table: string
  let dev: bigint
  let ino: bigint
  try {
    ;({ dev, ino } = await lstat(path, { bigint: true }))
    table = await readFile('/proc/locks', 'utf8')
  } catch {
    return undefined
  }
  return findLock(table, { dev, ino })
}

/** The pid of a write lock in a text of the form of /proc/locks: `1: POSIX  ADVISORY  WRITE 17066 fe:00:10125652 0 EOF`. */
export function findLock(table: string, { dev, ino }: { dev: bigint; ino: bigint }): number | undefined {
  const device = `${hexByte((dev >> 8n) & 0xfffn)}:${hexByte((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n))}`
  for (const line of table.split('\n')) {
    const match = /^\d+: (?:POSIX|OFDLCK)\s+\S+\s+WRITE\s+(-?\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) /.exec(line)
    if (match?.[2] === device && match[3] === ino.toString()) {
      // An open file description's lock has no pid (-1), and a process of another container shows as 0.
      return Math.max(0, Number(match[1]))
    }
  }
  return undefined
}

function hexByte(value: bigint): string {
  return value.toString(16).padStart(2, '0')
}

/** The error for a directory that somebody else holds. */
export function lockedError(directory: string, holder: LockHolder): LogError {
  const pid = holder.pid === undefined || holder.pid === 0 ? undefined : holder.pid
  const which = pid === undefined ? 'a process that does not tell its id' : `pid ${pid}`
  const command = holder.command === undefined ? '' : `, ${holder.command}`
  const heartwood =
    pid === process.pid
      ? `${directory} is open in this process already (${which}): share that store, close it first, or open read-only`
      : `${directory} is open in another heartwood (${which}${command}): close it there, or open read-only`
  const message = {
    kafka: `${directory} is in use by a Kafka broker (${which}): stop the broker first, or open read-only`,
    heartwood,
    unknown: `${directory} is locked by ${which}${command}: end that process first, or open read-only`
  }[holder.kind]
  return new LogError('LOCKED', message, { directory, pid, kind: holder.kind, command: holder.command })
}
