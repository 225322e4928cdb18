/**
 * Repairs of a data directory: what each would do and lose, and the work, by explicit act.
 *
 * A remedy takes the write lock as a store does, keeps every byte that it takes away in the partition's `quarantine/`,
 * and lets a store open and close the directory afterwards, whose recovery makes anew what follows from the log.
 */
import { basename, dirname, resolve } from 'node:path'
import type { FileSystem } from '../fs/file-system.ts'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { toLogError } from '../fs/system-errors.ts'
import { DataDirectory } from '../store/data-directory.ts'
import { locateDirectory } from '../store/locate-directory.ts'
import { usualLock } from '../store/open-store.ts'
import { Store } from '../store/store.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { Findings } from './findings.ts'
import {
  planQuarantine,
  planRebuild,
  planTruncate,
  quarantineSegment,
  type RemedyContext,
  type RemedyPlan,
  rebuild,
  truncateAfter
} from './remedies.ts'
import { planSalvage, salvage } from './salvage.ts'
import { type Survey, surveyPartition } from './survey.ts'
import { type DirectoryFacts, readDirectoryFacts, type VerifyReport, verifyDirectory } from './verify.ts'

export type { RemedyPlan } from './remedies.ts'

export type Remedy =
  /** Makes anew what follows from the log. */
  | { readonly kind: 'rebuild' }
  /** Drops everything behind an offset. */
  | { readonly kind: 'truncate-after'; readonly partition: string; readonly offset: number }
  /** Moves a segment away, and marks the hole. @see LogError DATA_LOSS */
  | { readonly kind: 'quarantine'; readonly file: string }
  /** Copies what is sound into a new directory. */
  | { readonly kind: 'salvage'; readonly to: string }

export interface RepairOptions {
  /** Only these topics; all by default. */
  readonly topics?: readonly string[]
  readonly fs?: FileSystem
  readonly clock?: Clock
}

export interface RepairReport {
  /** What was done. */
  readonly done: readonly RemedyPlan[]
  /** Of the directory as it is now; after a salvage of the new one. */
  readonly verified: VerifyReport
}

interface Located {
  readonly fs: FileSystem
  readonly path: string
  readonly facts: DirectoryFacts
  readonly findings: Findings
}

async function locate(dir: string, { fs = nodeFileSystem }: RepairOptions): Promise<Located> {
  const path = await locateDirectory(dir, { fs, readOnly: true, createIfMissing: false, forceUnsafeFileSystem: true })
  const findings = new Findings(undefined)
  return { fs, path, facts: await readDirectoryFacts(fs, path, findings), findings }
}

async function surveyAll({ fs, path, facts }: Located, folders: readonly string[]): Promise<Survey[]> {
  const surveys: Survey[] = []
  for (const folder of folders) surveys.push(await surveyPartition(fs, path, { facts, folder }))
  return surveys
}

function foldersOf({ facts }: Located, { topics = [] }: RepairOptions): string[] {
  const wanted = facts.listing.partitions.filter(({ topic }) => topics.length === 0 || topics.includes(topic))
  return wanted.map(({ name }) => name)
}

/** What there is to do about what verify finds, each with what it would lose. Changes nothing. */
export async function planRepairs(dir: string, options: RepairOptions = {}): Promise<RemedyPlan[]> {
  try {
    const located = await locate(dir, options)
    const plans: RemedyPlan[] = []
    for (const survey of await surveyAll(located, foldersOf(located, options))) {
      const rebuilding = planRebuild(survey)
      if (rebuilding !== undefined) plans.push(rebuilding)
      plans.push(...(await plansForDamage(located.fs, survey)))
    }
    return plans
  } catch (error) {
    throw toLogError(error, 'plan a repair of', dir)
  }
}

/** What one remedy would do and lose. Changes nothing. */
export async function planRemedy(dir: string, remedy: Remedy, options: RepairOptions = {}): Promise<RemedyPlan[]> {
  try {
    const located = await locate(dir, options)
    const isOne = remedy.kind === 'truncate-after' || remedy.kind === 'quarantine'
    const folders = isOne ? [folderOf(remedy, located.facts)] : foldersOf(located, options)
    const plans: RemedyPlan[] = []
    for (const survey of await surveyAll(located, folders)) {
      const plan = remedy.kind === 'salvage' ? planSalvage(survey, remedy.to) : await planOf(located.fs, remedy, survey)
      if (plan !== undefined) plans.push(plan)
    }
    return plans
  } catch (error) {
    throw toLogError(error, 'plan a repair of', dir)
  }
}

async function plansForDamage(fs: FileSystem, survey: Survey): Promise<RemedyPlan[]> {
  const { folder, checked, lost } = survey
  const corrupt = checked.findings.filter(({ severity }) => severity === 'corrupt')
  const logs = checked.listing.bases.map(base => `${folder}/${String(base).padStart(20, '0')}.log`)
  const damaged = [...new Set(corrupt.filter(({ code }) => code !== 'LEADER_EPOCH_WRONG').map(({ file }) => file))]
  const segments = damaged.filter(file => logs.includes(file)).sort()
  const plans = segments.map(file => planQuarantine(survey, file))
  const first = Math.min(
    ...corrupt.filter(({ file }) => damaged.includes(file)).map(({ offset }) => offset ?? Number.POSITIVE_INFINITY)
  )
  if (first > 0 && first < Number.POSITIVE_INFINITY) plans.push(await planTruncate(fs, survey, first - 1))
  if (segments.length > 0 || lost.length > 0) plans.push(planSalvage(survey, 'NEWDIR'))
  return plans
}

