/** `heartwood verify`: what it takes. */
import type { Argv } from 'yargs'
import type { Remedy } from '../verify/repair.ts'
import { UsageError } from './common.ts'
import { type Choose, SOMETHING_TO_READ, withJson } from './options.ts'

export function defineVerify(parser: Argv, chosen: Choose): void {
  parser.command(
    'verify <directory> [topics..]',
    "check every byte of a data directory, Kafka's or ours",
    y =>
      withJson(y.positional('directory', { type: 'string', demandOption: true, describe: 'data directory' }))
        .option('repair', {
          type: 'string',
          describe:
            'plan (the default): what each remedy would do and lose; rebuild; truncate-after=PARTITION:OFFSET; quarantine=FILE; salvage=NEWDIR'
        })
        .option('yes', {
          type: 'boolean',
          default: false,
          describe: 'do what --repair says; without this it is only told'
        })
        .positional('topics', { type: 'string', array: true, describe: 'only these topics' })
        .example(SOMETHING_TO_READ, '')
        .example('$0 verify data', '')
        .example('$0 verify data --repair plan', '')
        .epilogue(
          'Without --repair … --yes it changes nothing, and works beside a running Kafka or heartwood. Exit status 0: nothing is corrupt (what ' +
            'the next opening for writing puts right by itself is told, and is no failure); 1: something is.'
        ),
    a => {
      const { directory, json, yes } = a
      const topics = a.topics ?? []
      if (a.repair === undefined) {
        if (yes) throw new UsageError('--yes goes with --repair: which remedy?')
        chosen(async context => (await import('./verify.ts')).verify({ directory, topics, json }, context))
        return
      }
      const remedy = parseRemedy(a.repair)
      if (yes && remedy === 'plan') throw new UsageError('a plan changes nothing: name a remedy beside --yes')
      chosen(async context => (await import('./repair.ts')).repair({ directory, topics, json, yes, remedy }, context))
    }
  )
}

const REMEDIES = 'plan, rebuild, truncate-after=PARTITION:OFFSET, quarantine=FILE or salvage=NEWDIR'

function parseRemedy(text: string | string[]): Remedy | 'plan' {
  if (Array.isArray(text)) throw new UsageError('--repair may be given once')
  const wrong = new UsageError(`--repair takes ${REMEDIES}, not "${text}"`)
  if (text === '' || text === 'plan') return 'plan'
  if (text === 'rebuild') return { kind: 'rebuild' }
  const [, kind, argument = ''] = /^(truncate-after|quarantine|salvage)=(.+)$/.exec(text) ?? []
  if (kind === 'quarantine') return { kind, file: argument }
  if (kind === 'salvage') return { kind, to: argument }
  const [, partition = '', offset = ''] = /^(.+):(\d{1,16})$/.exec(argument) ?? []
  if (kind !== 'truncate-after' || partition === '' || !Number.isSafeInteger(Number(offset))) throw wrong
  return { kind, partition, offset: Number(offset) }
}
