/** Runs a writer and reads what it tells. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Line, parseLine, type WriterOptions } from './lines.ts'

const isCompiled = import.meta.url.endsWith('.js')
const program = fileURLToPath(new URL(`./writer.child${isCompiled ? '.js' : '.ts'}`, import.meta.url))
const loader = isCompiled ? [] : ['--import', import.meta.resolve('tsx')]

export const WRITER_DEFAULTS: Omit<WriterOptions, 'dir' | 'seed'> = {
  firstNumber: 0,
  resume: [],
  keepGoing: false,
  cleanerThread: false,
  rounds: 5,
  pauseMs: 0,
  usageEveryMs: 0
}

export interface Writer {
  readonly child: ChildProcess
  /** Resolves when it has ended and all that it told has been heard. */
  readonly ended: Promise<{
    readonly code: number | null
    readonly signal: NodeJS.Signals | null
    readonly errors: string
  }>
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A command that starts the writer: its last words are node and its arguments. */
  readonly through?: (command: readonly string[]) => readonly string[]
  readonly nodeArgs?: readonly string[]
}

export function writerCommand(options: WriterOptions, nodeArgs: readonly string[] = []): string[] {
  return [process.execPath, ...nodeArgs, ...loader, program, JSON.stringify(options)]
}

/** @param hear - is given every whole line, in order, as soon as it is there. */
export function startWriter(options: WriterOptions, hear: (line: Line) => void, start: StartOptions = {}): Writer {
  const { env = {}, through = command => command, nodeArgs = [] } = start
  // The test runner's own hooks are not for it: they would make it slow.
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const [command = '', ...args] = through(writerCommand(options, nodeArgs))
  const child = spawn(command, args, { env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.on('data', chunk => {
    errors += String(chunk)
  })
  const lines = createInterface({ input: child.stdout })
  lines.on('line', text => {
    const line = parseLine(text)
    if (line !== undefined) hear(line)
  })
  const heard = new Promise<void>(resolve => lines.once('close', resolve))
  const closed = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  const ended = (async () => {
    const how = await closed
    await heard
    return { ...how, errors }
  })()
  return { child, ended }
}
