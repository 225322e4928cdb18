/** The runner's command line: arguments in, a checked request out. */
import { accessSync, constants, statSync } from 'node:fs'
import yargs from 'yargs'

export interface Request {
  readonly list: boolean
  /** `['all']` or names; checked against what there is by the caller. */
  readonly questions: readonly string[]
  readonly dir?: string
  readonly rounds: number
  readonly rows?: string
  readonly only?: readonly string[]
  readonly quick: boolean
  readonly json?: string
  readonly results: boolean
  readonly timeLimitMs: number
}

/** Wrong usage: one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export type Parsed = { readonly request: Request } | { readonly help: string }

export async function parseArguments(args: readonly string[], columns: number): Promise<Parsed> {
  let failure: string | undefined
  let help = ''
  const argv = await yargs()
    .scriptName('npm run bench --')
    .usage('$0 QUESTION... [options]\n\nMeasures heartwood, bare loops and rivals side by side on the disk of --dir.')
    .parserConfiguration({ 'parse-numbers': false, 'boolean-negation': false, 'duplicate-arguments-array': false })
    .exitProcess(false)
    .strictOptions()
    .detectLocale(false)
    .version(false)
    .wrap(Math.min(110, columns))
    .options({
      list: { type: 'boolean', describe: 'list the questions and their rows' },
      dir: {
        type: 'string',
        requiresArg: true,
        describe: 'folder on the disk to measure [default: a temporary folder]'
      },
      rounds: { type: 'string', requiresArg: true, describe: 'interleaved rounds [default: 5, with --quick 1]' },
      rows: {
        type: 'string',
        requiresArg: true,
        describe: 'only rows whose name contains this; * stands for anything'
      },
      only: { type: 'string', requiresArg: true, describe: 'only these contestants, separated by commas' },
      quick: { type: 'boolean', describe: 'a tenth of the work: shows that it runs, not how fast it is' },
      json: { type: 'string', requiresArg: true, describe: 'write every figure of every round to this file' },
      results: { type: 'boolean', describe: 'write bench/RESULTS.md, RESULTS.json and charts' },
      'time-limit': { type: 'string', requiresArg: true, describe: 'seconds for one measurement [default: 300]' }
    })
    .example('npm run bench -- append scan --dir /mnt/disk', 'two questions, five rounds each')
    .example('npm run bench -- all --results', 'everything, written to bench/RESULTS.md')
    .fail((message, error) => {
      failure ??= message ?? error?.message ?? 'wrong usage'
    })
    .parse([...args], {}, (error, _argv, output) => {
      if (error === undefined || error === null) help = output
    })
  if (failure !== undefined) throw new UsageError(failure)
  if (help !== '') return { help }
  return { request: checked(argv as Record<string, unknown>) }
}

function checked(argv: Readonly<Record<string, unknown>>): Request {
  const quick = argv['quick'] === true
  const text = (name: string): string | undefined => argv[name] as string | undefined
  const questions = (argv['_'] as unknown[]).map(String)
  const list = argv['list'] === true
  const rounds = count('rounds', text('rounds'), quick ? 1 : 5, 1000)
  const rows = text('rows')
  const only = text('only')
    ?.split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
  const results = argv['results'] === true
  if (results && (quick || rounds < 5 || rows !== undefined || only !== undefined))
    throw new UsageError(
      '--results wants whole questions at full scale: no --quick, --rows, --only, and 5 rounds or more'
    )
  const dir = text('dir')
  if (dir !== undefined) checkDirectory(dir)
  const json = text('json')
  return {
    list,
    questions,
    rounds,
    quick,
    results,
    timeLimitMs: count('time-limit', text('time-limit'), 300, 86_400) * 1000,
    ...(dir === undefined ? {} : { dir }),
    ...(rows === undefined ? {} : { rows }),
    ...(only === undefined ? {} : { only }),
    ...(json === undefined ? {} : { json })
  }
}

function count(name: string, text: string | undefined, otherwise: number, max: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > max)
    throw new UsageError(`--${name} wants a whole number from 1 to ${max}, not '${text}'`)
  return value
}

function checkDirectory(dir: string): void {
  const stat = statSync(dir, { throwIfNoEntry: false })
  if (stat === undefined) throw new UsageError(`--dir ${dir} does not exist`)
  if (!stat.isDirectory()) throw new UsageError(`--dir ${dir} is no folder`)
  try {
    accessSync(dir, constants.W_OK | constants.X_OK)
  } catch {
    throw new UsageError(`--dir ${dir} cannot be written to`)
  }
}
