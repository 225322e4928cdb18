/** Every sound batch of a damaged directory, in a new one: same offsets, what is lost marked. The source stays as it is. */
import { dirname, join } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { readWholeFile, replaceFile } from '../fs/replace-file.ts'
import { HOLDS_FILE } from '../log/holds-file.ts'
import { type Hole, mergeHoles, readHoles, writeHoles } from '../log/holes.ts'
import { LEADER_EPOCH_FILE } from '../log/leader-epochs.ts'
import { LOG_SUFFIX, segmentFileName } from '../segment/file-names.ts'
import { META_PROPERTIES } from '../store/meta-properties.ts'
import { CHECKPOINT_FILES } from '../store/offset-checkpoints.ts'
import { PARTITION_METADATA } from '../store/partition-metadata.ts'
import { TOPICS_FILE } from '../store/topics-file.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import type { Finding } from './findings.ts'
import type { RemedyPlan } from './remedies.ts'
import { copyRange } from './remedy-files.ts'
import type { Survey } from './survey.ts'

const SMALL_FILE = 256 * MiB

export function planSalvage({ folder, lost, checked }: Survey, to: string): RemedyPlan {
  const message = `Copies ${checked.records} records in ${checked.batches} sound batches into ${to}, under their offsets; what cannot be read is marked there as lost. Nothing is changed here.`
  return { remedy: 'salvage', partition: folder, argument: `salvage=${to}`, lost, lostRecords: 0, message }
}

export interface SalvageOptions {
  readonly fs: FileSystem
  readonly clock: Clock
  /** The damaged directory. */
  readonly dir: string
  /** Does not exist yet. */
  readonly to: string
  readonly surveys: readonly Survey[]
  /** Of the directory's own files. */
  readonly findings: readonly Finding[]
}

/**
 * Builds `to.incomplete` and gives it its name when all is there.
 *
 * @throws {LogError} INVALID_REQUEST if `to` exists, or lies within the damaged directory.
 */
export async function salvage(options: SalvageOptions): Promise<void> {
  const { fs, dir, to, surveys, findings } = options
  if (`${to}/`.startsWith(`${dir}/`))
    throw new LogError('INVALID_REQUEST', `${to} lies within ${dir}: name a new directory`, { to })
  if ((await fs.stat(to)) !== undefined)
    throw new LogError('INVALID_REQUEST', `${to} exists already: name a new directory`, { to })
  const building = `${to}.incomplete`
  if ((await fs.stat(building)) !== undefined) {
    throw new LogError('INVALID_REQUEST', `${building} is left of an earlier attempt: remove it first`, { to })
  }
  await fs.makeDirectory(building, 0o700)
  const damaged = new Set(findings.filter(({ severity }) => severity === 'corrupt').map(({ file }) => file))
  for (const name of [META_PROPERTIES, TOPICS_FILE, CHECKPOINT_FILES.logStart]) {
    if (!damaged.has(name)) await copySmall(fs, join(dir, name), join(building, name))
  }
  for (const survey of surveys) await salvagePartition(options, survey, join(building, survey.folder))
  await fs.syncDirectory(building)
  await fs.rename(building, to)
  await fs.syncDirectory(dirname(to))
}

async function copySmall(fs: FileSystem, from: string, to: string): Promise<void> {
  const bytes = await readWholeFile(fs, from, SMALL_FILE)
  if (bytes !== undefined) await replaceFile(fs, to, bytes)
}

async function salvagePartition({ fs, clock }: SalvageOptions, survey: Survey, folder: string): Promise<void> {
  const { path, segments, checked, lost, knownEnd } = survey
  await fs.makeDirectory(folder, 0o700)
  const bad = new Set(checked.findings.filter(({ severity }) => severity !== 'note').map(({ file }) => file))
  const isSound = (name: string): boolean => !bad.has(`${survey.folder}/${name}`)
  const hasWrongEpochs = checked.findings.some(({ code }) => code === 'LEADER_EPOCH_WRONG')
  for (const name of [PARTITION_METADATA, LEADER_EPOCH_FILE, HOLDS_FILE]) {
    const isLeft = name === LEADER_EPOCH_FILE && hasWrongEpochs
    if (isSound(name) && !isLeft) await copySmall(fs, join(path, name), join(folder, name))
  }
  const bases = new Set(segments.map(({ baseOffset }) => baseOffset))
  for (const { baseOffset, ranges } of segments) {
    const name = segmentFileName(baseOffset, LOG_SUFFIX)
    const source = await fs.open(join(path, name), 'read')
    try {
      const target = await fs.open(join(folder, name), 'create', 0o600)
      try {
        let at = 0
        for (const { position, end } of ranges) at = await copyRange(source, { from: position, to: end }, target, at)
        await target.sync()
      } finally {
        await target.close()
      }
    } finally {
      await source.close()
    }
  }
  // Their names say where the log begins, and that no offset is given twice.
  const first = checked.logStartOffset ?? 0
  const begins = Math.min(first, ...checked.listing.bases.slice(0, 1))
  const end = segments.at(-1)?.ranges.at(-1)?.toOffset ?? begins
  for (const base of [begins, ...(knownEnd > end ? [knownEnd] : [])]) {
    if (bases.has(base)) continue
    await replaceFile(fs, join(folder, segmentFileName(base, LOG_SUFFIX)), Buffer.alloc(0))
  }
  const marked = lost.map((range): Hole => ({ ...range, markedMs: clock.now(), reason: 'could not be salvaged' }))
  const before = isSound('heartwood-holes') ? await readHoles(fs, path) : []
  const holes = mergeHoles([...before, ...marked])
  if (holes.length > 0) await writeHoles(fs, folder, holes)
  await fs.syncDirectory(folder)
}
