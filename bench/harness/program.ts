/**
 * Runs a program of bench/programs in a process of its own: where a process is what is asked about (its memory, its
 * descriptors, that it is new, that it dies).
 *
 * A program takes one argument, a job as JSON, and prints one line of JSON, its report.
 */
import { execFile } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface ProgramOptions {
  /** `ulimit -n` of the process. */
  readonly openFiles?: number
  /** Flags of Node for it, in front of those of this process. */
  readonly flags?: readonly string[]
  /** The signal that the program ends itself with, instead of a report. */
  readonly endsWith?: NodeJS.Signals
}

const LARGEST_REPORT = 16 * 1024 * 1024

/**
 * Without a limit of its own: the runner's `--time-limit` ends a child together with the programs that it started.
 *
 * @returns the report; `undefined` with `endsWith`.
 * @throws {Error} with what the program wrote to stderr, when it ends in any other way than it should.
 */
export function runProgram(name: string, job: unknown, options: ProgramOptions = {}): Promise<unknown> {
  const { openFiles, flags = [], endsWith } = options
  // From dist/ the compiled program; from the sources the source, with the loader that this process has.
  const path = fileURLToPath(new URL(`../programs/${name}${extname(import.meta.url)}`, import.meta.url))
  const args = [...flags, ...process.execArgv, path, JSON.stringify(job)]
  const [file, given] =
    openFiles === undefined
      ? [process.execPath, args]
      : ['sh', ['-c', `ulimit -n ${openFiles} && exec "$@"`, 'sh', process.execPath, ...args]]
  return new Promise((resolve, reject) => {
    const child = execFile(file, given, { maxBuffer: LARGEST_REPORT }, (error, stdout, stderr) => {
      const { signalCode } = child
      if (endsWith !== undefined && signalCode === endsWith) return resolve(undefined)
      if (error !== null || endsWith !== undefined) {
        const how = signalCode ?? `exit status ${child.exitCode}`
        return reject(new Error(`bench/programs/${name} ended with ${how}: ${stderr.trim() || stdout.trim()}`))
      }
      try {
        resolve(JSON.parse(stdout.slice(stdout.trimEnd().lastIndexOf('\n') + 1)))
      } catch {
        reject(new Error(`bench/programs/${name} printed no report: ${stdout.slice(-500)}`))
      }
    })
  })
}

/** The other side: what every program of bench/programs does with its `main`. */
export function program<Job>(main: (job: Job) => Promise<unknown>): void {
  main(JSON.parse(process.argv[2] ?? '{}') as Job).then(
    report => console.log(JSON.stringify(report)),
    error => {
      console.error(error)
      process.exitCode = 1
    }
  )
}
