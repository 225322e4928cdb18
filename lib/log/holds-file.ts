/**
 * Holds of one partition on disk: up to where named readers still need the log.
 *
 * Format, in `heartwood-holds`; UTF-8 lines that end in '\n', replaced as a whole:
 *
 *     file       := "heartwood-holds 1" hold* "crc " CRC-32C of all bytes before this line, 8 hex digits
 *     hold       := "hold " offset " " movedMs " " limitMs " " limitBytes " " brokenMs " " name
 *     offset     := decimal: everything from there on is held
 *     movedMs    := when its reader was last heard of, ms
 *     limitMs    := "-" or how long after that the hold is broken
 *     limitBytes := "-" or how many bytes from the offset on break it
 *     brokenMs   := "-" or when it was broken: it holds nothing since
 *     name       := as a JSON string
 *
 * Example:
 *
 *     heartwood-holds 1
 *     hold 217 1700000000000 604800000 - - "billing"
 *     crc f75a6c8c
 *
 * Not derived from anything: without the file nothing is held. One that cannot be read holds everything back.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

export const HOLDS_FILE = 'heartwood-holds'
const TITLE = 'heartwood-holds'
const VERSION = 1
const CRC_LINE_BYTES = 'crc 00000000\n'.length
export const MAX_HOLDS = 1000
export const MAX_HOLD_NAME_BYTES = 255
/** A thousand names of which each byte is escaped. */
const MAX_FILE_BYTES = 2 * MiB

export interface Hold {
  readonly name: string
  /** Everything from here on is held. */
  readonly offset: number
  /** When its reader was last heard of, ms. */
  readonly movedMs: number
  /** `undefined`: however long the reader is silent. */
  readonly limitMs: number | undefined
  /** `undefined`: however much it holds. */
  readonly limitBytes: number | undefined
  /** It was broken then, ms, and holds nothing since. */
  readonly brokenMs: number | undefined
}

/**
 * @returns none if there is no file.
 * @throws {LogError} CORRUPT_FILE; UNSUPPORTED_VERSION if a newer heartwood has written it; else the system's error.
 */
export async function readHolds(fs: FileSystem, dir: string): Promise<Hold[]> {
  const bytes = await readWholeFile(fs, join(dir, HOLDS_FILE), MAX_FILE_BYTES)
  return bytes === undefined ? [] : parseHolds(bytes)
}

export function formatHolds(holds: readonly Hold[]): Buffer {
  const text = (limit: number | undefined): string => (limit === undefined ? '-' : String(limit))
  const lines = holds.map(({ name, offset, movedMs, limitMs, limitBytes, brokenMs }) => {
    return `hold ${offset} ${movedMs} ${text(limitMs)} ${text(limitBytes)} ${text(brokenMs)} ${JSON.stringify(name)}\n`
  })
  const body = Buffer.from(`${TITLE} ${VERSION}\n${lines.join('')}`)
  const crc = crc32c(body, 0, body.length)
  return Buffer.concat([body, Buffer.from(`crc ${crc.toString(16).padStart(8, '0')}\n`)])
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION */
export function parseHolds(bytes: Buffer): Hold[] {
  const bodyEnd = bytes.length - CRC_LINE_BYTES
  const stored = bodyEnd < 0 ? null : /^crc ([0-9a-f]{8})\n$/.exec(bytes.toString('latin1', bodyEnd))
  if (stored === null || Number.parseInt(stored[1] as string, 16) !== crc32c(bytes, 0, bodyEnd)) {
    throw corrupt('fails its checksum')
  }
  const [title, ...lines] = bytes.toString('utf8', 0, bodyEnd).split('\n')
  const version = /^heartwood-holds (\d{1,9})$/.exec(title ?? '')?.[1]
  if (version === undefined) throw corrupt('has no title')
  if (Number(version) > VERSION) {
    const message = `${HOLDS_FILE} is of version ${version}; this release knows ${VERSION}`
    throw new LogError('UNSUPPORTED_VERSION', message, { version: Number(version), known: VERSION })
  }
  // What follows the last line end is no line.
  if (lines.pop() !== '') throw corrupt('ends within a line')
  const holds = lines.map(parseHold)
  if (new Set(holds.map(({ name }) => name)).size !== holds.length) throw corrupt('has a name twice')
  return holds
}

function parseHold(line: string): Hold {
  const match = /^hold (\d{1,16}) (\d{1,16}) (\d{1,16}|-) (\d{1,16}|-) (\d{1,16}|-) (".*")$/s.exec(line)
  if (match === null) throw corrupt('has a malformed line')
  const [offset = 0, movedMs = 0, limitMs, limitBytes, brokenMs] = match.slice(1, 6).map(numberOf)
  return { name: nameOf(match[6]!), offset, movedMs, limitMs, limitBytes, brokenMs }
}

function numberOf(text: string): number | undefined {
  if (text === '-') return undefined
  if (!Number.isSafeInteger(Number(text))) throw corrupt('has a number beyond 2^53')
  return Number(text)
}

function nameOf(text: string): string {
  try {
    return JSON.parse(text) as string
  } catch {
    throw corrupt('has a name that is no JSON string')
  }
}

function corrupt(what: string): LogError {
  return new LogError('CORRUPT_FILE', `${HOLDS_FILE} ${what}`, { file: HOLDS_FILE })
}
