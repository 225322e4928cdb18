/** Input lines to records: plain, with a key separator, or JSON. */
import { isUtf8 } from 'node:buffer'
import type { Header, RecordInput } from '../record/record.ts'
import { decodeText, decodeValue, type Encoding, utf8Bytes } from './encoding.ts'

/** A record to append, and the partition that the line itself asked for. */
export interface ParsedRecord {
  readonly record: RecordInput & { readonly key: Buffer | null; readonly value: Buffer | null }
  readonly partition: number | undefined
  /** Roughly what it takes in a batch. */
  readonly bytes: number
}

export type LineParser = (line: Buffer) => ParsedRecord

/** Room for lengths, deltas and attributes of a record: what Kafka calls its maximal overhead. */
const RECORD_OVERHEAD = 21

export function lineParser(options: {
  json: boolean
  keySeparator: string | undefined
  encoding: Encoding
}): LineParser {
  if (options.json) return line => parseJsonLine(line, options.encoding)
  const { encoding, keySeparator } = options
  if (keySeparator === undefined) return line => parsed(null, plainBytes(line, encoding))
  const separator = Buffer.from(keySeparator)
  return line => {
    const at = line.indexOf(separator)
    if (at < 0) throw new TypeError(`has no key: the separator ${JSON.stringify(keySeparator)} does not occur in it`)
    return parsed(
      plainBytes(line.subarray(0, at), encoding),
      plainBytes(line.subarray(at + separator.length), encoding)
    )
  }
}

function parsed(key: Buffer | null, value: Buffer | null): ParsedRecord {
  return {
    record: { key, value },
    partition: undefined,
    bytes: (key?.length ?? 0) + (value?.length ?? 0) + RECORD_OVERHEAD
  }
}

/** With utf8 the bytes of the line are the value, whatever they are: nothing is decoded, nothing is lost. */
function plainBytes(text: Buffer, encoding: Encoding): Buffer {
  return encoding === 'utf8' ? text : decodeText(text.toString('latin1'), encoding)
}

/** `{"key","value","headers":[[name,value],…],"timestamp","partition"}`, all optional; other fields are ignored. */
function parseJsonLine(line: Buffer, encoding: Encoding): ParsedRecord {
  // Whatever is no UTF-8 would be stored as U+FFFD.
  if (!isUtf8(line)) throw new TypeError('is not UTF-8; write bytes as {"base64":"…"} or with --encoding hex')
  const text = line.toString('utf8')
  const given = parseObject(text)
  const key = field(given, 'key', encoding)
  const value = field(given, 'value', encoding)
  const headers = parseHeaders(given['headers'], encoding)
  const timestamp = parseTimestamp(given['timestamp'], text)
  const partition = given['partition']
  if (partition !== undefined && (!Number.isSafeInteger(partition) || (partition as number) < 0)) {
    throw new TypeError('has a partition that is no whole number from 0 on')
  }
  let bytes = (key?.length ?? 0) + (value?.length ?? 0) + RECORD_OVERHEAD
  for (const [name, headerValue] of headers) bytes += 2 * name.length + (headerValue?.length ?? 0) + 10
  return {
    record: { key, value, headers, ...(timestamp === undefined ? {} : { timestamp }) },
    partition: partition as number | undefined,
    bytes
  }
}

function parseObject(text: string): Record<string, unknown> {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    throw new TypeError(`is not JSON (${(error as Error).message})`)
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new TypeError('is not a JSON object')
  return given as Record<string, unknown>
}

function field(given: Record<string, unknown>, name: string, encoding: Encoding): Buffer | null {
  try {
    return decodeValue(given[name], encoding)
  } catch (error) {
    throw new TypeError(`has a ${name} that ${(error as Error).message}`)
  }
}

function parseHeaders(given: unknown, encoding: Encoding): Header[] {
  if (given === undefined || given === null) return []
  if (!Array.isArray(given)) throw new TypeError('has headers that are no array of [name, value]')
  return given.map((header, index) => {
    if (!Array.isArray(header) || header.length !== 2 || typeof header[0] !== 'string') {
      throw new TypeError(`has a header (${index}) that is not [name, value]`)
    }
    try {
      utf8Bytes(header[0])
    } catch (error) {
      throw new TypeError(`has a name of header ${index} that ${(error as Error).message}`)
    }
    try {
      return [header[0], decodeValue(header[1], encoding)] as const
    } catch (error) {
      throw new TypeError(`has a value of header ${index} that ${(error as Error).message}`)
    }
  })
}

function parseTimestamp(given: unknown, text: string): number | bigint | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given !== 'number' || !Number.isInteger(given))
    throw new TypeError('has a timestamp that is no whole number of milliseconds')
  if (Number.isSafeInteger(given)) return given
  // JSON.parse has rounded it. A quote inside a JSON string is escaped, so this finds fields only.
  const found = [...text.matchAll(/(?<!\\)"timestamp"\s*:\s*(-?\d+)\s*[,}]/g)].map(match => match[1] as string)
  const exact = new Set(found.filter(digits => Number(digits) === given))
  const [digits] = exact
  if (digits === undefined || exact.size > 1)
    throw new TypeError('has a timestamp that cannot be read exactly; write it as plain digits, once')
  const timestamp = BigInt(digits)
  if (BigInt.asIntN(64, timestamp) !== timestamp) throw new TypeError('has a timestamp beyond 64 bits')
  return timestamp
}
