/**
 * The command line: arguments in, exit status out. Which commands there are is in commands.ts.
 *
 * Exit status: 0 done, 1 the data or the operation failed, 2 wrong usage, 130 interrupted.
 */
import { createRequire } from 'node:module'
import yargs from 'yargs'
import { systemCode } from '../fs/system-errors.ts'
import { isLogError } from '../util/errors.ts'
import { withAdvice } from './advice.ts'
import { defineCommands } from './commands.ts'
import { type Context, isUsageError, UsageError } from './common.ts'
import type { Run } from './options.ts'
import { ClosedPipe, Output, type Terminal } from './output.ts'
import { usageMessage } from './usage-messages.ts'

/** Parses `args` (without node and script), runs the command and gives the exit status. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  // Whoever closed standard error does not want to know.
  terminal.stderr.on('error', () => {})
  const say = (line: string): void => void terminal.stderr.write(`${line}\n`)
  const context: Context = { terminal, out: new Output(terminal.stdout), say }
  try {
    const run = await parseArguments(args, context)
    return run === undefined ? 0 : await run(context)
  } catch (error) {
    if (error instanceof ClosedPipe) return 0
    if (isUsageError(error)) {
      say(`heartwood: ${oneLine(error)} (see heartwood ${helpFor(args)}--help)`)
      return 2
    }
    await context.out.flush().catch(() => {})
    if (terminal.interrupted.aborted && isAbort(error)) return 130
    // Anything else is a defect of ours, and shown as one.
    if (!isLogError(error) && systemCode(error) === undefined) throw error
    const line = oneLine(error)
    say(`heartwood: ${isLogError(error) ? `${error.code}: ${withAdvice(error.code, line)}` : line}`)
    return 1
  }
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ')
}

function isAbort(error: unknown): boolean {
  return isLogError(error, 'ABORTED') || (error instanceof Error && error.name === 'AbortError')
}

/** Options that may be given several times. Positional lists are arrays too. */
const LISTS: ReadonlySet<string> = new Set([
  'dir',
  'config',
  'delete-config',
  'deleteConfig',
  'topics',
  'paths',
  'compare',
  '_'
])

function onlyOnce(argv: Readonly<Record<string, unknown>>): true {
  const command = (argv['_'] as unknown[])[0]
  for (const [name, value] of Object.entries(argv)) {
    const isList = LISTS.has(name) || (command === 'offsets' && name === 'timestamp')
    if (Array.isArray(value) && !isList) throw new UsageError(`--${name} may be given once`)
  }
  return true
}

/** The parser keeps options in plain objects, and takes a name that every object has for one of its own. */
function refuseInherited(args: readonly string[]): void {
  const end = args.indexOf('--')
  for (const arg of end < 0 ? args : args.slice(0, end)) {
    const given = /^--+([^=]*)/.exec(arg)?.[1] ?? ''
    // It names `--some-option` a second time as `someOption`, and so it does `--some_option-`.
    const name = given.replace(/[-_]+$/, '').replace(/[-_]+(.)/g, (_, letter: string) => letter.toUpperCase())
    if (given in Object.prototype || name in Object.prototype)
      throw new UsageError(`there is no option --${given} here`)
  }
}

function helpFor(args: readonly string[]): string {
  const words = args.filter(arg => !arg.startsWith('-'))
  const known = ['topics', 'produce', 'consume', 'offsets', 'dump', 'backup', 'transactions', 'verify', 'bench']
  const command = words[0]
  if (command === undefined || !known.includes(command)) return ''
  const verbs = ['create', 'list', 'describe', 'alter', 'delete', 'hand-over']
  const verb = words[1]
  return command === 'topics' && verb !== undefined && verbs.includes(verb) ? `topics ${verb} ` : `${command} `
}

/**
 * What `args` choose, not yet run; `undefined` where they asked for help or the version, which is printed.
 *
 * @throws {UsageError}
 */
export async function parseArguments(args: readonly string[], context: Context): Promise<Run | undefined> {
  refuseInherited(args)
  let run: Run | undefined
  const chosen = (chosenRun: Run): void => {
    run = chosenRun
  }
  const parser = yargs()
    .scriptName('heartwood')
    .usage('$0 COMMAND\n\nAn Apache Kafka compatible commit log in a folder: no server, no port.')
    .parserConfiguration({
      'camel-case-expansion': true,
      'duplicate-arguments-array': true,
      'parse-numbers': false,
      'boolean-negation': false,
      'dot-notation': false
    })
    .exitProcess(false)
    .strict()
    .detectLocale(false)
    .check(onlyOnce)
    .demandCommand(1, 'which command?')
    .version(packageVersion())
    .wrap(Math.min(110, (context.terminal.stderr as NodeJS.WriteStream).columns ?? 100))
    .completion('completion', 'print a script for shell completion (bash and zsh)')
  defineCommands(parser, chosen)
  await new Promise<void>((resolve, reject) => {
    const parsed = parser.parse([...args], {}, (error, _argv, output) => {
      if (error !== undefined && error !== null) {
        const text = String(typeof error === 'string' ? error : error.message)
        reject(error instanceof UsageError ? error : new UsageError(usageMessage(text, args)))
        return
      }
      if (output !== '') void context.out.write(`${output}\n`)
      resolve()
    })
    Promise.resolve(parsed).catch((error: unknown) =>
      reject(error instanceof Error ? new UsageError(usageMessage(error.message, args)) : error)
    )
  })
  await context.out.flush()
  return run
}

function packageVersion(): string {
  const require = createRequire(import.meta.url)
  return (require('heartwood/package.json') as { version: string }).version
}
