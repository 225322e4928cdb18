/** The records of the interop lane: every one follows from its label and number, and no two are alike. */
import { createHash } from 'node:crypto'
import type { TestRecord } from './agent.ts'

const FIRST_TIMESTAMP = 1_700_000_000_000

export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

/**
 * @param label - tells this set from every other one of the run.
 * @param options.stamped - the log sets the timestamps, so that these are not known here.
 * @param options.now - timestamps of today: producers that have been silent for a day are forgotten.
 * @param options.from - number of the first.
 */
export function testRecords(
  label: string,
  count: number,
  options: { stamped?: boolean; now?: boolean; from?: number } = {}
): TestRecord[] {
  const from = options.from ?? 0
  const base = options.now === true ? Date.now() : FIRST_TIMESTAMP
  return Array.from({ length: count }, (_, index) => {
    const record = testRecord(label, from + index, base)
    return options.stamped === true ? { ...record, timestamp: undefined } : record
  })
}

function testRecord(label: string, number: number, base: number): TestRecord {
  const name = Buffer.from(`${label}#${number}`).toString('hex')
  const noise = createHash('sha256').update(name).digest('hex')
  const headers: [string, string | null][] = []
  if (number % 4 === 1) headers.push(['trace', noise.slice(0, 16)], ['trace', ''], ['', null])
  return {
    // A record has a key, a value or both; what it lacks is null, and now and then it is empty instead.
    key: number % 3 === 0 ? null : number % 11 === 5 ? name : number % 3 === 1 ? noise.slice(0, 8) : '',
    value: number % 3 !== 0 && number % 11 === 5 ? null : name + filler(number, noise),
    headers,
    // Mostly forwards, sometimes back, as the clocks of several writers go.
    timestamp: base + number * 10 - (number % 7 === 3 ? 500 : 0)
  }
}

/** Repetitive in even numbers, noise in odd ones; up to a few hundred bytes, now and then 20 KB. */
function filler(number: number, noise: string): string {
  const bytes = number % 97 === 42 ? 20_000 : (number * 37) % 400
  const pattern = number % 2 === 0 ? '68656172' : noise
  return pattern.repeat(Math.ceil((bytes * 2) / pattern.length)).slice(0, bytes * 2)
}
