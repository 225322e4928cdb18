/**
 * Which commands there are and what they take. What they do is in a file each, which is loaded when it is chosen: help,
 * completion and wrong usage need none of the library.
 */
import type { Argv } from 'yargs'
import { SMALLEST_SIZE_BYTES } from '../disk-bench/bounds.ts'
import type { Durability } from '../log/log-config.ts'
import { COMPRESSION_NAMES, type CompressionName } from '../record/batch-format.ts'
import { UsageError } from './common.ts'
import { defineCompaction } from './compaction-commands.ts'
import { DUMP_KINDS } from './dump-kinds.ts'
import { defineErase } from './erase-command.ts'
import {
  type Choose,
  config,
  partition,
  SOMETHING_TO_READ,
  topicName,
  wholeNumber,
  withDir,
  withEncoding,
  withIsolation,
  withJson
} from './options.ts'
import { defineRetention } from './retention-commands.ts'
import { defineTransactions } from './transactions-commands.ts'
import { defineVerify } from './verify-command.ts'

const DURABILITIES: readonly Durability[] = ['batch', 'interval', 'none', 'buffered']

/** Adds every command to `parser`; `chosen` is called by the one that the arguments name. */
export function defineCommands(parser: Argv, chosen: Choose): void {
  defineTopics(parser, chosen)
  defineProduce(parser, chosen)
  defineConsume(parser, chosen)
  defineOthers(parser, chosen)
  defineRetention(parser, chosen)
  defineCompaction(parser, chosen)
  defineErase(parser, chosen)
  defineTransactions(parser, chosen)
  defineVerify(parser, chosen)
  defineBench(parser, chosen)
}

function defineTopics(parser: Argv, chosen: Choose): void {
  parser.command('topics', 'create, list, describe, alter and delete topics', topics => {
    for (const define of [defineCreate, defineLooking, defineAlter, defineDelete, defineHandOver])
      define(topics, chosen)
    return topics.demandCommand(1, 'topics takes create, list, describe, alter, delete or hand-over')
  })
}

function defineCreate(topics: Argv, chosen: Choose): Argv {
  return topics.command(
    'create <topic>',
    'create a topic',
    y =>
      withJson(withDir(y.positional('topic', topicName)))
        .option('partitions', {
          type: 'string',
          default: '1',
          requiresArg: true,
          coerce: wholeNumber('--partitions', 1),
          describe: 'how many'
        })
        .option('replication-factor', {
          type: 'string',
          default: '1',
          requiresArg: true,
          coerce: wholeNumber('--replication-factor'),
          describe: 'always 1 here'
        })
        .option('config', config)
        .example('$0 topics create orders --dir data --partitions 3 --config segment.bytes=1048576', ''),
    a =>
      chosen(async context =>
        (await import('./topics.ts')).createTopic(
          { ...a, partitions: Number(a.partitions), replicationFactor: Number(a.replicationFactor) },
          context
        )
      )
  )
}

function defineLooking(topics: Argv, chosen: Choose): Argv {
  return topics
    .command(
      'list',
      'list topics',
      y =>
        withJson(withDir(y))
          .option('internal', { type: 'boolean', default: false, describe: "also Kafka's own" })
          .example('$0 topics create orders --dir data', '')
          .example('$0 topics list --dir data', ''),
      a => chosen(async context => (await import('./topics.ts')).listTopics(a, context))
    )
    .command(
      'describe [topic]',
      'offsets, settings and sizes of topics',
      y =>
        withJson(withDir(y.positional('topic', { type: 'string', describe: 'only this topic' })))
          .option('internal', { type: 'boolean', default: false, describe: "also Kafka's own" })
          .example('$0 topics create orders --dir data', '')
          .example('$0 topics describe orders --dir data --json', ''),
      a => chosen(async context => (await import('./topics.ts')).describeTopics({ ...a, topic: a.topic }, context))
    )
}

