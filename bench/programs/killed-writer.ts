/**
 * Writes a log and closes it, opens it again, writes more, and kills itself: what lies in front of the recovery point
 * is from the first time, what lies behind it from the second.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PartitionLog, Store } from '../../lib/index.ts'
import { appendsOf, recordPool } from '../harness/data.ts'
import { program } from '../harness/program.ts'
import type { Shape } from '../harness/question.ts'

export interface KilledJob {
  readonly directory: string
  readonly topic: string
  readonly shape: Shape
  readonly recordsPerAppend: number
  /** Payload in front of the recovery point, and behind it. */
  readonly bytesBefore: number
  readonly bytesPast: number
  /** Whether a segment begins at the recovery point. */
  readonly roll: boolean
  /** Where to write `KilledFacts`, as there is no report. */
  readonly factsPath: string
}

export interface KilledFacts {
  /** Below `directory`: the file in which the recovery point lies, and the byte in it. */
  readonly file: string
  readonly position: number
  readonly recoveryPoint: number
  readonly logEndOffset: number
}

const IN_FLIGHT = 16

program<KilledJob>(async job => {
  const { directory, topic, bytesBefore, bytesPast, roll, factsPath } = job
  const config = { durability: 'none' } as const
  const first = await Store.open(directory)
  const before = await first.openLog(topic, 0, config)
  await append(before, bytesBefore, job)
  if (roll) await before.roll()
  const { baseOffset, bytes } = before.segments().at(-1)!
  const recoveryPoint = before.logEndOffset
  await first.close()

  const second = await Store.open(directory)
  const past = await second.openLog(topic, 0, config)
  await append(past, bytesPast, job)
  const file = join(`${topic}-0`, `${String(baseOffset).padStart(20, '0')}.log`)
  const facts: KilledFacts = { file, position: bytes, recoveryPoint, logEndOffset: past.logEndOffset }
  writeFileSync(factsPath, JSON.stringify(facts))
  process.kill(process.pid, 'SIGKILL')
  return new Promise(() => undefined)
})

async function append(log: PartitionLog, bytes: number, { shape, recordsPerAppend }: KilledJob): Promise<void> {
  const appends = appendsOf(recordPool(shape), recordsPerAppend)
  const count = Math.ceil(bytes / (shape.keyBytes + shape.valueBytes) / recordsPerAppend)
  for (let i = 0; i < count; i += 1) {
    const appended = log.append(appends[i % appends.length]!, { ownBatch: true })
    if (i % IN_FLIGHT === IN_FLIGHT - 1) await appended
  }
  await log.append(appends[0]!)
}
