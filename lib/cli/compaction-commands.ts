/** `heartwood compact`: what it takes. */
import type { Argv } from 'yargs'
import { type Choose, partition, wholeNumber, withDir, withJson } from './options.ts'

export function defineCompaction(parser: Argv, chosen: Choose): void {
  parser.command(
    'compact [topics..]',
    'keep the latest record of each key in compacted topics',
    y =>
      withJson(withDir(y.positional('topics', { type: 'string', array: true, describe: 'only these topics' })))
        .option('partition', { ...partition, describe: 'only this partition of them' })
        .option('dry-run', { type: 'boolean', default: false, describe: 'read all of it, count, and change nothing' })
        .option('explain', {
          type: 'boolean',
          default: false,
          describe: 'for each partition why it is cleaned or not, with the numbers'
        })
        .option('force', { type: 'boolean', default: false, describe: 'whatever min.cleanable.dirty.ratio says' })
        .option('now', {
          type: 'string',
          requiresArg: true,
          coerce: wholeNumber('--now'),
          describe: 'as if it were this time, ms since 1970'
        })
        .example(
          '$0 topics create prices --dir data --config cleanup.policy=compact --config segment.bytes=1048576',
          ''
        )
        .example(`seq 1000 | awk '{print $1 % 7 "=" $1}' | $0 produce prices --dir data --key-separator =`, '')
        .example('$0 compact --dir data --dry-run --explain', '')
        .example('$0 compact prices --dir data --force', ''),
    a =>
      chosen(async context =>
        (await import('./compaction.ts')).compact(
          { ...a, topics: a.topics ?? [], partition: a.partition, now: a.now },
          context
        )
      )
  )
}