function defineAlter(topics: Argv, chosen: Choose): Argv {
  return topics.command(
    'alter <topic>',
    'change settings, add partitions',
    y =>
      withJson(withDir(y.positional('topic', topicName)))
        .option('config', config)
        .option('delete-config', { ...config, describe: 'a setting to take back to its default' })
        .option('partitions', {
          type: 'string',
          requiresArg: true,
          coerce: wholeNumber('--partitions', 1),
          describe: 'new number of partitions'
        })
        .example('$0 topics create orders --dir data', '')
        .example('$0 topics alter orders --dir data --config retention.ms=604800000', ''),
    a => chosen(async context => (await import('./topics.ts')).alterTopic({ ...a, partitions: a.partitions }, context))
  )
}

function defineDelete(topics: Argv, chosen: Choose): Argv {
  return topics.command(
    'delete <topic>',
    'delete a topic and its records',
    y =>
      withJson(withDir(y.positional('topic', topicName)))
        .example('$0 topics create orders --dir data', '')
        .example('$0 topics delete orders --dir data', ''),
    a => chosen(async context => (await import('./topics.ts')).deleteTopic(a, context))
  )
}

function defineHandOver(topics: Argv, chosen: Choose): Argv {
  return topics.command(
    'hand-over <topic>',
    'give a topic to a stopped broker that has an empty topic of that name',
    y =>
      withJson(withDir(y.positional('topic', topicName)))
        .option('to', {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: "the broker's data directory"
        })
        .example(SOMETHING_TO_READ, '')
        .example('$0 topics create orders --dir broker', '')
        .example('$0 topics hand-over orders --dir data --to broker', ''),
    a => chosen(async context => (await import('./topics.ts')).handOver(a, context))
  )
}

function defineProduce(parser: Argv, chosen: Choose): void {
  parser.command(
    'produce <topic>',
    'append one record per line of standard input',
    y =>
      withEncoding(withJson(withDir(y.positional('topic', topicName))))
        .option('partition', { ...partition, describe: 'partition for every record that names none' })
        .option('key-separator', {
          type: 'string',
          requiresArg: true,
          describe: 'what is before it in a line is the key'
        })
        .option('compression', { choices: COMPRESSION_NAMES, requiresArg: true, describe: 'codec of the batches' })
        .option('batch-size', {
          type: 'string',
          default: '16384',
          requiresArg: true,
          coerce: wholeNumber('--batch-size', 1),
          describe: 'bytes gathered before a batch is written'
        })
        .option('durability', {
          choices: DURABILITIES,
          requiresArg: true,
          describe: "more safety than the topic's setting"
        })
        .example(SOMETHING_TO_READ, '')
        .example("echo 'o-1:paid' | $0 produce orders --dir data --key-separator :", '')
        .example('$0 topics create copy --dir other', '')
        .example('$0 consume orders --dir data --json | $0 produce copy --dir other --json', ''),
    a => {
      if (a.keySeparator === '') throw new UsageError('--key-separator must not be empty')
      if (a.json && a.keySeparator !== undefined)
        throw new UsageError('--key-separator is for plain lines, not for --json')
      chosen(async context =>
        (await import('./produce.ts')).produce(
          {
            ...a,
            partition: a.partition,
            keySeparator: a.keySeparator,
            compression: a.compression as CompressionName | undefined,
            durability: a.durability,
            batchSize: Number(a.batchSize)
          },
          context
        )
      )
    }
  )
}

