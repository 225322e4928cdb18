/** Options that several commands take, and what the arguments choose. */
import type { Argv } from 'yargs'
import type { Isolation } from '../log/types.ts'
import { type Context, UsageError } from './common.ts'
import { ENCODINGS, type Encoding } from './encoding.ts'

const ISOLATIONS: readonly Isolation[] = ['read_uncommitted', 'read_committed']

/** A command that the arguments chose, ready to run; gives the exit status. */
export type Run = (context: Context) => Promise<number>
export type Choose = (run: Run) => void

/** What the examples of reading commands read, so that each page of help can be run from its first line to its last. */
export const SOMETHING_TO_READ = '$0 topics create orders --dir data && seq 1000 | $0 produce orders --dir data'

export function withDir<T>(command: Argv<T>): Argv<T & { dir: string[] }> {
  return command.option('dir', {
    type: 'string',
    array: true,
    nargs: 1,
    demandOption: true,
    describe: "data directory, with Kafka's layout; may be given several times"
  }) as unknown as Argv<T & { dir: string[] }>
}

export function withJson<T>(command: Argv<T>): Argv<T & { json: boolean }> {
  return command.option('json', { type: 'boolean', default: false, describe: 'one JSON object per line' })
}

export function withEncoding<T>(command: Argv<T>): Argv<T & { encoding: Encoding }> {
  return command.option('encoding', {
    choices: ENCODINGS,
    default: 'utf8' as Encoding,
    requiresArg: true,
    describe: 'of keys, values and header values'
  })
}

export function withIsolation<T>(command: Argv<T>): Argv<T & { isolation: Isolation }> {
  return command.option('isolation', {
    choices: ISOLATIONS,
    default: 'read_uncommitted' as Isolation,
    requiresArg: true,
    describe: 'what is seen of transactions'
  })
}

export const config = {
  type: 'string',
  array: true,
  nargs: 1,
  default: [] as string[],
  describe: "a setting, KEY=VALUE, with Kafka's keys or heartwood.*"
} as const
export const partition = {
  type: 'string',
  requiresArg: true,
  coerce: wholeNumber('--partition'),
  describe: 'only this partition'
} as const
export const topicName = { type: 'string', demandOption: true, describe: 'name of the topic' } as const

/** Checks a whole number; yargs gives `undefined` where the option was not used. */
export function wholeNumber(name: string, least = 0): (text: string | string[] | undefined) => number | undefined {
  return text => {
    if (text === undefined) return undefined
    if (Array.isArray(text)) throw new UsageError(`${name} may be given once`)
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
      throw new UsageError(`${name} takes a whole number from ${least} on, not "${text}"`)
    return value
  }
}
