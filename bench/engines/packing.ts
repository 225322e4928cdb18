/**
 * How stores that map a key to one value keep a record: the position is the key, and this is the value.
 *
 *     packed  := keyBytes uint16, headersBytes uint16, key, headers, value     // little-endian
 *     headers := ( nameBytes uint8, name, valueBytes uint16, value )*
 */
import type { Rec } from './engine.ts'

const FIXED_BYTES = 4

type Headers = NonNullable<Rec['headers']>

function headersBytes(headers: Headers): number {
  let bytes = 0
  for (const [name, value] of headers) bytes += 3 + Buffer.byteLength(name) + value.length
  return bytes
}

function writeHeaders(into: Buffer, headers: Headers, at: number): number {
  for (const [name, value] of headers) {
    const nameBytes = into.write(name, at + 1)
    into[at] = nameBytes
    at += 1 + nameBytes
    into.writeUInt16LE(value.length, at)
    into.set(value, at + 2)
    at += 2 + value.length
  }
  return at
}

/** The headers alone, for a store with a column for them. */
export function packHeaders(headers: Headers | undefined): Buffer | null {
  if (headers === undefined) return null
  const packed = Buffer.allocUnsafe(headersBytes(headers))
  writeHeaders(packed, headers, 0)
  return packed
}

/** One buffer a record; they share one piece of memory, which is the caller's and not used again. */
export function packRecords(records: readonly Rec[]): Buffer[] {
  let bytes = 0
  for (const { key, value, headers } of records) {
    bytes += FIXED_BYTES + key.length + value.length + (headers === undefined ? 0 : headersBytes(headers))
  }
  // The pool of `allocUnsafe` is the cheapest memory where it has room.
  const memory = Buffer.allocUnsafe(bytes)
  const packed = new Array<Buffer>(records.length)
  let at = 0
  for (let i = 0; i < records.length; i += 1) {
    const { key, value, headers } = records[i]!
    const start = at
    memory[start] = key.length & 0xff
    memory[start + 1] = key.length >>> 8
    at = start + FIXED_BYTES
    memory.set(key, at)
    at += key.length
    const headersAt = at
    if (headers !== undefined) at = writeHeaders(memory, headers, at)
    memory[start + 2] = (at - headersAt) & 0xff
    memory[start + 3] = (at - headersAt) >>> 8
    memory.set(value, at)
    at += value.length
    packed[i] = memory.subarray(start, at)
  }
  return packed
}

/** Key and value as views of `packed`, which is what an eager reader of such a store builds. */
export function unpackRecord(packed: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array } {
  const keyEnd = FIXED_BYTES + (packed[0]! | (packed[1]! << 8))
  const valueAt = keyEnd + (packed[2]! | (packed[3]! << 8))
  return { key: packed.subarray(FIXED_BYTES, keyEnd), value: packed.subarray(valueAt) }
}

/** A record as text, for stores of text: key, headers, value with tabs between them. */
export function textOf({ keyText, valueText, headers }: Rec): string {
  if (headers === undefined) return `${keyText}\t\t${valueText}`
  const text = headers.map(([name, value]) => `${name}=${Buffer.from(value).toString('latin1')}`).join(';')
  return `${keyText}\t${text}\t${valueText}`
}

export function parseText(text: string): { readonly key: string; readonly value: string } {
  const keyEnd = text.indexOf('\t')
  const valueAt = text.indexOf('\t', keyEnd + 1) + 1
  return { key: text.slice(0, keyEnd), value: text.slice(valueAt) }
}
