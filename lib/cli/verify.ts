/** `heartwood verify`: what is wrong in a data directory, and what is lost by it. */
import type { Finding, VerifiedPartition } from '../verify/findings.ts'
import { type VerifyReport, verifyDirectory } from '../verify/verify.ts'
import type { Context } from './common.ts'

export interface VerifyCommandOptions {
  readonly directory: string
  readonly topics: readonly string[]
  readonly json: boolean
}

const SHOWN: Readonly<Record<Finding['severity'], string>> = {
  corrupt: 'CORRUPT',
  'torn-tail': 'torn tail',
  derived: 'derived',
  note: 'note'
}

/** @returns 1 if something is corrupt. */
export async function verify(options: VerifyCommandOptions, context: Context): Promise<number> {
  const { directory, topics, json } = options
  const print = json ? printLine : printForPeople
  const report = await verifyDirectory(directory, {
    topics,
    signal: context.terminal.interrupted,
    onPartition: partition => print(partition, context)
  })
  return tellOutcome(report, context)
}

/** @returns the exit status. */
export async function tellOutcome(report: VerifyReport, context: Context): Promise<number> {
  await context.out.flush()
  if (report.sound) return 0
  const corrupt = report.partitions.filter(({ findings }) => findings.some(({ severity }) => severity === 'corrupt'))
  const names = corrupt.map(({ partition }) => partition ?? 'the data directory itself')
  const shown = names.slice(0, 5).join(', ')
  const more = names.length > 5 ? ` and ${names.length - 5} more` : ''
  context.say(
    `heartwood: ${report.dir} is corrupt: ${shown}${more}. Stop writing there, copy the directory, and see what can be done with --repair plan.`
  )
  return 1
}

export async function printLine(verified: VerifiedPartition, { out }: Context): Promise<void> {
  const { partition, segments, batches, records, bytes, logStartOffset, logEndOffset, findings } = verified
  await out.json({ partition, segments, batches, records, bytes, logStartOffset, logEndOffset, findings })
}

export async function printForPeople(verified: VerifiedPartition, { out }: Context): Promise<void> {
  const { partition, findings } = verified
  await out.write(partition === null ? 'data directory\n' : `${partition}  ${summaryOf(verified)}\n`)
  for (const { severity, file, position, offset, code, message } of findings) {
    const places = [
      ...(position === null ? [] : [`byte ${position}`]),
      ...(offset === null ? [] : [`offset ${offset}`])
    ]
    const place = places.length === 0 ? '' : ` (${places.join(', ')})`
    await out.write(`  ${SHOWN[severity]} ${code}: ${file}${place}\n    ${message}\n`)
  }
}

function summaryOf({
  segments,
  batches,
  records,
  bytes,
  logStartOffset,
  logEndOffset,
  findings
}: VerifiedPartition): string {
  const isCorrupt = findings.some(({ severity }) => severity === 'corrupt')
  const range = logEndOffset === null ? 'nothing in it' : `offsets ${logStartOffset} up to ${logEndOffset}`
  return `${isCorrupt ? 'CORRUPT' : 'sound'}: ${range}, ${segments} segment(s), ${batches} batches, ${records} records, ${bytes} bytes`
}
