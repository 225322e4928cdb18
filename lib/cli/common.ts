/** What several commands share: errors of usage, option values, opening the store. */
import type { Store } from '../store/store.ts'
import type { StoreOptions } from '../store/types.ts'
import { isLogError, LogError } from '../util/errors.ts'
import type { Output, Terminal } from './output.ts'

/** Wrong usage: exit status 2, one line, plus where the help is. */
export class UsageError extends Error {}

/** Errors that mean the command was asked for something that cannot be: exit status 2. */
export function isUsageError(error: unknown): boolean {
  return error instanceof UsageError || isLogError(error, 'INVALID_CONFIG') || isLogError(error, 'INVALID_TOPIC')
}

export interface Context {
  readonly terminal: Terminal
  readonly out: Output
  /** Prints a line for people on standard error. */
  say(line: string): void
}

export interface DirOption {
  readonly dir: readonly string[]
}

/** Opens the directories, lets `work` use the store, and closes it whatever happens. */
export async function withStore<T>(
  dirs: readonly string[],
  options: Pick<StoreOptions, 'readOnly' | 'createIfMissing' | 'tailBytes'>,
  work: (store: Store) => Promise<T>
): Promise<T> {
  // Most of the library; what is wrong usage is told without it.
  const { Store } = await import('../store/store.ts')
  const store = await Store.open(dirs, options)
  let result: T
  try {
    result = await work(store)
  } catch (error) {
    // What went wrong first says how much was written; closing may fail for the same reason, a full disk.
    await store.close().catch(() => {})
    throw error
  }
  await store.close()
  return result
}

/** The partitions of a topic, ascending; all of them, or the one asked for. */
export function partitionsOf(store: Store, topic: string, partition: number | undefined): number[] {
  const summary = store.topics({ internal: true }).find(known => known.topic === topic)
  if (summary === undefined) {
    throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic} in ${store.dirs.join(', ')}`, {
      topic
    })
  }
  if (partition === undefined) return [...summary.partitions].sort((a, b) => a - b)
  if (!summary.partitions.includes(partition)) {
    throw new LogError(
      'UNKNOWN_TOPIC_OR_PARTITION',
      `topic ${topic} has no partition ${partition}, only ${summary.partitions.join(', ')}`,
      { topic, partition }
    )
  }
  return [partition]
}

/** A whole number of milliseconds, or a date as in ISO 8601. */
export function parseTime(text: string): number | bigint {
  if (/^-?\d+$/.test(text)) {
    const exact = BigInt(text)
    return exact >= BigInt(Number.MIN_SAFE_INTEGER) && exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact
  }
  const milliseconds = Date.parse(text)
  if (Number.isNaN(milliseconds))
    throw new UsageError(`"${text}" is neither milliseconds nor a date such as 2026-11-21T12:00:00Z`)
  return milliseconds
}

/** Name and value of `--config NAME=VALUE`. */
export function parseConfigOptions(given: readonly string[]): Record<string, string> {
  const configs: Record<string, string> = {}
  for (const text of given) {
    const at = text.indexOf('=')
    if (at <= 0) throw new UsageError(`--config takes NAME=VALUE, not "${text}"`)
    configs[text.slice(0, at)] = text.slice(at + 1)
  }
  return configs
}
