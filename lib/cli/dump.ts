/**
 * `heartwood dump`: what is in the files of a partition, Kafka's or ours, byte order kept.
 *
 * It opens no log and trusts nothing: what cannot be read is shown as damage, and the next thing that can is looked
 * for. Kinds of lines: `DUMP_KINDS` of dump-kinds.ts.
 */
import type { FileHandle } from '../fs/file-system.ts'
import { nodeFileSystem as fs } from '../fs/node-file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
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
  const stat = await statOf(path)
  if (stat === undefined) throw new LogError('INVALID_REQUEST', `there is no file or folder ${path}`)
  if (stat.kind === 'file') return [path]
  // Reading a pipe or a device might never end.
  if (stat.kind !== 'directory') throw new LogError('INVALID_REQUEST', `${path} is neither a file nor a folder`)
  const entries = await fs.readDirectory(path).catch((error: unknown) => {
    throw toLogError(error, 'list', path)
  })
  const names = entries.filter(entry => entry.kind === 'file' && isDumpable(entry.name)).map(entry => entry.name)
  const files = names.sort().map(name => `${path}/${name}`)
  // A data directory: its partitions too.
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.kind === 'directory' && /-\d+$/.test(entry.name)) files.push(...(await filesOf(`${path}/${entry.name}`)))
  }
  return files
}

async function statOf(path: string): ReturnType<typeof fs.stat> {
  try {
    return await fs.stat(path)
  } catch (error) {
    throw toLogError(error, 'look at', path)
  }
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
    throw toLogError(error, 'open', file)
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
    const start = `{"file":${JSON.stringify(file)},"kind":`
    return (kind, facts) => {
      const fields = known(facts).map(([key, value]) => `,${JSON.stringify(key)}:${json(value)}`)
      return context.out.write(`${start}${JSON.stringify(kind)}${fields.join('')}}\n`)
    }
  }
  let first = true
  return (kind, facts) => {
    const shown = known(facts).map(([key, value]) => `${key}=${plain(value)}`)
    const head = first ? `${file}\n` : ''
    first = false
    return context.out.write(`${head}  ${kind} ${shown.join(' ')}\n`)
  }
}

function known(facts: Record<string, unknown>): [string, unknown][] {
  return Object.entries(facts).filter(([, value]) => value !== undefined)
}

/** Integers that a number does not hold are bigints; those are never inside something else. */
function json(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value)
}

/** Words as they are, anything else so that a line stays a line. */
function plain(value: unknown): string {
  return typeof value === 'string' && /^[\w.:-]+$/.test(value) ? value : json(value)
}
