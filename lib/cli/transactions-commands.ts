/** `heartwood transactions`: what its commands take. */
import type { Argv } from 'yargs'
import { UsageError } from './common.ts'
import { type Choose, SOMETHING_TO_READ, wholeNumber, withDir, withJson } from './options.ts'

const topic = { type: 'string', describe: 'only this topic' } as const
const producerId = {
  type: 'string',
  requiresArg: true,
  coerce: wholeNumber('--producer-id'),
  describe: 'only transactions of this producer'
} as const

export function defineTransactions(parser: Argv, chosen: Choose): void {
  parser.command('transactions', 'list and abort transactions that nobody has ended', transactions =>
    transactions
      .command(
        'list [topic]',
        'open transactions, how old they are, and how much waits behind them',
        y =>
          withJson(withDir(y.positional('topic', topic)))
            .option('producer-id', producerId)
            .example(SOMETHING_TO_READ, '')
            .example('$0 transactions list --dir data', ''),
        a =>
          chosen(async context =>
            (await import('./transactions.ts')).listTransactions(
              { ...a, topic: a.topic, producerId: a.producerId },
              context
            )
          )
      )
      .command(
        'abort [topic]',
        'end open transactions with an abort marker: what they wrote is never shown to readers of committed records',
        y =>
          withJson(withDir(y.positional('topic', topic)))
            .option('producer-id', producerId)
            .option('yes', {
              type: 'boolean',
              default: false,
              describe: 'do it; without this it is only told what would be aborted'
            })
            .example(SOMETHING_TO_READ, '')
            .example('$0 transactions abort orders --dir data --yes', ''),
        a => {
          if (a.topic === undefined && a.producerId === undefined)
            throw new UsageError('name a topic, or a producer with --producer-id: which transactions shall be aborted?')
          chosen(async context =>
            (await import('./transactions.ts')).abortTransactions(
              { ...a, topic: a.topic, producerId: a.producerId },
              context
            )
          )
        }
      )
      .demandCommand(1, 'transactions takes list or abort')
  )
}
