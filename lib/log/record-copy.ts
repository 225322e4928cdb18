import type { HeadersInput, RecordInput } from '../record/record.ts'

/**
 * Records that share no memory with the given ones, for an append that has to wait before anybody looks at them.
 *
 * What is wrong in them stays wrong: it is refused when they are looked at.
 */
export function copyOfRecords(records: readonly RecordInput[]): readonly RecordInput[] {
  return Array.isArray(records) ? records.map(copyOfRecord) : records
}

function copyOfRecord(record: RecordInput): RecordInput {
  if (typeof record !== 'object' || record === null) return record
  const { key, value, headers } = record
  return {
    ...record,
    ...(key instanceof Uint8Array ? { key: Buffer.from(key) } : {}),
    ...(value instanceof Uint8Array ? { value: Buffer.from(value) } : {}),
    ...(typeof headers === 'object' && headers !== null ? { headers: copyOfHeaders(headers) } : {})
  }
}

function copyOfHeaders(headers: HeadersInput): HeadersInput {
  if (!(Symbol.iterator in headers)) return Object.entries(headers).map(copyOfHeader)
  // An iterator that can be read once only is refused; copied it would look like an array.
  const iterator: unknown = headers[Symbol.iterator]()
  return iterator === headers ? headers : Array.from(headers, copyOfHeader)
}

function copyOfHeader(header: readonly [string, string | Uint8Array | null]): typeof header {
  const value: unknown = header?.[1]
  return value instanceof Uint8Array ? [header[0], Buffer.from(value)] : header
}
