/**
 * Manifest of one partition: which sealed segments there are, how long they are, and a digest of each, so that a file
 * that is missing, of another length, another log's, or damaged where no CRC looks is noticed.
 *
 * Format, in `heartwood-manifest`; UTF-8 lines that end in '\n', replaced as a whole:
 *
 *     file   := "heartwood-manifest 3" start sealed* active? "crc " CRC-32C of all bytes before this line, 8 hex digits
 *     start  := "start " log start offset
 *     sealed := "segment " base " " bytes " " nextOffset " " state " " batches " " hash " " verified " " txn
 *     active := "segment " base " - " nextOffset " active - - - " txn
 *     state  := "sealed" | "compacted"
 *     hash   := XXH64 (seed 0) of the whole .log file, 16 hex digits; "-" together with batches: not computed yet
 *     verified := when all of it was last found sound, ms since 1970; "-": never
 *     txn    := bytes ":" CRC-32C of the .txnindex file, 8 hex digits; one that is not there counts as empty; "-": unknown
 *
 * Example:
 *
 *     heartwood-manifest 3
 *     start 0
 *     segment 0 252 4 sealed 3 6472e661499f17be 1700000000000 34:9ff9c83e
 *     segment 4 - - active - - - -
 *     crc 02ee945a
 *
 * Version 2 had no txn, and "-" for the active segment's next offset.
 *
 * Invariants:
 *   M1  Bases strictly increase; a sealed segment's next offset is at or below the next base.
 *   M2  A segment is in the file only while its .log file is durable and stays as it is: it leaves the file, durably,
 *       before anything removes, cuts, rewrites or continues it. So the file may lack segments, and is never wrong.
 *   M3  In a `sealed` segment each batch begins where the one before it ends. In a `compacted` one offsets may be
 *       missing, because compaction wrote it or because a leader's batches came so.
 *   M4  A segment that is not listed is no fault. Of the active one nothing is promised but its transaction index, as of
 *       the next offset: what the log's last clean close left.
 *   M5  Once another engine has written here the manifest says nothing, and is made anew.
 *   M6  A transaction index that is not as it is noted here is built anew from the log, and nothing else follows from
 *       that: so a note that is out of date costs reading.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import type { TransactionsDigest } from '../segment/transaction-index.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

export const MANIFEST_FILE = 'heartwood-manifest'
const TITLE = 'heartwood-manifest'
const VERSION = 3
/** 1 was never written by a store. */
const FIRST_VERSION = 2
const CRC_LINE_BYTES = 'crc 00000000\n'.length
/** More than 150,000 segments. */
const MAX_MANIFEST_BYTES = 16 * MiB

export interface SegmentDigest {
  readonly batches: number
  /** XXH64, seed 0, of the whole `.log` file: 16 hex digits. */
  readonly hash: string
}

export interface SealedSegment {
  readonly baseOffset: number
  /** Of the `.log` file. */
  readonly bytes: number
  /** The offset behind its last one. */
  readonly nextOffset: number
  /** M3 */
  readonly state: 'sealed' | 'compacted'
  readonly digest: SegmentDigest | undefined
  /** Wall clock, ms. */
  readonly verifiedMs: number | undefined
  /** `undefined`: not known. */
  readonly transactions: TransactionsDigest | undefined
}

export interface ActiveSegment {
  readonly baseOffset: number
  /** What is known of it is known as of here; `undefined`: nothing is. */
  readonly nextOffset: number | undefined
  readonly transactions: TransactionsDigest | undefined
}

export interface Manifest {
  readonly logStartOffset: number
  /** Ascending. */
  readonly sealed: readonly SealedSegment[]
  /** The segment that was written to when the manifest was; `undefined` where nothing is said. */
  readonly active: ActiveSegment | undefined
}

/**
 * @returns `undefined` if there is no manifest.
 * @throws {LogError} CORRUPT_FILE; UNSUPPORTED_VERSION if a newer heartwood has written it; else the system's error.
 */
