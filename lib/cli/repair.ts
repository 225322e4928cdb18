/** `heartwood verify --repair`: what each remedy would do and lose, and the remedy itself. */
import { planRemedy, planRepairs, type Remedy, type RemedyPlan, repairDirectory } from '../verify/repair.ts'
import type { Context } from './common.ts'
import { printForPeople, printLine, tellOutcome } from './verify.ts'

export interface RepairCommandOptions {
  readonly directory: string
  readonly topics: readonly string[]
  readonly remedy: Remedy | 'plan'
  readonly yes: boolean
  readonly json: boolean
}

export async function repair(options: RepairCommandOptions, context: Context): Promise<number> {
  const { directory, topics, remedy, yes, json } = options
  if (remedy === 'plan' || !yes) {
    const plans =
      remedy === 'plan' ? await planRepairs(directory, { topics }) : await planRemedy(directory, remedy, { topics })
    await print(plans, json, context)
    await context.out.flush()
    if (plans.length === 0) context.say('There is nothing to repair.')
    else context.say('Nothing was changed. Copy the directory first; then add --repair with one of these, and --yes.')
    return 0
  }
  const { done, verified } = await repairDirectory(directory, remedy, { topics })
  await print(done, json, context)
  if (!json) await context.out.write('\n')
  for (const partition of verified.partitions) await (json ? printLine : printForPeople)(partition, context)
  return tellOutcome(verified, context)
}

async function print(plans: readonly RemedyPlan[], json: boolean, { out }: Context): Promise<void> {
  for (const { partition, remedy, argument, lost, lostRecords, message } of plans) {
    if (json) {
      await out.json({ partition, remedy, argument, lost, lostRecords, message })
      continue
    }
    const ranges = lost.map(({ fromOffset, toOffset }) => `${fromOffset} to ${toOffset - 1}`).join(', ')
    const losses =
      lost.length === 0 ? 'no offset is lost' : `offsets lost: ${ranges}; records that can be read now: ${lostRecords}`
    await out.write(`${partition}  --repair ${argument}\n    ${message}\n    (${losses})\n`)
  }
}
