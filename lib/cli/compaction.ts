/** `heartwood compact`: which partitions are cleaned, which are not, and why. */
import type { CleanableJudgement } from '../compaction/cleanable.ts'
import type { CompactedPartition, CompactReport } from '../store/upkeep-types.ts'
import { type Context, type DirOption, partitionsOf, withStore } from './common.ts'
import { reasonFor } from './compaction-reasons.ts'
import { nameOf, succeeded, tellFailures } from './partition-outcomes.ts'
import { progressBar } from './progress.ts'
import { printTable } from './table.ts'

export interface CompactCommandOptions extends DirOption {
  readonly topics: readonly string[]
  readonly partition: number | undefined
  readonly dryRun: boolean
  readonly explain: boolean
  readonly force: boolean
  readonly now: number | undefined
  readonly json: boolean
}

export async function compact(options: CompactCommandOptions, context: Context): Promise<number> {
  const { dir, topics, partition, dryRun, force, now } = options
  const progress = progressBar(context, '% of {what}', 100)
  let report: CompactReport
  try {
    report = await withStore(dir, { readOnly: dryRun, createIfMissing: false }, store => {
      if (partition !== undefined) for (const topic of topics) partitionsOf(store, topic, partition)
      return store.compact({
        dryRun,
        force,
        now,
        partition,
        topics: topics.length === 0 ? undefined : topics,
        onProgress: ({ phase, doneBytes, totalBytes }) =>
          progress.update(Math.floor((100 * doneBytes) / Math.max(1, totalBytes)), phase)
      })
    })
  } finally {
    progress.stop()
  }
  const done = succeeded(report.partitions)
  if (options.json) await printLines(done, options, context)
  else await printTables(done, options, context)
  return tellFailures(report.partitions, options, context)
}

async function printLines(
  partitions: readonly CompactedPartition[],
  { explain, dryRun }: CompactCommandOptions,
  { out }: Context
): Promise<void> {
  for (const each of partitions) {
    const { judgement, cleaned } = each
    const decision = cleaned === undefined ? 'keep' : 'clean'
    const line = { partition: nameOf(each), decision, rule: ruleOf(each) }
    if (explain) await out.json({ ...line, because: numbersOf(judgement) })
    if (!explain || cleaned !== undefined) await out.json({ ...line, dryRun, ...cleaned })
  }
}

async function printTables(
  partitions: readonly CompactedPartition[],
  { explain, dryRun }: CompactCommandOptions,
  context: Context
): Promise<void> {
  if (explain) {
    const rows = partitions.map(each => [
      nameOf(each),
      each.cleaned === undefined ? 'keep' : 'clean',
      ruleOf(each),
      reasonFor(each)
    ])
    await printTable(context, ['partition', 'decision', 'rule', 'why'], rows)
  }
  const cleaned = partitions.flatMap(each => (each.cleaned === undefined ? [] : [{ ...each.cleaned, ...each }]))
  const rows = cleaned.map(each => {
    const { recordsRead, recordsKept } = each.stats
    return [nameOf(each), ...[recordsRead, recordsKept, each.bytesBefore, each.bytesAfter, each.endOffset].map(String)]
  })
  const titles = ['partition', 'records', 'kept', 'bytes before', 'after', 'clean up to']
  if (rows.length > 0) await printTable(context, titles, rows, ['left', 'right', 'right', 'right', 'right', 'right'])
  const freed = cleaned.reduce((sum, { bytesBefore, bytesAfter }) => sum + bytesBefore - bytesAfter, 0)
  const kept = cleaned.reduce((sum, { stats }) => sum + stats.recordsRead - stats.recordsKept, 0)
  if (dryRun) context.say(`Would clean ${cleaned.length} partition(s) and take ${kept} record(s) out.`)
  else context.say(`Cleaned ${cleaned.length} partition(s): ${kept} record(s), ${freed} bytes less.`)
}

/** What was cleaned though it was not due was forced. */
function ruleOf({ judgement, cleaned }: CompactedPartition): string {
  return cleaned !== undefined && !judgement.due ? 'force' : judgement.reason
}

/** The numbers of a judgement that can be said in JSON. */
function numbersOf({ due, reason, ...numbers }: CleanableJudgement): Record<string, unknown> {
  return { ...numbers }
}
