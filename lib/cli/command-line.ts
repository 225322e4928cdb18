/**
 * The command line: which commands there are and what they take. What they do is in a file each.
 *
 * Exit status: 0 done, 1 the data or the operation failed, 2 wrong usage, 130 interrupted.
 */
import { createRequire } from 'node:module'
import yargs, { type Argv } from 'yargs'
import type { Durability } from '../log/log-config.ts'
import type { Isolation } from '../log/types.ts'
import { COMPRESSION_NAMES, type CompressionName } from '../record/batch-format.ts'
import { isLogError } from '../util/errors.ts'
import { type Context, UsageError } from './common.ts'
import { consume } from './consume.ts'
import { dump } from './dump.ts'
import { ENCODINGS, type Encoding } from './encoding.ts'
import { offsets } from './offsets.ts'
import { ClosedPipe, Output, type Terminal } from './output.ts'
import { produce } from './produce.ts'
import {
  alterTopic,
  backup,
  createTopic,
  deleteTopic,
  describeTopics,
  handOver,
  isUsageError,
  listTopics
} from './topics.ts'

const DURABILITIES: readonly Durability[] = ['batch', 'interval', 'none', 'buffered']
const ISOLATIONS: readonly Isolation[] = ['read_uncommitted', 'read_committed']

type Run = (context: Context) => Promise<number>