export async function readManifest(fs: FileSystem, dir: string): Promise<Manifest | undefined> {
  const bytes = await readWholeFile(fs, join(dir, MANIFEST_FILE), MAX_MANIFEST_BYTES)
  return bytes === undefined ? undefined : parseManifest(bytes)
}

/** Replaces the manifest in one step; durable when it resolves. */
export async function writeManifest(
  fs: FileSystem,
  dir: string,
  manifest: Manifest,
  options: ReplaceOptions = {}
): Promise<void> {
  await replaceFile(fs, join(dir, MANIFEST_FILE), formatManifest(manifest), options)
}

export function formatManifest({ logStartOffset, sealed, active }: Manifest): Buffer {
  const lines = sealed.map(({ baseOffset, bytes, nextOffset, state, digest, verifiedMs, transactions }) => {
    const hashed = digest === undefined ? '- -' : `${digest.batches} ${digest.hash}`
    const txn = formatTransactions(transactions)
    return `segment ${baseOffset} ${bytes} ${nextOffset} ${state} ${hashed} ${verifiedMs ?? '-'} ${txn}\n`
  })
  if (active !== undefined) {
    const { baseOffset, nextOffset = '-', transactions } = active
    lines.push(`segment ${baseOffset} - ${nextOffset} active - - - ${formatTransactions(transactions)}\n`)
  }
  const body = Buffer.from(`${TITLE} ${VERSION}\nstart ${logStartOffset}\n${lines.join('')}`)
  const crc = crc32c(body, 0, body.length)
  return Buffer.concat([body, Buffer.from(`crc ${hex(crc)}\n`)])
}