function defineConsume(parser: Argv, chosen: Choose): void {
  parser.command(
    'consume <topics..>',
    'print the records of topics',
    y =>
      withIsolation(
        withEncoding(
          withJson(
            withDir(
              y.positional('topics', { type: 'string', array: true, demandOption: true, describe: 'names of topics' })
            )
          )
        )
      )
        .option('partition', partition)
        .option('from-beginning', {
          type: 'boolean',
          default: false,
          describe: 'from the log start offset on (the default)'
        })
        .option('offset', { type: 'string', requiresArg: true, describe: 'from this offset on; or earliest, latest' })
        .option('timestamp', {
          type: 'string',
          requiresArg: true,
          describe: 'from the first record at or after this time (ms or ISO 8601)'
        })
        .option('until-offset', {
          type: 'string',
          requiresArg: true,
          coerce: wholeNumber('--until-offset'),
          describe: 'stop before this offset'
        })
        .option('max-messages', {
          type: 'string',
          requiresArg: true,
          coerce: wholeNumber('--max-messages'),
          describe: 'stop after so many records'
        })
        .option('follow', { type: 'boolean', default: false, describe: 'go on when new records arrive' })
        .option('print-key', { type: 'boolean', default: false, describe: 'plain output: key, separator, value' })
        .option('key-separator', {
          type: 'string',
          default: '\t',
          requiresArg: true,
          describe: 'between key and value'
        })
        .example(SOMETHING_TO_READ, '')
        .example('$0 consume orders --dir data --offset 990', '')
        .example('$0 consume orders --dir data --follow --json --max-messages 3', ''),
    a =>
      chosen(async context =>
        (await import('./consume.ts')).consume(
          {
            ...a,
            partition: a.partition,
            offset: a.offset,
            timestamp: a.timestamp,
            untilOffset: a.untilOffset,
            maxMessages: a.maxMessages
          },
          context
        )
      )
  )
}

function defineOthers(parser: Argv, chosen: Choose): void {
  parser
    .command(
      'offsets <topic>',
      'offsets by time',
      y =>
        withIsolation(withJson(withDir(y.positional('topic', topicName))))
          .option('partition', partition)
          .option('timestamp', {
            type: 'string',
            array: true,
            nargs: 1,
            default: [] as string[],
            describe: 'ms, ISO 8601, earliest, latest or max-timestamp; may be given several times'
          })
          .example(SOMETHING_TO_READ, '')
          .example('$0 offsets orders --dir data --timestamp 2026-11-21T00:00:00Z', ''),
      a =>
        chosen(async context =>
          (await import('./offsets.ts')).offsets({ ...a, partition: a.partition, timestamps: a.timestamp }, context)
        )
    )
    .command(
      'dump <paths..>',
      "show what is in segment files, Kafka's or ours",
      y =>
        withEncoding(
          withJson(
            y.positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files or folders' })
          )
        )
          .option('records', { type: 'boolean', default: false, describe: 'also the records of each batch' })
          .example(SOMETHING_TO_READ, '')
          .example('$0 dump data/orders-0 --records', '')
          .epilogue(DUMP_KINDS),
      a => chosen(async context => (await import('./dump.ts')).dump(a, context))
    )
    .command(
      'backup',
      'copy a data directory, consistently',
      y =>
        withJson(withDir(y))
          .option('to', { type: 'string', demandOption: true, requiresArg: true, describe: 'the new directory' })
          .example(SOMETHING_TO_READ, '')
          .example('$0 backup --dir data --to backup-of-data', ''),
      a => chosen(async context => (await import('./topics.ts')).backup(a, context))
    )
}

function defineBench(parser: Argv, chosen: Choose): void {
  parser.command(
    'bench',
    'measure a disk, and the engine on it',
    y =>
      withJson(y)
        .option('dir', {
          type: 'string',
          array: true,
          nargs: 1,
          describe: 'a directory on the disk to measure; nothing is left in it'
        })
        .option('size', {
          type: 'string',
          requiresArg: true,
          coerce: wholeNumber('--size', SMALLEST_SIZE_BYTES),
          describe: 'disk space to use, bytes; 1 GiB, or 128 MiB with --quick'
        })
        .option('quick', { type: 'boolean', default: false, describe: 'below 15 seconds instead of a minute' })
        .option('save', { type: 'string', requiresArg: true, describe: 'keep the figures in this file, as JSON' })
        .option('compare', {
          type: 'string',
          array: true,
          requiresArg: true,
          describe: 'show two saved files side by side, and measure nothing'
        })
        .example('$0 bench --dir . --quick --size 16777216 --save here.json', '')
        .example('$0 bench --compare here.json here.json', ''),
    a =>
      chosen(async context =>
        (await import('./bench.ts')).bench(
          { ...a, dir: a.dir ?? [], size: a.size, save: a.save, compare: a.compare ?? [] },
          context
        )
      )
  )
}
