/** `heartwood retain`, `heartwood delete-records`: what they take. */
import type { Argv } from 'yargs'
import { type Choose, partition, SOMETHING_TO_READ, topicName, wholeNumber, withDir, withJson } from './options.ts'

export function defineRetention(parser: Argv, chosen: Choose): void {
  parser
    .command(
      'retain [topics..]',
      "take away what the topics' retention says",
      y =>
        withJson(withDir(y.positional('topics', { type: 'string', array: true, describe: 'only these topics' })))
          .option('dry-run', { type: 'boolean', default: false, describe: 'decide, and change nothing' })
          .option('explain', {
            type: 'boolean',
            default: false,
            describe: 'for each segment why it goes or stays, with the numbers'
          })
          .option('now', {
            type: 'string',
            requiresArg: true,
            coerce: wholeNumber('--now'),
            describe: 'as if it were this time, ms since 1970'
          })
          .example('$0 topics create orders --dir data --config retention.ms=1000', '')
          .example('seq 1000 | $0 produce orders --dir data', '')
          .example('$0 retain --dir data --dry-run --explain', '')
          .example('$0 retain orders --dir data', ''),
      a =>
        chosen(async context =>
          (await import('./retention.ts')).retain({ ...a, topics: a.topics ?? [], now: a.now }, context)
        )
    )
    .command(
      'delete-records <topic>',
      'delete the records of a partition before an offset',
      y =>
        withJson(withDir(y.positional('topic', topicName)))
          .option('partition', { ...partition, demandOption: true, describe: 'of this partition' })
          .option('before', {
            type: 'string',
            requiresArg: true,
            demandOption: true,
            coerce: wholeNumber('--before'),
            describe: 'the first offset that stays'
          })
          .example(SOMETHING_TO_READ, '')
          .example('$0 delete-records orders --dir data --partition 0 --before 500', ''),
      a =>
        chosen(async context =>
          (await import('./retention.ts')).deleteRecords(
            { ...a, partition: Number(a.partition), before: Number(a.before) },
            context
          )
        )
    )
}
