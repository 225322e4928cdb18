/** Options, help and what is said about wrong usage. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { finished, shell, start } from '../helpers/binary.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'

const COMMANDS = [
  'topics create',
  'topics list',
  'topics describe',
  'topics alter',
  'topics delete',
  'topics hand-over',
  'produce',
  'consume',
  'offsets',
  'dump',
  'backup',
  'retain',
  'delete-records',
  'transactions list',
  'transactions abort',
  'verify',
  'bench'
]

t.test('wrong usage is status 2 and one line that names the option and where the help is', async t => {
  const dir = join(await tempDir(t), 'data')
  t.equal((await run(['topics', 'create', 'orders', '--dir', dir])).status, 0)
  const on = (...args: string[]): string[] => [...args, '--dir', dir]
  const cases: [string[], RegExp][] = [
    [[], /which command\? \(see heartwood --help\)$/],
    [['nonsense'], /"nonsense" is neither a command nor an option here \(see heartwood --help\)$/],
    [['topics'], /topics takes create, list, .*\(see heartwood topics --help\)$/],
    [['topics', 'crate', 'x'], /"crate" is neither/],
    [['produce'], /the name of a topic is missing \(see heartwood produce --help\)$/],
    [['produce', 'orders'], /--dir must be given/],
    [['produce', 'orders', '--dir'], /--dir takes a value/],
    [on('produce', 'orders', '--bootstrap-server', 'localhost:9092'), /no option --bootstrap-server here/],
    [on('consume', 'orders', '--group', 'g'), /no option --group here/],
    // Names that every object has.
    [on('consume', 'orders', '--constructor', 'x'), /no option --constructor here/],
    [on('consume', 'orders', '--constructor-', 'x'), /no option --constructor- here/],
    [on('consume', 'orders', '--to_string', 'x'), /no option --to_string here/],
    [['produce', 'orders', '--dir.x=3'], /no option --dir.x here/],
    [on('topics', 'list', '--to-string'), /no option --to-string here/],
    [on('topics', 'list', '--__proto__.x=1'), /no option --__proto__.x here/],
    [on('produce', 'orders', '--compression', 'brotli'), /--compression=brotli is not allowed: one of none, gzip/],
    [on('produce', 'orders', '--durability', 'maybe'), /--durability=maybe is not allowed: one of batch, interval/],
    [on('produce', 'orders', '--batch-size', '0'), /--batch-size takes a whole number from 1 on, not "0"/],
    [on('produce', 'orders', '--key-separator', ''), /--key-separator must not be empty/],
    [on('produce', 'orders', '--json', '--key-separator', ':'), /--key-separator is for plain lines/],
    [on('consume'), /the name of at least one topic is missing/],
    [on('consume', 'orders', '--encoding', 'latin1'), /--encoding=latin1 is not allowed: one of utf8, hex, base64/],
    [on('consume', 'orders', '--encoding', 'hex', '--encoding', 'utf8'), /--encoding may be given once/],
    [on('consume', 'orders', '--partition', 'x'), /--partition takes a whole number from 0 on, not "x"/],
    [on('consume', 'orders', '--max-messages', '-1'), /--max-messages takes a whole number/],
    [
      on('consume', 'orders', '--offset', '-1'),
      /--offset takes a whole number from 0 on, earliest or latest, not "-1"/
    ],
    [on('consume', 'orders', '--offset', '1', '--from-beginning'), /give one of --from-beginning/],
    [on('consume', 'orders', '--timestamp', 'yesterday'), /"yesterday" is neither milliseconds nor a date/],
    [on('consume', 'orders', '--isolation', 'serializable'), /--isolation=serializable is not allowed/],
    [on('offsets', 'orders', '--timestamp', 'soon'), /"soon" is neither milliseconds nor a date/],
    [on('topics', 'describe', 'orders', 'more'), /"more" is neither/],
    [on('topics', 'alter', 'orders'), /nothing to alter/],
    [on('topics', 'create', 'x', '--partitions', '0'), /--partitions takes a whole number from 1 on, not "0"/],
    [on('topics', 'create', 'x', '--replication-factor', '3'), /--replication-factor is 1/],
    [on('topics', 'create', 'x', '--config', 'segment.bytes'), /--config takes NAME=VALUE, not "segment.bytes"/],
    [on('topics', 'create', 'x', '--config', 'segment.byte=1'), /segment.byte is not a topic setting: one of cleanup/],
    [on('topics', 'create', 'x', '--config', 'segment.bytes=a'), /segment.bytes=a is not allowed: an integer from 14/],
    [on('topics', 'create', 'x', '--config', 'segment.bytes=2'), /segment.bytes=2 is not allowed: an integer from 14/],
    [
      on('topics', 'create', 'x', '--config', 'heartwood.durability=x'),
      /heartwood.durability=x is not allowed: one of/
    ],
    [on('topics', 'create', 'x', '--config', 'flush.ms=5'), /flush\.ms/],
    [on('topics', 'alter', 'orders', '--delete-config', 'nope'), /nope is not a topic setting/],
    [on('topics', 'create', '../x'), /"\.\.\/x" is no topic name/],
    [['dump'], /the path of a file or folder is missing/],
    [on('backup'), /--to must be given/],
    [on('retain', '--now', 'today'), /--now takes a whole number from 0 on, not "today"/],
    [on('retain', '--force'), /no option --force here/],
    [on('delete-records', 'orders'), /--partition and --before must be given/],
    [on('delete-records', 'orders', '--partition', '0', '--before', '-1'), /--before takes a whole number/]
  ]
  for (const [args, line] of cases) {
    const { status, stdout, stderr } = await run(args)
    t.equal(status, 2, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr.trimEnd(), line)
    t.match(stderr, /^heartwood: .*--help\)\n$/, 'one line, and no dot matches a line end')
  }
})

t.test('a failure is status 1 and one line: what, where, what to do next', async t => {
  const dir = join(await tempDir(t), 'data')
  t.equal((await run(['topics', 'create', 'orders', '--dir', dir])).status, 0)
  const cases: [string[], RegExp][] = [
    [
      ['consume', 'nope', '--dir', dir],
      /UNKNOWN_TOPIC_OR_PARTITION: there is no topic nope in .*"heartwood topics list"/
    ],
    [['consume', 'orders', '--dir', dir, '--partition', '4'], /UNKNOWN_TOPIC_OR_PARTITION: .*no partition 4, only 0/],
    [['consume', 'orders', '--dir', dir, '--offset', '7'], /OFFSET_OUT_OF_RANGE: orders-0: .*0 up to 0/],
    [['consume', 'orders', '--dir', `${dir}-no`], /NOT_A_DATA_DIRECTORY: .*-no does not exist.*Check --dir/],
    [['produce', 'orders', '--dir', `${dir}-no`], /NOT_A_DATA_DIRECTORY: .*-no does not exist/],
    [['topics', 'create', 'orders', '--dir', dir], /TOPIC_ALREADY_EXISTS: .*Choose another name/],
    [['topics', 'delete', 'nope', '--dir', dir], /UNKNOWN_TOPIC_OR_PARTITION: there is no topic nope/],
    [['topics', 'alter', 'nope', '--dir', dir, '--partitions', '2'], /UNKNOWN_TOPIC_OR_PARTITION/],
    [['topics', 'describe', 'nope', '--dir', dir], /UNKNOWN_TOPIC_OR_PARTITION/],
    [['dump', `${dir}/none`], /there is no file or folder/],
    [['dump', '/dev/null'], /neither a file nor a folder/],
    [['backup', '--dir', dir, '--to', dir], /INVALID_REQUEST/],
    [['retain', 'nope', '--dir', dir], /UNKNOWN_TOPIC_OR_PARTITION: there is no topic nope/],
    [
      ['delete-records', 'orders', '--dir', dir, '--partition', '0', '--before', '9'],
      /OFFSET_OUT_OF_RANGE: .*high watermark is 0/
    ],
    [['delete-records', 'orders', '--dir', dir, '--partition', '7', '--before', '0'], /no partition 7, only 0/]
  ]
  for (const [args, line] of cases) {
    const { status, stdout, stderr } = await run(args)
    t.equal(status, 1, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, line)
    t.match(stderr, /^heartwood: .*\n$/, 'one line')
  }
})

t.test("the version is the package's, and messages are in English whatever the machine speaks", async t => {
  t.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/)
  const { LC_ALL: _, ...env } = process.env
  const { stderr } = await finished(
    start(['produce'], { env: { ...env, LC_MESSAGES: 'de_DE.UTF-8', LANG: 'de_DE.UTF-8' } })
  )
  t.equal(stderr, 'heartwood: the name of a topic is missing (see heartwood produce --help)\n')
})

t.test(
  'every page of help has examples that run as they stand, from the first to the last',
  { timeout: 280_000 },
  async t => {
    const dir = await tempDir(t)
    const scripts = await Promise.all(COMMANDS.map(async command => [command, await examples(command)] as const))
    for (const [command, lines] of scripts) {
      t.ok(lines.length > 0 && lines.some(line => line.includes(`heartwood ${command} `)), `${command} has an example`)
      const { status, stderr } = await shell(lines.join('\n'), dir)
      t.equal(status, 0, `${command}: ${stderr}`)
      for (const folder of ['data', 'other', 'broker', 'backup-of-data']) {
        await rm(join(dir, folder), { recursive: true, force: true })
      }
    }
  }
)

t.test('shells can complete commands and options', async t => {
  const { stdout } = await shell(
    `heartwood completion > script; . ./script
     COMP_WORDS=(heartwood topics cr); COMP_CWORD=2; _heartwood_yargs_completions; echo "\${COMPREPLY[@]}"
     COMP_WORDS=(heartwood produce orders --comp); COMP_CWORD=3; _heartwood_yargs_completions; echo "\${COMPREPLY[@]}"`,
    await tempDir(t)
  )
  t.equal(stdout, 'create\n--compression\n')
})

async function examples(command: string): Promise<string[]> {
  const { stdout, status } = await run([...command.split(' '), '--help'])
  if (status !== 0) throw new Error(`no help for ${command}`)
  const [, list = ''] = stdout.split('\nExamples:\n')
  const lines: string[] = []
  for (const line of list.split('\n')) {
    if (line.trim() === '' || !line.startsWith('  ')) break
    // A description stands two blanks or more behind the example.
    lines.push(line.trim().split(/ {2,}/)[0] as string)
  }
  return lines
}
