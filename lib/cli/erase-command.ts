/** `heartwood erase`: what it takes. */
import type { Argv } from 'yargs'
import { type Choose, partition, topicName, withDir, withEncoding, withJson } from './options.ts'

export function defineErase(parser: Argv, chosen: Choose): void {
  parser.command(
    'erase <topic>',
    'take the records of a key out of the files, for good',
    y =>
      withJson(withEncoding(withDir(y.positional('topic', topicName))))
        .option('key', { type: 'string', requiresArg: true, demandOption: true, describe: 'the key' })
        .option('partition', { ...partition, describe: 'only this partition; all of them otherwise' })
        .option('yes', {
          type: 'boolean',
          default: false,
          describe: 'do it; without this it is only told what would go'
        })
        .example('$0 topics create people --dir data', '')
        .example(`seq 1000 | awk '{print "p" $1 % 7 "=" $1}' | $0 produce people --dir data --key-separator =`, '')
        .example('$0 erase people --key p3 --dir data', '')
        .example('$0 erase people --key p3 --dir data --yes', ''),
    a => chosen(async context => (await import('./erase.ts')).erase({ ...a, partition: a.partition }, context))
  )
}
