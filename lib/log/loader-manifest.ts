/** The manifest of a log that is being loaded. */
import type { FileSystem } from '../fs/file-system.ts'
import type { ReplaceOptions } from '../fs/replace-file.ts'
import { isSameDigest, type TransactionsDigest } from '../segment/transaction-index.ts'
import { isLogError } from '../util/errors.ts'
import type { PlannedSegment } from './loader-plan.ts'
import { type ActiveSegment, type Manifest, readManifest, type SealedSegment, writeManifest } from './manifest.ts'
import type { ReportBuilder } from './recovery-report.ts'

export interface ManifestContext {
  readonly fs: FileSystem
  readonly dir: string
  readonly readOnly: boolean
  readonly report: ReportBuilder
}

/** @throws {LogError} UNSUPPORTED_VERSION, unless read-only; what cannot be read is a note. */
export async function loadManifest({ fs, dir, readOnly, report }: ManifestContext): Promise<Manifest | undefined> {
  try {
    return await readManifest(fs, dir)
  } catch (error) {
    if (readOnly && isLogError(error, 'UNSUPPORTED_VERSION')) return undefined
    if (!isLogError(error, 'CORRUPT_FILE')) throw error
    report.note('CORRUPT_FILE', `${error.message}; nothing tells which files there should be.`, error.details)
    return undefined
  }
}

/**
 * Takes out what will not be true any more once the plan is carried out: segments that go, are cut, or will be written
 * to. Durable when it resolves, and without I/O where there is no such segment, which is nearly always.
 *
 * Segments above the watermark were not compared with their files: what does not fit there goes out as well.
 */
export async function trimManifest(
  { fs, dir, readOnly }: ManifestContext,
  manifest: Manifest | undefined,
  kept: readonly PlannedSegment[],
  options: ReplaceOptions
): Promise<Manifest | undefined> {
  if (manifest === undefined || readOnly) return manifest
  // The last one is written to from now on.
  const stays = new Map(kept.slice(0, -1).map((segment, i) => [segment.baseOffset, { segment, next: kept[i + 1] }]))
  const sealed = manifest.sealed.filter(({ baseOffset, bytes, nextOffset }) => {
    const { segment, next } = stays.get(baseOffset) ?? {}
    return segment?.validBytes === bytes && segment.fileBytes === bytes && nextOffset <= (next?.baseOffset ?? 0)
  })
  if (sealed.length === manifest.sealed.length) return manifest
  const active = manifest.active?.baseOffset === kept.at(-1)?.baseOffset ? manifest.active : undefined
  const trimmed = { ...manifest, sealed, active }
  await writeManifest(fs, dir, trimmed, options)
  return trimmed
}

/**
 * Notes transaction indexes that were built anew, and are in their files: were that noted before, a crash in between
 * would leave the damaged one in force.
 *
 * @param rebuilt - by base offset.
 */
export async function renewTransactions(
  { fs, dir, readOnly }: ManifestContext,
  manifest: Manifest | undefined,
  rebuilt: ReadonlyMap<number, TransactionsDigest>,
  options: ReplaceOptions
): Promise<Manifest | undefined> {
  if (manifest === undefined || readOnly) return manifest
  const { sealed, active } = manifest
  const renewed = <T extends SealedSegment | ActiveSegment>(segment: T): T => {
    const transactions = rebuilt.get(segment.baseOffset)
    return transactions === undefined || isSameDigest(transactions, segment.transactions)
      ? segment
      : { ...segment, transactions }
  }
  const now = { ...manifest, sealed: sealed.map(renewed), active: active && renewed(active) }
  if (now.active === active && now.sealed.every((segment, i) => segment === sealed[i])) return manifest
  await writeManifest(fs, dir, now, options)
  return now
}
