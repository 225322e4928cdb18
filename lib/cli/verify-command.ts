/** `heartwood verify`: what it takes. */
import type { Argv } from 'yargs'
import { type Choose, SOMETHING_TO_READ, withJson } from './options.ts'

export function defineVerify(parser: Argv, chosen: Choose): void {
  parser.command(
    'verify <directory> [topics..]',
    "check every byte of a data directory, Kafka's or ours",
    y =>
      withJson(y.positional('directory', { type: 'string', demandOption: true, describe: 'data directory' }))
        .positional('topics', { type: 'string', array: true, describe: 'only these topics' })
        .example(SOMETHING_TO_READ, '')
        .example('$0 verify data', '')
        .epilogue(
          'It changes nothing, and works beside a running Kafka or heartwood. Exit status 0: nothing is corrupt (what ' +
            'the next opening for writing puts right by itself is told, and is no failure); 1: something is.'
        ),
    a => chosen(async context => (await import('./verify.ts')).verify({ ...a, topics: a.topics ?? [] }, context))
  )
}
