/**
 * `heartwood dump`: what is in the files of a partition, Kafka's or ours, byte order kept.
 *
 * It opens no log and trusts nothing: what cannot be read is shown as damage, and the next thing that can is looked
 * for. Kinds of lines: cli.md of the design, and `heartwood dump --help`.
 */
import type { FileHandle } from '../fs/file-system.ts'
import { nodeFileSystem as fs } from '../fs/node-file-system.ts'
import { parseSegmentFileName } from '../segment/file-names.ts'
import { LogError } from '../util/errors.ts'
import type { Context } from './common.ts'
import { dumpDerived } from './dump-derived.ts'
import { dumpLogFile } from './dump-log-file.ts'
import type { Encoding } from './encoding.ts'

export interface DumpOptions {
  readonly paths: readonly string[]
  readonly json: boolean
  readonly records: boolean
  readonly encoding: Encoding
}

/** Prints one fact: a JSON line, or `kind  key=value …` for people. */
export type Emit = (kind: string, facts: Record<string, unknown>) => Promise<void> | undefined

const NAMED =
  /(^|\/)(leader-epoch-checkpoint|partition\.metadata|meta\.properties|[a-z-]+-offset-checkpoint|\.kafka_cleanshutdown|heartwood-[a-z]+)$/

export async function dump(options: DumpOptions, context: Context): Promise<number> {
  const files: string[] = []
  for (const path of options.paths) files.push(...(await filesOf(path)))
  if (files.length === 0) {
    throw new LogError(
      'INVALID_REQUEST',
      `nothing to dump in ${options.paths.join(', ')}: no segment, index, snapshot or checkpoint file`
    )
  }
  let damaged = false
  for (const file of files) {
    const emit = emitter(file, options, context)
    const seen: Emit = (kind, facts) => {
      damaged ||= kind === 'damage'
      return emit(kind, facts)
    }
    await dumpFile(file, options, seen)
  }
  await context.out.flush()
  if (damaged && !options.json) context.say('heartwood: there is damage; see the lines "damage".')
  return 0
}

async function filesOf(path: string): Promise<string[]> {
  const stat = await fs.stat(path)
  if (stat === undefined) throw new LogError('INVALID_REQUEST', `there is no file or folder ${path}`)
  if (stat.kind !== 'directory') return [path]
  const entries = await fs.readDirectory(path)
  const names = entries.filter(entry => entry.kind === 'file' && isDumpable(entry.name)).map(entry => entry.name)
  const files = names.sort().map(name => `${path}/${name}`)
  // A data directory: its partitions too.
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.kind === 'directory' && /-\d+$/.test(entry.name)) files.push(...(await filesOf(`${path}/${entry.name}`)))
  }
  return files
}

function isDumpable(name: string): boolean {
  return parseSegmentFileName(name) !== undefined || NAMED.test(name)
}

async function dumpFile(file: string, options: DumpOptions, emit: Emit): Promise<void> {
  const name = file.slice(file.lastIndexOf('/') + 1)
  const parsed = parseSegmentFileName(name)
  let handle: FileHandle
  try {
    handle = await fs.open(file, 'read')
  } catch (error) {
    throw new LogError('STORAGE_FAILED', `cannot open ${file}: ${(error as Error).message}`, { path: file }, error)
  }
  try {
    const suffix = parsed?.suffix.replace(/\.(deleted|cleaned|swap)$/, '')
    if (suffix === '.log' || (parsed === undefined && name.endsWith('.log'))) await dumpLogFile(handle, options, emit)
    else await dumpDerived(handle, name, suffix, parsed?.offset, emit)
  } finally {
    await handle.close()
  }
}

function emitter(file: string, options: DumpOptions, context: Context): Emit {
  if (options.json) {
    const start = `{"file":${JSON.stringify(file)},`
    return (kind, facts) =>
      context.out.write(`${start}${JSON.stringify({ kind, ...facts }, exact).slice(1)}\n`.replace(EXACT, '$1'))
  }
  let first = true
  return (kind, facts) => {
    const shown = Object.entries(facts).map(
      ([key, value]) =>
        `${key}=${typeof value === 'object' ? JSON.stringify(value, exact).replace(EXACT, '$1') : value}`
    )
    const head = first ? `${file}\n` : ''
    first = false
    return context.out.write(`${head}  ${kind} ${shown.join(' ')}\n`)
  }
}

/** Integers that a number does not hold go through JSON as marked strings. */
const MARK = '\u0001int:'
const EXACT = /"\\u0001int:(-?\d+)"/g

function exact(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${MARK}${value}` : value
}