/** Parses `args` (without node and script), runs the command and gives the exit status. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  const say = (line: string): void => void terminal.stderr.write(`${line}\n`)
  const context: Context = { terminal, out: new Output(terminal.stdout), say }
  try {
    const run = await parse(args, context)
    return run === undefined ? 0 : await run(context)
  } catch (error) {
    if (error instanceof ClosedPipe) return 0
    if (error instanceof UsageError || isUsageError(error)) {
      say(`heartwood: ${oneLine(error)} (see heartwood ${helpFor(args)}--help)`)
      return 2
    }
    await context.out.flush().catch(() => {})
    if (terminal.interrupted.aborted) return 130
    say(`heartwood: ${isLogError(error) ? `${error.code}: ` : ''}${oneLine(error)}`)
    return 1
  }
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ')
}

function helpFor(args: readonly string[]): string {
  const words = args.filter(arg => !arg.startsWith('-'))
  const known = ['topics', 'produce', 'consume', 'offsets', 'dump', 'backup']
  const command = words[0]
  if (command === undefined || !known.includes(command)) return ''
  const verbs = ['create', 'list', 'describe', 'alter', 'delete', 'hand-over']
  const verb = words[1]
  return command === 'topics' && verb !== undefined && verbs.includes(verb) ? `topics ${verb} ` : `${command} `
}

async function parse(args: readonly string[], context: Context): Promise<Run | undefined> {
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
      'boolean-negation': false
    })
    .exitProcess(false)
    .strict()
    .demandCommand(1, 'which command?')
    .version(packageVersion())
    .wrap(Math.min(110, (context.terminal.stderr as NodeJS.WriteStream).columns ?? 100))
    .completion('completion', 'print a script for shell completion (bash and zsh)')
    .recommendCommands()
  defineTopics(parser, chosen)
  defineProduce(parser, chosen)
  defineConsume(parser, chosen)
  defineOthers(parser, chosen)
  await new Promise<void>((resolve, reject) => {
    const parsed = parser.parse([...args], {}, (error, _argv, output) => {
      if (error !== undefined && error !== null) {
        const text = String(typeof error === 'string' ? error : error.message)
        reject(error instanceof UsageError ? error : new UsageError(text))
        return
      }
      if (output !== '') void context.out.write(`${output}\n`)
      resolve()
    })
    Promise.resolve(parsed).catch((error: unknown) =>
      reject(error instanceof Error ? new UsageError(error.message) : error)
    )
  })
  await context.out.flush()
  return run
}

function withDir<T>(command: Argv<T>): Argv<T & { dir: string[] }> {
  return command.option('dir', {
    type: 'string',
    array: true,
    nargs: 1,
    demandOption: true,
    describe: "data directory, with Kafka's layout; may be given several times"
  }) as unknown as Argv<T & { dir: string[] }>
}

function withJson<T>(command: Argv<T>): Argv<T & { json: boolean }> {
  return command.option('json', { type: 'boolean', default: false, describe: 'one JSON object per line' })
}

function withEncoding<T>(command: Argv<T>): Argv<T & { encoding: Encoding }> {
  return command.option('encoding', {
    choices: ENCODINGS,
    default: 'utf8' as Encoding,
    requiresArg: true,
    describe: 'of keys, values and header values'
  })
}

function withIsolation<T>(command: Argv<T>): Argv<T & { isolation: Isolation }> {
  return command.option('isolation', {
    choices: ISOLATIONS,
    default: 'read_uncommitted' as Isolation,
    requiresArg: true,
    describe: 'what is seen of transactions'
  })
}

const config = {
  type: 'string',
  array: true,
  nargs: 1,
  default: [] as string[],
  describe: "a setting, KEY=VALUE, with Kafka's keys or heartwood.*"
} as const
const partition = {
  type: 'string',
  requiresArg: true,
  coerce: wholeNumber('--partition'),
  describe: 'only this partition'
} as const
const topicName = { type: 'string', demandOption: true, describe: 'name of the topic' } as const

function defineTopics(parser: Argv, chosen: (run: Run) => void): void {
  parser.command('topics', 'create, list, describe, alter and delete topics', topics =>
    topics
      .command(
        'create <topic>',
        'create a topic',
        y =>
          withJson(withDir(y.positional('topic', topicName)))
            .option('partitions', {
              type: 'string',
              default: '1',
              requiresArg: true,
              coerce: wholeNumber('--partitions'),
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
          chosen(context =>
            createTopic(
              { ...a, partitions: Number(a.partitions), replicationFactor: Number(a.replicationFactor) },
              context
            )
          )
      )
      .command(
        'list',
        'list topics',
        y =>
          withJson(withDir(y))
            .option('internal', { type: 'boolean', default: false, describe: "also Kafka's own" })
            .example('$0 topics list --dir data', ''),
        a => chosen(context => listTopics(a, context))
      )
      .command(
        'describe [topic]',
        'offsets, settings and sizes of topics',
        y =>
          withJson(withDir(y.positional('topic', { type: 'string', describe: 'only this topic' })))
            .option('internal', { type: 'boolean', default: false, describe: "also Kafka's own" })
            .example('$0 topics describe orders --dir data --json', ''),
        a => chosen(context => describeTopics({ ...a, topic: a.topic }, context))
      )
      .command(
        'alter <topic>',
        'change settings, add partitions',
        y =>
          withJson(withDir(y.positional('topic', topicName)))
            .option('config', config)
            .option('delete-config', { ...config, describe: 'a setting to take back to its default' })
            .option('partitions', {
              type: 'string',
              requiresArg: true,
              coerce: wholeNumber('--partitions'),
              describe: 'new number of partitions'
            })
            .example('$0 topics alter orders --dir data --config retention.ms=604800000', ''),
        a => chosen(context => alterTopic({ ...a, partitions: a.partitions }, context))
      )
      .command(
        'delete <topic>',
        'delete a topic and its records',
        y => withJson(withDir(y.positional('topic', topicName))).example('$0 topics delete orders --dir data', ''),
        a => chosen(context => deleteTopic(a, context))
      )
      .command(
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
            .example('$0 topics hand-over orders --dir data --to /var/lib/kafka', ''),
        a => chosen(context => handOver(a, context))
      )
      .demandCommand(1, 'topics takes create, list, describe, alter, delete or hand-over')
  )
}

function defineProduce(parser: Argv, chosen: (run: Run) => void): void {
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
          coerce: wholeNumber('--batch-size'),
          describe: 'bytes gathered before a batch is written'
        })
        .option('durability', {
          choices: DURABILITIES,
          requiresArg: true,
          describe: "more safety than the topic's setting"
        })
        .example('seq 1000 | $0 produce orders --dir data', '')
        .example('$0 consume orders --dir data --json | $0 produce copy --dir other --json', ''),
    a => {
      if (a.keySeparator === '') throw new UsageError('--key-separator must not be empty')
      if (a.json && a.keySeparator !== undefined)
        throw new UsageError('--key-separator is for plain lines, not for --json')
      chosen(context =>
        produce(
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

function defineConsume(parser: Argv, chosen: (run: Run) => void): void {
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
        .example('$0 consume orders --dir data --from-beginning --max-messages 10', '')
        .example('$0 consume orders --dir data --follow --json', ''),
    a =>
      chosen(context =>
        consume(
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

function defineOthers(parser: Argv, chosen: (run: Run) => void): void {
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
          .example('$0 offsets orders --dir data --timestamp 2026-11-21T00:00:00Z', ''),
      a => chosen(context => offsets({ ...a, partition: a.partition, timestamps: a.timestamp }, context))
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
          .example('$0 dump data/orders-0 --records', ''),
      a => chosen(context => dump(a, context))
    )
    .command(
      'backup',
      'copy a data directory, consistently',
      y =>
        withJson(withDir(y))
          .option('to', { type: 'string', demandOption: true, requiresArg: true, describe: 'the new directory' })
          .example('$0 backup --dir data --to backup-of-data', ''),
      a => chosen(context => backup(a, context))
    )
}

/** Checks a whole number from 0 on; yargs gives `undefined` where the option was not used. */
function wholeNumber(name: string): (text: string | string[] | undefined) => number | undefined {
  return text => {
    if (text === undefined) return undefined
    if (Array.isArray(text)) throw new UsageError(`${name} may be given once`)
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
      throw new UsageError(`${name} takes a whole number from 0 on, not "${text}"`)
    return value
  }
}

function packageVersion(): string {
  const require = createRequire(import.meta.url)
  return (require('heartwood/package.json') as { version: string }).version
}
