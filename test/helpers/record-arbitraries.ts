import fc from 'fast-check'
import type { RecordInput } from '../../lib/record/record.ts'

const INT64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })

/** Timestamps of every kind: usual ones, edges, nanoseconds, anything of 64 bits. */
export const timestamps: fc.Arbitrary<number | bigint> = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1_600_000_000_000, max: 1_800_000_000_000 }) },
  fc.constantFrom(-1, 0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 2 ** 62),
  fc.maxSafeInteger(),
  INT64
)

const bytes = fc.uint8Array({ maxLength: 200 }).map(array => Buffer.from(array))
const text = fc.string({ maxLength: 90, unit: 'binary' })
/** Any UTF-16 units, lone surrogates among them. */
const brokenText = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }).map(u => String.fromCharCode(...u))

/** Keys, values and header values: bytes, text good and broken, empty, null. */
export const contents = fc.oneof(
  { weight: 3, arbitrary: bytes },
  { weight: 2, arbitrary: text },
  brokenText,
  fc.constantFrom(
    '',
    null,
    'x'.repeat(63),
    'x'.repeat(64),
    '\u00e9'.repeat(40),
    'x'.repeat(8192),
    '\u20ac'.repeat(3000)
  )
)

const headerList = fc.array(fc.tuple(fc.oneof(text, brokenText), contents), { maxLength: 5 })

const headers = fc.oneof(
  headerList,
  headerList.map(pairs => new Map(pairs)),
  headerList.map(pairs => Object.fromEntries(pairs.filter(([name]) => name !== '__proto__'))),
  fc.integer({ min: 60, max: 70 }).map(count => Array.from({ length: count }, (_, i) => [`h${i % 7}`, null] as const))
)

export const recordInputs: fc.Arbitrary<RecordInput> = fc.record(
  { key: contents, value: contents, headers, timestamp: timestamps },
  { requiredKeys: [] }
) as fc.Arbitrary<RecordInput>

/** What comes back of a key, value or header value. */
export function expectedContent(content: RecordInput['key']): Buffer | null {
  if (content === null || content === undefined) return null
  // TextEncoder defines what becomes of lone surrogates.
  return Buffer.from(typeof content === 'string' ? new TextEncoder().encode(content) : content)
}

export function expectedHeaders(headers: RecordInput['headers']): [string, Buffer | null][] {
  if (headers === undefined) return []
  const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers)
  return pairs.map(([name, value]) => [Buffer.from(new TextEncoder().encode(name)).toString(), expectedContent(value)])
}
