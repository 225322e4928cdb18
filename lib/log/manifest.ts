/**
 * Manifest of one partition: which segments there are, and how long the closed ones are, so that a file that is
 * missing, shorter or longer is noticed although nobody reads it.
 *
 * Format, in `heartwood-manifest`; UTF-8 lines that end in '\n', replaced as a whole:
 *
 *     file    := "heartwood-manifest 1" segment* "crc " CRC-32C of all bytes before this line, 8 hex digits
 *     segment := "segment " base " " bytes " " nextOffset " " flag
 *     bytes, nextOffset := decimal; "-" in a segment that is not closed
 *     flag    := "whole" | "rewritable"
 *
 * Example:
 *
 *     heartwood-manifest 1
 *     segment 0 16384 217 whole
 *     segment 217 - - whole
 *     crc 4f2cbad0
 *
 * Invariants:
 *   M1  Bases strictly increase; a closed segment's next offset is at or below the next base.
 *   M2  A segment is `rewritable` in the file before anything rewrites it, merges it or leaves a gap in it. Of such a
 *       segment nothing is promised but that its offsets belong to somebody.
 *   M3  A segment leaves the file before its files are removed, unless the log start offset is durably past it.
 *   M4  A segment that is not listed is newer than the manifest: that is no fault.
 *   M5  Once another engine has written here the manifest says nothing, and is made anew with every segment
 *       `rewritable`.
 */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { type ReplaceOptions, readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { crc32c } from '../util/crc32c.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

export const MANIFEST_FILE = 'heartwood-manifest'
const TITLE = 'heartwood-manifest'
const VERSION = 1
const CRC_LINE_BYTES = 'crc 00000000\n'.length
/** More than 300,000 segments. */
const MAX_MANIFEST_BYTES = 16 * MiB

export interface ManifestSegment {
  readonly baseOffset: number
  /** Of a closed segment: bytes of its `.log` file, and the offset behind its last one. */
  readonly closed: { readonly bytes: number; readonly nextOffset: number } | undefined
  /** Compaction may change it, or it may have gaps for another reason. */
  readonly rewritable: boolean
}

export interface Manifest {
  /** Ascending. */
  readonly segments: readonly ManifestSegment[]
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

export function formatManifest({ segments }: Manifest): Buffer {
  const lines = segments.map(({ baseOffset, closed, rewritable }) => {
    const end = closed === undefined ? '- -' : `${closed.bytes} ${closed.nextOffset}`
    return `segment ${baseOffset} ${end} ${rewritable ? 'rewritable' : 'whole'}\n`
  })
  const body = Buffer.from(`${TITLE} ${VERSION}\n${lines.join('')}`)
  const crc = crc32c(body, 0, body.length)
  return Buffer.concat([body, Buffer.from(`crc ${crc.toString(16).padStart(8, '0')}\n`)])
}

/** @throws {LogError} CORRUPT_FILE, UNSUPPORTED_VERSION */
export function parseManifest(bytes: Buffer): Manifest {
  const bodyEnd = bytes.length - CRC_LINE_BYTES
  const stored = bodyEnd < 0 ? null : /^crc ([0-9a-f]{8})\n$/.exec(bytes.toString('latin1', bodyEnd))
  if (stored === null || Number.parseInt(stored[1] as string, 16) !== crc32c(bytes, 0, bodyEnd)) {
    throw corrupt('fails its checksum')
  }
  const [title, ...lines] = bytes.toString('utf8', 0, bodyEnd).split('\n')
  const version = /^heartwood-manifest (\d{1,9})$/.exec(title ?? '')?.[1]
  if (version === undefined) throw corrupt('has no title')
  if (Number(version) > VERSION) {
    const message = `${MANIFEST_FILE} is of version ${version}; this release knows ${VERSION}`
    throw new LogError('UNSUPPORTED_VERSION', message, { version: Number(version), known: VERSION })
  }
  // What follows the last line end is no line.
  if (lines.pop() !== '') throw corrupt('ends within a line')
  const segments = lines.map(parseSegment)
  for (const [index, segment] of segments.entries()) {
    const previous = segments[index - 1]
    if (previous !== undefined && previous.baseOffset >= segment.baseOffset) throw corrupt('is not in order')
    if ((previous?.closed?.nextOffset ?? 0) > segment.baseOffset) throw corrupt('has segments that overlap')
  }
  return { segments }
}

function parseSegment(line: string): ManifestSegment {
  const match = /^segment (\d{1,16}) (?:(\d{1,16}) (\d{1,16})|- -) (whole|rewritable)$/.exec(line)
  if (match === null) throw corrupt('has a malformed line')
  const [, base, bytes, nextOffset, flag] = match
  const closed = bytes === undefined ? undefined : { bytes: Number(bytes), nextOffset: Number(nextOffset) }
  return { baseOffset: Number(base), closed, rewritable: flag === 'rewritable' }
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
  readonly toOffset: number | undefined
}

/**
 * The first contradiction between manifest and files, if there is one.
 *
 * @param upTo - segments that reach beyond this offset are left out: what was not durable there may be gone or torn.
 * @param logStartOffset - what lies below may have been removed.
 */
export function compareManifest(
  { segments }: Manifest,
  found: readonly FoundSegment[],
  { upTo, logStartOffset }: { upTo: number; logStartOffset: number }
): ManifestMismatch | undefined {
  const bytesOf = new Map(found.map(segment => [segment.baseOffset, segment.bytes]))
  for (const { baseOffset, closed, rewritable } of segments) {
    if (rewritable || closed === undefined) continue
    const { bytes, nextOffset } = closed
    if (nextOffset > upTo) continue
    const present = bytesOf.get(baseOffset)
    if (present === undefined && nextOffset <= logStartOffset) continue
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

/** A manifest of the present segments. Of those that `previous` does not know, nothing is promised (M5). */
export function manifestOf(
  segments: readonly { readonly baseOffset: number; readonly size: number; readonly nextOffset: number | undefined }[],
  previous: Manifest | undefined
): Manifest {
  const known = new Map(previous?.segments.map(segment => [segment.baseOffset, segment]))
  return {
    segments: segments.map(({ baseOffset, size, nextOffset }, index) => {
      const before = known.get(baseOffset)
      const isActive = index === segments.length - 1
      const closed = isActive || nextOffset === undefined ? undefined : { bytes: size, nextOffset }
      return { baseOffset, closed, rewritable: before?.rewritable ?? !isEmptyActive(isActive, size) }
    })
  }
}

/** An active segment in which nothing is yet will be written by us alone. */
function isEmptyActive(isActive: boolean, size: number): boolean {
  return isActive && size === 0
}
