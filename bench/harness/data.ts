/**
 * Records to write: the same ones on every run and every machine.
 *
 * Text like that of a service's log, not zeros and not noise, so that codecs and page caches meet what they would in
 * use. A pool of some thousand distinct records is made before the clock starts and handed out again and again.
 */
import type { Rec } from '../engines/engine.ts'
import type { Shape } from './question.ts'

const POOL_RECORDS = 4096
/** A pool of large records is smaller: it is meant to stay in the processor's caches, as what was just received is. */
const POOL_BYTES = 1024 * 1024

const METHODS = ['GET', 'GET', 'GET', 'POST', 'PUT', 'DELETE']
const PATHS = ['/api/orders', '/api/orders/items', '/api/users', '/api/users/sessions', '/health', '/static/app.js']
const LEVELS = ['INFO', 'INFO', 'INFO', 'INFO', 'WARN', 'ERROR', 'DEBUG']
const SERVICES = ['checkout', 'gateway', 'inventory', 'billing', 'search', 'auth']
const MESSAGES = [
  'request finished',
  'cache miss, asking the database',
  'retrying after a timeout of the upstream service',
  'payment accepted',
  'session expired, a new one was issued',
  'rate limit reached for this client'
]

/** Numbers that look random and are the same each time: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A line of a service's log, about 200 bytes of ASCII. */
export function logLine(random: () => number): string {
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)]!
  const whole = (below: number): number => Math.floor(random() * below)
  const time = new Date(1_750_000_000_000 + whole(86_400_000)).toISOString()
  const trace =
    whole(2 ** 32)
      .toString(16)
      .padStart(8, '0') +
    whole(2 ** 32)
      .toString(16)
      .padStart(8, '0')
  return (
    `${time} ${pick(LEVELS)} ${pick(SERVICES)}-${whole(12)} trace=${trace} ${pick(METHODS)} ${pick(PATHS)}/${whole(100000)} ` +
    `status=${200 + whole(4) * 100} bytes=${whole(65536)} ms=${(random() * 250).toFixed(2)} ${pick(MESSAGES)}`
  )
}

/** Log lines one after the other, cut to `bytes`. */
export function logText(random: () => number, bytes: number): string {
  let text = ''
  while (text.length < bytes) text += `${logLine(random)} `
  return text.slice(0, bytes)
}

/** Text of `bytes` characters that begins with a number, as ids do. */
function keyText(index: number, bytes: number): string {
  return `k${(index * 7919) % 10_000_019}`.padEnd(bytes, '-').slice(0, bytes)
}

/** Distinct records of one shape. */
export function recordPool(shape: Shape, seed = 1): readonly Rec[] {
  const { keyBytes, valueBytes, headers = 0 } = shape
  const random = randomFrom(seed)
  const count = Math.max(16, Math.min(POOL_RECORDS, Math.floor(POOL_BYTES / (keyBytes + valueBytes))))
  return Array.from({ length: count }, (_, index) => {
    const key = keyText(index, keyBytes)
    // A line of its own for each, from a place of its own, so that short values do not all begin with the time.
    const value = logText(random, valueBytes + 64).slice(64 - (index % 64), 64 - (index % 64) + valueBytes)
    const record = { key: Buffer.from(key), value: Buffer.from(value), keyText: key, valueText: value }
    return headers === 0 ? record : { ...record, headers: headersOf(random, headers) }
  })
}

function headersOf(random: () => number, count: number): NonNullable<Rec['headers']> {
  const names = ['trace', 'content-type', 'origin', 'tenant', 'retry']
  return Array.from({ length: count }, (_, i) => [
    names[i] ?? `header-${i}`,
    Buffer.from(
      Math.floor(random() * 2 ** 48)
        .toString(16)
        .padStart(12, '0')
    )
  ])
}

/**
 * Appends of `size` records, cut from the pool at ever other places; take them in turn with `batches[i % length]`.
 * Arrays are made once, so that making them is nobody's cost.
 */
export function appendsOf(pool: readonly Rec[], size: number): readonly (readonly Rec[])[] {
  const count = Math.max(8, Math.min(pool.length, Math.ceil((4 * pool.length) / size)))
  return Array.from({ length: count }, (_, i) => {
    const from = (i * size) % pool.length
    return Array.from({ length: size }, (_, j) => pool[(from + j) % pool.length]!)
  })
}

/** Bytes of key and value of one record: what a row's MB/s counts. */
export const payloadBytes = ({ keyBytes, valueBytes }: Shape): number => keyBytes + valueBytes
