/** `heartwood retain`: what goes, what stays, and why. `heartwood delete-records`. */
import type { RetainedPartition, RetainReport } from '../store/retain.ts'
import { LogError } from '../util/errors.ts'
import { type Context, type DirOption, partitionsOf, withStore } from './common.ts'
import { nameOf, succeeded, tellFailures } from './partition-outcomes.ts'
import { reasonOf } from './retention-reasons.ts'
import { printTable } from './table.ts'

export interface RetainCommandOptions extends DirOption {
  readonly topics: readonly string[]
  readonly dryRun: boolean
  readonly explain: boolean
  readonly now: number | undefined
  readonly json: boolean
}

export async function retain(options: RetainCommandOptions, context: Context): Promise<number> {
  const { topics, dryRun, now } = options
  const report = await withStore(options.dir, { readOnly: dryRun, createIfMissing: false }, store =>
    store.retain({ dryRun, ...(topics.length === 0 ? {} : { topics }), ...(now === undefined ? {} : { now }) })
  )
  const done = succeeded(report.partitions)
  if (options.json) await printLines(report, done, options, context)
  else await printTables(report, done, options, context)
  return tellFailures(report.partitions, options, context)
}

async function printLines(
  { dryRun }: RetainReport,
  partitions: readonly RetainedPartition[],
  { explain }: RetainCommandOptions,
  { out }: Context
): Promise<void> {
  for (const each of partitions) {
    const partition = nameOf(each)
    if (!explain) {
      const { logStartOffset, deletedSegments, deletedBytes, brokenHolds } = each
      await out.json({ partition, dryRun, logStartOffset, deletedSegments, deletedBytes, brokenHolds })
      continue
    }
    for (const { name: hold, limit: rule, ...because } of each.brokenHolds) {
      await out.json({ partition, hold, decision: 'break', rule, because })
    }
    for (const { segment, decision, rule, because } of each.decisions) {
      await out.json({ partition, segment, decision, rule, because })
    }
  }
}

async function printTables(
  report: RetainReport,
  partitions: readonly RetainedPartition[],
  { explain }: RetainCommandOptions,
  context: Context
): Promise<void> {
  if (explain) {
    const rows = partitions.flatMap(each => [
      ...each.brokenHolds.map(({ name, limit, allowed, found }) => {
        return [nameOf(each), '', 'break', limit, `hold ${name}: ${found}, more than ${allowed}`]
      }),
      ...each.decisions.map(decision => {
        return [nameOf(each), String(decision.segment), decision.decision, decision.rule, reasonOf(decision)]
      })
    ])
    await printTable(context, ['partition', 'segment', 'decision', 'rule', 'why'], rows, ['left', 'right'])
  } else {
    const rows = partitions.map(each => {
      return [nameOf(each), ...[each.deletedSegments, each.deletedBytes, each.logStartOffset].map(String)]
    })
    await printTable(context, ['partition', 'segments deleted', 'bytes', 'start'], rows, [
      'left',
      'right',
      'right',
      'right'
    ])
  }
  const what = report.dryRun ? 'Would delete' : 'Deleted'
  context.say(`${what} ${report.deletedSegments} segment(s), ${report.deletedBytes} bytes.`)
}

export async function deleteRecords(
  options: DirOption & { topic: string; partition: number; before: number; json: boolean },
  context: Context
): Promise<number> {
  const { topic, partition, before } = options
  return withStore(options.dir, { readOnly: false, createIfMissing: false }, async store => {
    partitionsOf(store, topic, partition)
    const known = store.topics({ internal: true }).find(each => each.topic === topic)
    if (known?.managed !== true) {
      const message =
        `the settings of ${topic} are unknown, because another engine made it: nothing is deleted from it before ` +
        `"heartwood topics alter ${topic} --config cleanup.policy=…" states them`
      throw new LogError('POLICY_VIOLATION', message, { topic })
    }
    const log = await store.openLog(topic, partition)
    const logStartOffset = await log.deleteRecordsBefore(before)
    if (options.json) await context.out.json({ topic, partition, logStartOffset })
    else context.say(`${topic}-${partition} begins at offset ${logStartOffset} now.`)
    await context.out.flush()
    return 0
  })
}
