/** Runs the command line as a process of its own: as it was built, or from the sources where the test is. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const isSource = import.meta.url.endsWith('.ts')
const main = fileURLToPath(new URL(`../../lib/cli/main.${isSource ? 'ts' : 'js'}`, import.meta.url))

/** What to put before a command's own arguments. */
export const BINARY: readonly string[] = [
  process.execPath,
  ...(isSource ? ['--import', import.meta.resolve('tsx')] : []),
  main
]

/** For `sh -c`: a function `heartwood` that is the command. */
export const SHELL_FUNCTION = `heartwood() { ${BINARY.map(word => `'${word}'`).join(' ')} "$@"; }\n`

export interface Finished {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export function start(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const [node, ...first] = BINARY
  return spawn(node as string, [...first, ...args], options)
}

/** Gathers what a process prints, until it ends. */
export async function finished(child: ChildProcess): Promise<Finished> {
  const stdout = gathered(child.stdout)
  const stderr = gathered(child.stderr)
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, by) => resolve([code, by]))
  })
  return { status, signal, stdout: await stdout, stderr: await stderr }
}

/** A script of `sh`, in which `heartwood` is the command, and pipes fail when any part of them does. */
export function shell(script: string, cwd: string): Promise<Finished> {
  return finished(
    spawn('bash', ['-c', `set -e -o pipefail\n${SHELL_FUNCTION}${script}`], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  )
}

async function gathered(stream: NodeJS.ReadableStream | null): Promise<string> {
  const chunks: Buffer[] = []
  if (stream !== null) for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** Resolves when `condition` holds for what `stream` has printed so far. */
export async function printed(child: ChildProcess, condition: (text: string) => boolean): Promise<string> {
  let text = ''
  return new Promise((resolve, reject) => {
    const look = (chunk: Buffer): void => {
      text += chunk.toString()
      if (!condition(text)) return
      child.stdout?.off('data', look)
      resolve(text)
    }
    child.stdout?.on('data', look)
    child.once('close', () => reject(new Error(`it ended before, having printed ${JSON.stringify(text)}`)))
  })
}
