/**
 * How fast is a store back after its process was killed?
 *
 * A process writes some of a log and closes it (that is the recovery point), opens it again, writes 600 MB more at
 * durability `none`, and kills itself. Measured is Store.open in a new process, with the files in the page cache: it
 * checks every batch behind the recovery point and makes the indexes anew. The ceiling reads the same bytes in pieces
 * of 1 MiB and checks the CRCs. `read / past` is what the opening has read, of all files, for each byte behind the
 * recovery point: bytes in front of it should not be read again.
 *
 * What limits it: the CRC (about 6 GB/s), the copy out of the page cache, and some us for each batch, which decide for
 * small ones. Expect 2 GB/s with large batches.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Store } from '../lib/index.ts'
import { fillPageCache } from './harness/file-cache.ts'
import { checkCrcs, copyKilled } from './harness/killed-store.ts'
import { bytesRead } from './harness/process-facts.ts'
import { runProgram } from './harness/program.ts'
import type { Context, Goal, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'
import type { KilledFacts } from './programs/killed-writer.ts'

const TOPIC = 'log'
const FACTS = 'facts.json'
const STORE = 'store'
const BYTES_BEFORE = 100e6
const BYTES_PAST = 600e6
const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }
const LARGE: Shape = { keyBytes: 16, valueBytes: 1008 }

const GOALS: readonly Goal[] = [
  { name: 'P8', against: 'ceiling', limit: 0.6 },
  { name: 'P8', figure: 'read / past', better: 'less', limit: 1.1 }
]

function row(id: string, title: string, shape: Shape, recordsPerAppend: number, roll = true): Row {
  return {
    id,
    title,
    unit: 'MB/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling'],
    goals: GOALS,
    warmBytes: 0,
    params: { keyBytes: shape.keyBytes, valueBytes: shape.valueBytes, recordsPerAppend, roll }
  }
}

function rows(_scale: Scale): Row[] {
  return [
    row('100B-x1000', '100 B records in batches of 1,000', SMALL, 1000),
    row('100B-x10', '100 B records in batches of 10', SMALL, 10),
    row('1KiB-x100', '1 KiB records in batches of 100', LARGE, 100),
    row('within-segment', '100 B x 1,000, the recovery point 100 MB inside a segment', SMALL, 1000, false)
  ]
}

async function prepare({ row, kept, scale }: Context): Promise<void> {
  const { keyBytes, valueBytes, recordsPerAppend, roll } = row.params
  const job = {
    directory: join(kept, STORE),
    topic: TOPIC,
    shape: { keyBytes, valueBytes },
    recordsPerAppend,
    roll,
    bytesBefore: BYTES_BEFORE * scale.factor,
    bytesPast: BYTES_PAST * scale.factor,
    factsPath: join(kept, FACTS)
  }
  await runProgram('killed-writer', job, { endsWith: 'SIGKILL' })
}

async function measure({ contestant, directory, kept }: Context): Promise<Measurement> {
  const facts = JSON.parse(await readFile(join(kept, FACTS), 'utf8')) as KilledFacts
  fillPageCache(join(kept, STORE))
  const note = 'warm: the files are in the page cache'
  if (contestant === 'ceiling') {
    const begin = performance.now()
    const bytes = checkCrcs(join(kept, STORE, facts.file), facts.position)
    const milliseconds = performance.now() - begin
    const settings = 'bare loop: readSync of 1 MiB, one native CRC-32C call a batch'
    return { value: bytes / 1e3 / milliseconds, extras: { ms: milliseconds }, settings, note }
  }
  await copyKilled(join(kept, STORE), directory)
  const readBefore = bytesRead()
  const begin = performance.now()
  const store = await Store.open(directory)
  const milliseconds = performance.now() - begin
  const read = bytesRead() - readBefore
  const log = await store.openLog(TOPIC, 0)
  const { clean, truncatedBytes } = log.recovery
  if (clean || truncatedBytes > 0 || log.logEndOffset !== facts.logEndOffset)
    throw new Error(`not what was killed: ${JSON.stringify({ ...log.recovery, facts })}`)
  const past = checkCrcs(join(directory, facts.file), facts.position)
  await store.close()
  return {
    value: past / 1e3 / milliseconds,
    extras: { ms: milliseconds, 'read / past': read / past },
    settings: 'Store.open, default settings',
    note
  }
}

export const question: Question = {
  name: 'recovery',
  asks: 'How fast is a store back after its process was killed?',
  about:
    'A process writes 100 MB of a log and closes it, opens it again, writes 600 MB more and kills itself; measured is ' +
    'Store.open in a new process, which checks what lies behind the recovery point and makes its indexes anew. MB/s ' +
    'count the bytes behind the recovery point. The ceiling reads these bytes in pieces of 1 MiB and checks the CRC ' +
    'of each batch. `read / past` is what was read for each of these bytes. Limited by the CRC (6 GB/s), the copy out ' +
    'of the page cache and, with small batches, by some us for each of them; expect 2 GB/s.',
  rows,
  prepare,
  measure
}