function formatTransactions(digest: TransactionsDigest | undefined): string {
  return digest === undefined ? '-' : `${digest.bytes}:${hex(digest.crc)}`
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION */
export function parseManifest(bytes: Buffer): Manifest {
  const bodyEnd = bytes.length - CRC_LINE_BYTES
  const stored = bodyEnd < 0 ? null : /^crc ([0-9a-f]{8})\n$/.exec(bytes.toString('latin1', bodyEnd))
  if (stored === null || Number.parseInt(stored[1] as string, 16) !== crc32c(bytes, 0, bodyEnd)) {
    throw corrupt('fails its checksum')
  }
  const [title, start, ...lines] = bytes.toString('utf8', 0, bodyEnd).split('\n')
  const version = /^heartwood-manifest (\d{1,9})$/.exec(title ?? '')?.[1]
  if (version === undefined) throw corrupt('has no title')
  if (Number(version) > VERSION) {
    const message = `${MANIFEST_FILE} is of version ${version}; this release knows ${VERSION}`
    throw new LogError('UNSUPPORTED_VERSION', message, { version: Number(version), known: VERSION })
  }
  if (Number(version) < FIRST_VERSION) throw corrupt(`is of version ${version}, which no store has ever written`)
  const logStartOffset = /^start (\d{1,16})$/.exec(start ?? '')?.[1]
  if (logStartOffset === undefined) throw corrupt('has no log start offset')
  // What follows the last line end is no line.
  if (lines.pop() !== '') throw corrupt('ends within a line')
  // Without what version 3 has.
  const whole = Number(version) < VERSION ? lines.map(line => `${line} -`) : lines
  const active = activeOf(whole.at(-1))
  const sealed = (active === undefined ? whole : whole.slice(0, -1)).map(parseSealed)
  let next = 0
  for (const [index, { baseOffset, nextOffset }] of sealed.entries()) {
    if (baseOffset <= (sealed[index - 1]?.baseOffset ?? -1)) throw corrupt('is not in order')
    if (baseOffset < next || nextOffset < baseOffset) throw corrupt('has segments that overlap')
    next = nextOffset
  }
  if (active !== undefined && active.baseOffset < next) throw corrupt('has segments that overlap')
  if (active !== undefined && (active.nextOffset ?? active.baseOffset) < active.baseOffset)
    throw corrupt('is not in order')
  return { logStartOffset: exact(logStartOffset), sealed, active }
}

const ACTIVE_LINE = /^segment (\d{1,16}) - (\d{1,16}|-) active - - - (\d{1,16}:[0-9a-f]{8}|-)$/

function activeOf(line: string | undefined): ActiveSegment | undefined {
  const [whole, base, next, txn] = ACTIVE_LINE.exec(line ?? '') ?? []
  if (whole === undefined) return undefined
  const nextOffset = next === '-' ? undefined : exact(next)
  return { baseOffset: exact(base), nextOffset, transactions: transactionsOf(txn) }
}

function transactionsOf(text: string | undefined): TransactionsDigest | undefined {
  const [bytes, crc] = text === '-' || text === undefined ? [] : text.split(':')
  return bytes === undefined ? undefined : { bytes: exact(bytes), crc: Number.parseInt(crc as string, 16) }
}

const SEALED_LINE =
  /^segment (\d{1,16}) (\d{1,16}) (\d{1,16}) (sealed|compacted) (?:(\d{1,16}) ([0-9a-f]{16})|- -) (\d{1,16}|-) (\d{1,16}:[0-9a-f]{8}|-)$/

function parseSealed(line: string): SealedSegment {
  const match = SEALED_LINE.exec(line)
  if (match === null) throw corrupt('has a malformed line')
  const [, base, bytes, nextOffset, state, batches, hash, verified, txn] = match
  return {
    baseOffset: exact(base),
    bytes: exact(bytes),
    nextOffset: exact(nextOffset),
    state: state as SealedSegment['state'],
    digest: hash === undefined ? undefined : { batches: exact(batches), hash },
    verifiedMs: verified === '-' ? undefined : exact(verified),
    transactions: transactionsOf(txn)
  }
}

function exact(digits: string | undefined): number {
  const value = Number(digits)
  if (!Number.isSafeInteger(value)) throw corrupt('has a number beyond 2^53 - 1')
  return value
}

function corrupt(what: string): LogError {
  return new LogError('CORRUPT_FILE', `${MANIFEST_FILE} ${what}`, { file: MANIFEST_FILE })
}

/** Files of a partition's segments as they are found, ascending. */
export interface FoundSegment {
  readonly baseOffset: number
  readonly bytes: number
}

/** What the manifest says that the files do not. */
export interface ManifestMismatch {
  readonly kind: 'missing' | 'shorter' | 'longer'
  readonly baseOffset: number
  /** Where the file ends or should have ended, whichever comes first. */
  readonly position: number
  readonly fromOffset: number
  readonly toOffset: number
}

/**
 * The first contradiction between manifest and files, if there is one.
 *
 * @param upTo - segments that reach beyond this offset are left out: a cut that a crash ended may be under way there.
 * @param logStartOffset - what lies below may have been removed.
 */
export function compareManifest(
  { sealed, logStartOffset: noted }: Manifest,
  found: readonly FoundSegment[],
  { upTo, logStartOffset }: { upTo: number; logStartOffset: number }
): ManifestMismatch | undefined {
  const start = Math.max(logStartOffset, noted)
  const bytesOf = new Map(found.map(segment => [segment.baseOffset, segment.bytes]))
  for (const { baseOffset, bytes, nextOffset } of sealed) {
    if (nextOffset > upTo) continue
    const present = bytesOf.get(baseOffset)
    if (present === undefined && nextOffset <= start) continue
    if (present === bytes) continue
    return {
      kind: present === undefined ? 'missing' : present < bytes ? 'shorter' : 'longer',
      baseOffset,
      position: Math.min(present ?? 0, bytes),
      fromOffset: present !== undefined && present > bytes ? nextOffset : baseOffset,
      toOffset: nextOffset
    }
  }
  return undefined
}
