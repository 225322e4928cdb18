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
  usageEveryMs: 0,
  reader: process.pid
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
  /** Descriptor of a file that the lines go to instead; nothing is heard then. */
  readonly output?: number
}

export function writerCommand(options: WriterOptions, nodeArgs: readonly string[] = []): string[] {
  return [process.execPath, ...nodeArgs, ...loader, program, JSON.stringify(options)]
}

/** @param hear - is given every whole line, in order, as soon as it is there. */
export function startWriter(options: WriterOptions, hear: (line: Line) => void, start: StartOptions = {}): Writer {
  const { env = {}, through = command => command, nodeArgs = [], output } = start
  // The test runner's own hooks are not for it: they would make it slow.
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const [command = '', ...args] = through(writerCommand(options, nodeArgs))
  const child = spawn(command, args, { env: { ...inherited, ...env }, stdio: ['ignore', output ?? 'pipe', 'pipe'] })
  let errors = ''
  child.stderr?.on('data', chunk => {
    errors += String(chunk)
  })
  const heard = child.stdout === null ? undefined : hearLines(child.stdout, hear)
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

/** Resolves at the end of what there is to hear. */
function hearLines(input: NodeJS.ReadableStream, hear: (line: Line) => void): Promise<void> {
  const lines = createInterface({ input })
  lines.on('line', text => {
    const line = parseLine(text)
    if (line !== undefined) hear(line)
  })
  return new Promise(resolve => lines.once('close', resolve))
}
