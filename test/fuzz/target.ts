/** What is fuzzed: one decoder each. */
import type fc from 'fast-check'
import { crc32c } from '../../lib/util/crc32c.ts'
import type { ErrorCode } from '../../lib/util/errors.ts'

export type Random = (below: number) => number

export interface Target {
  readonly name: string
  /** Files below `lib/`, without their ending: what is new in these is what the guided search looks for. */
  readonly modules: readonly string[]
  /** Codes with which it may refuse. */
  readonly refusals: readonly ErrorCode[]
  /** Bytes as a writer makes them. */
  readonly sound: fc.Arbitrary<Buffer>
  /** Bytes that others wrote. */
  readonly samples?: () => readonly Buffer[]
  /** Where fields begin: it is there that damage hurts. */
  readonly fields: (bytes: Buffer) => readonly number[]
  /** Puts checksums and lengths right after damage, in place, so that it gets past them. */
  readonly mend?: (bytes: Buffer) => void
  /**
   * Decodes all of it, and checks what was decoded as far as that can be told without the decoder.
   *
   * @returns bytes of the output, which its memory and time may grow with.
   * @throws {LogError} of `refusals`; anything else is a defect.
   */
  readonly decode: (bytes: Buffer) => number | Promise<number>
}

/** Fails the run: the decoder gave out something that it should not have. */
export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`fuzzing found: ${what}`)
}

/** Every `size` bytes from `from` on, and the fields of such an entry. */
export function entryFields(from: number, size: number, fields: readonly number[]): Target['fields'] {
  return bytes => {
    const all: number[] = []
    for (let at = from; at < bytes.length && all.length < 200; at += size) all.push(...fields.map(field => at + field))
    return all.length === 0 ? [0] : all
  }
}

/** Where words begin. */
export function wordFields(bytes: Buffer): number[] {
  const all = [0]
  for (let at = 1; at < bytes.length && all.length < 400; at += 1) {
    const isWord = (byte: number): boolean => (byte >= 0x30 && byte <= 0x39) || (byte | 0x20) >= 0x61
    if (isWord(bytes[at]!) !== isWord(bytes[at - 1]!)) all.push(at)
  }
  return all
}

const CRC_LINE_BYTES = 'crc 00000000\n'.length

/** For text side-cars whose last line is a checksum of those before it. */
export function mendCrcLine(bytes: Buffer): void {
  const at = bytes.length - CRC_LINE_BYTES
  if (at < 0) return
  bytes.write(`crc ${crc32c(bytes, 0, at).toString(16).padStart(8, '0')}\n`, at, 'latin1')
}