/**
 * Does what `remedy` says, durably, and verifies the outcome.
 *
 * @throws {LogError} LOCKED while somebody writes there; INVALID_REQUEST for a partition, file or folder that cannot be
 *   meant; what the file system refuses. It can be done again.
 */
export async function repairDirectory(dir: string, remedy: Remedy, options: RepairOptions = {}): Promise<RepairReport> {
  try {
    const done =
      remedy.kind === 'salvage' ? await salvageInto(dir, remedy.to, options) : await repairInPlace(dir, remedy, options)
    const path = remedy.kind === 'salvage' ? remedy.to : dir
    await recover(path, options)
    const { fs } = options
    return { done, verified: await verifyDirectory(path, fs === undefined ? {} : { fs }) }
  } catch (error) {
    throw toLogError(error, 'repair', dir)
  }
}

async function salvageInto(dir: string, to: string, options: RepairOptions): Promise<RemedyPlan[]> {
  const located = await locate(dir, options)
  const { fs, path, findings } = located
  if (located.facts.live) throw new LogError('LOCKED', `${path} is being written to: stop that first`, { path })
  const target = resolve(to)
  const parent = await fs.realPath(dirname(target)).catch((error: unknown) => {
    throw toLogError(error, 'find', dirname(target))
  })
  const surveys = await surveyAll(located, foldersOf(located, options))
  const { clock = systemClock } = options
  await salvage({ fs, clock, dir: path, to: `${parent}/${basename(target)}`, surveys, findings: findings.list() })
  return surveys.map(survey => planSalvage(survey, to))
}

async function repairInPlace(
  dir: string,
  remedy: Exclude<Remedy, { kind: 'salvage' }>,
  options: RepairOptions
): Promise<RemedyPlan[]> {
  const { fs = nodeFileSystem, clock = systemClock } = options
  const path = await locateDirectory(dir, { fs, readOnly: true, createIfMissing: false, forceUnsafeFileSystem: true })
  const lock = await usualLock(fs)(path)
  try {
    // Looked at before the marker is taken: whether what ends the log is a tail depends on it. The lock is ours.
    const findings = new Findings(undefined)
    const facts = { ...(await readDirectoryFacts(fs, path, findings)), live: false }
    const located = { fs, path, facts, findings }
    const folders = remedy.kind === 'rebuild' ? foldersOf(located, options) : [folderOf(remedy, facts)]
    const surveys = await surveyAll(located, folders)
    const plans = new Map<Survey, RemedyPlan>()
    for (const survey of surveys) {
      const plan = await planOf(fs, remedy, survey)
      if (plan !== undefined) plans.set(survey, plan)
    }
    const directory = await DataDirectory.open(fs, path, { lock })
    for (const survey of plans.keys()) await apply(remedy, { fs, clock, directory, survey })
    return [...plans.values()]
  } finally {
    await lock.release()
  }
}

function folderOf(
  remedy: { kind: 'truncate-after'; partition: string } | { kind: 'quarantine'; file: string },
  { listing }: DirectoryFacts
): string {
  const folder = remedy.kind === 'quarantine' ? dirname(remedy.file) : remedy.partition
  if (listing.partitions.some(({ name }) => name === folder)) return folder
  throw new LogError(
    'UNKNOWN_TOPIC_OR_PARTITION',
    `there is no partition ${folder} here; a file is named as in orders-0/00000000000000000000.log`,
    { folder }
  )
}

async function planOf(fs: FileSystem, remedy: Remedy, survey: Survey): Promise<RemedyPlan | undefined> {
  if (remedy.kind === 'rebuild') return planRebuild(survey)
  if (remedy.kind === 'quarantine') return planQuarantine(survey, remedy.file)
  return remedy.kind === 'truncate-after' ? planTruncate(fs, survey, remedy.offset) : undefined
}

async function apply(remedy: Remedy, context: RemedyContext): Promise<void> {
  if (remedy.kind === 'rebuild') await rebuild(context)
  if (remedy.kind === 'quarantine') await quarantineSegment(context, remedy.file)
  if (remedy.kind === 'truncate-after') await truncateAfter(context, remedy.offset)
}

/** Opens the directory as any writer would, and closes it cleanly as far as that goes. */
async function recover(dir: string, { fs, clock }: RepairOptions): Promise<void> {
  const store = await Store.open([dir], {
    createIfMissing: false,
    ...(fs === undefined ? {} : { fs }),
    ...(clock === undefined ? {} : { clock })
  })
  try {
    for (const { topic, partitions } of store.topics({ internal: true })) {
      for (const partition of partitions) {
        // What is still corrupt is told by the verify that follows.
        await store.openLog(topic, partition).catch((error: unknown) => {
          if (!isLogError(error)) throw error
        })
      }
    }
  } finally {
    await store.close()
  }
}
