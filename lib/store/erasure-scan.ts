/** Looks for a key and its values: in the records of a log, and in the raw bytes of every file of its folder. */
import { join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import type { ErasureProof } from '../log/erase-types.ts'
import type { PartitionLog } from '../log/partition-log.ts'
import type { RecordCursor } from '../record/record-cursor.ts'
import { LOG_SUFFIX } from '../segment/file-names.ts'
import { BatchScanner } from '../segment/scan.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'

/** A shorter value may be anywhere by chance. */
const LEAST_VALUE_BYTES = 16
/** Of a longer value its beginning is looked for. */
const PATTERN_BYTES = 64
/** Bound of memory: so many values are looked for, the newest ones. */
const MOST_PATTERNS = 1_000
const WINDOW_BYTES = 1 * MiB

export interface KeyFindings {
  /** With a value. */
  records: number
  /** Base offsets of the segments they lie in. */
  readonly segments: Set<number>
  /** Beginnings of its values, as binary strings; without those that another key holds too. */
  readonly patterns: Set<string>
  /** Values that are not looked for in raw bytes, because there are more than `MOST_PATTERNS`. */
  valuesLeftOut: number
}

export function nothingFound(): KeyFindings {
  return { records: 0, segments: new Set(), patterns: new Set(), valuesLeftOut: 0 }
}

/** Adds what is found of the key from an offset on. */
export async function findKey(
  log: PartitionLog,
  key: Uint8Array,
  found: KeyFindings,
  { from, signal }: { readonly from: number; readonly signal: AbortSignal | undefined }
): Promise<void> {
  const wanted = Buffer.from(key)
  const bases = log.segments().map(({ baseOffset }) => baseOffset)
  for await (const cursor of cursorsOf(log, from)) {
    throwIfAborted(signal)
    while (cursor.next()) {
      if (!isOf(cursor, wanted) || !cursor.hasValue) continue
      found.records += 1
      found.segments.add(bases.findLast(base => base <= cursor.offset) as number)
      note(found, patternOf(cursor))
    }
  }
}

/** Values that another key holds too prove nothing. */
export async function forgetShared(
  log: PartitionLog,
  key: Uint8Array,
  found: KeyFindings,
  signal: AbortSignal | undefined
): Promise<void> {
  if (found.patterns.size === 0) return
  const wanted = Buffer.from(key)
  for await (const cursor of cursorsOf(log, log.logStartOffset)) {
    throwIfAborted(signal)
    while (cursor.next()) if (cursor.hasValue && !isOf(cursor, wanted)) found.patterns.delete(patternOf(cursor))
  }
}

async function* cursorsOf(log: PartitionLog, from: number): AsyncGenerator<RecordCursor> {
  const scan = log.scan({ from })
  while (await scan.fill()) for (let cursor = scan.next(); cursor !== undefined; cursor = scan.next()) yield cursor
}

function note(found: KeyFindings, pattern: string): void {
  if (pattern.length < LEAST_VALUE_BYTES) return
  found.patterns.add(pattern)
  if (found.patterns.size <= MOST_PATTERNS) return
  const [oldest] = found.patterns
  found.patterns.delete(oldest as string)
  found.valuesLeftOut += 1
}

const isOf = ({ hasKey, bytes, keyStart, keyEnd }: RecordCursor, key: Buffer): boolean =>
  hasKey && keyEnd - keyStart === key.length && bytes.compare(key, 0, key.length, keyStart, keyEnd) === 0

const patternOf = ({ bytes, valueStart, valueEnd }: RecordCursor): string =>
  bytes.toString('latin1', valueStart, Math.min(valueEnd, valueStart + PATTERN_BYTES))

export async function proveErased(parts: {
  readonly fs: FileSystem
  readonly dir: string
  readonly log: PartitionLog
  readonly key: Uint8Array
  readonly found: KeyFindings
  readonly signal: AbortSignal | undefined
}): Promise<ErasureProof> {
  const { fs, dir, key, found, signal } = parts
  const decoded = { files: 0, records: 0, found: 0 }
  const raw = { files: 0, bytes: 0, values: found.patterns.size, valuesLeftOut: found.valuesLeftOut, found: 0 }
  const foundIn = new Set<string>()
  const patterns = [...found.patterns].map(pattern => Buffer.from(pattern, 'latin1'))
  for (const path of await filesBelow(fs, dir)) {
    throwIfAborted(signal)
    const name = path.slice(dir.length + 1)
    const handle = await fs.open(path, 'read')
    try {
      const { size } = await handle.stat()
      if (/^\d{20}$/.test(name.split(LOG_SUFFIX)[0] as string) && name.includes(LOG_SUFFIX)) {
        decoded.files += 1
        const hits = await decodedHits(handle, size, Buffer.from(key), decoded)
        decoded.found += hits
        if (hits > 0) foundIn.add(name)
      }
      raw.files += 1
      raw.bytes += size
      const hits = await rawHits(handle, size, patterns)
      raw.found += hits
      if (hits > 0) foundIn.add(name)
    } finally {
      await handle.close()
    }
  }
  return { holds: foundIn.size === 0, decoded, raw, foundIn: [...foundIn] }
}

async function filesBelow(fs: FileSystem, dir: string): Promise<string[]> {
  const files: string[] = []
  for (const { name, kind } of await fs.readDirectory(dir)) {
    if (kind === 'file') files.push(join(dir, name))
    else if (kind === 'directory') files.push(...(await filesBelow(fs, join(dir, name))))
  }
  return files.sort()
}

type Source = ConstructorParameters<typeof BatchScanner>[0]

/** What is behind the last sound batch is for the raw scan. */
async function decodedHits(source: Source, size: number, key: Buffer, counts: { records: number }): Promise<number> {
  const scanner = new BatchScanner(source, { to: size, reuseBuffer: true })
  let hits = 0
  while (await scanner.fill()) {
    for (let batch = scanner.next(); batch !== undefined; batch = scanner.next()) {
      const cursor = batch.records({ checkCrc: false })
      while (cursor.next()) {
        counts.records += 1
        if (!batch.isControl && cursor.hasValue && isOf(cursor, key)) hits += 1
      }
    }
  }
  return hits
}

async function rawHits(source: Source, size: number, patterns: readonly Buffer[]): Promise<number> {
  if (patterns.length === 0) return 0
  const hits = new Set<Buffer>()
  const window = Buffer.allocUnsafe(Math.min(size, WINDOW_BYTES + PATTERN_BYTES))
  // Windows overlap by the longest pattern, so that none lies across two.
  for (let at = 0; at < size; at += WINDOW_BYTES) {
    const count = await source.read(window.subarray(0, Math.min(window.length, size - at)), at)
    const bytes = window.subarray(0, count)
    for (const pattern of patterns) if (bytes.includes(pattern)) hits.add(pattern)
  }
  return hits.size
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new LogError('ABORTED', 'the erasure was cancelled', {}, signal.reason)
}
