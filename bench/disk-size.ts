/**
 * How many bytes on the disk does a record take?
 *
 * Appends 1,000,000 records of 100 B (100,000 of 1 KiB) in batches of 100, closes, and sums up every file there is:
 * logs, indexes, checkpoints, whatever a store keeps. A third row appends records one by one, each acknowledged before
 * the next, where heartwood and the ceiling pay a batch's header for each. The main figure is that of the lengths of
 * files; `allocated` is what the file system gave them. Every record has 100 bytes of its own (key and value).
 *
 * What decides: lengths and deltas of a record (7 to 8 bytes), a batch's header (61 bytes), index entries (20 bytes for
 * every 4 KiB). Expect 109 for batches of 100; 120 to 160 elsewhere. Nothing here depends on the clock: one round.
 */
import { loadEngine, RIVALS, RivalMissing } from './engines/load.ts'
import { appendsOf, payloadBytes, recordPool } from './harness/data.ts'
import { diskUsage } from './harness/disk-usage.ts'
import type { Context, Goal, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }
const LARGE: Shape = { keyBytes: 16, valueBytes: 1008 }
const GOALS: readonly Goal[] = [
  { name: 'P9', limit: 111 },
  { name: 'P9', figure: 'allocated bytes/record', better: 'less', limit: 111 }
]

function row(
  id: string,
  title: string,
  shape: Shape,
  records: number,
  batch: number,
  goals: readonly Goal[] = []
): Row {
  return {
    id,
    title,
    unit: 'bytes/record',
    better: 'less',
    contestants: ['heartwood', 'ceiling', ...RIVALS],
    goals,
    warmBytes: records * payloadBytes(shape),
    params: { rounds: 1, keyBytes: shape.keyBytes, valueBytes: shape.valueBytes, records, batch }
  }
}

function rows(_scale: Scale): Row[] {
  return [
    row('100B-x100', '100 B records, 100 an append', SMALL, 1e6, 100, GOALS),
    row('1KiB-x100', '1 KiB records, 100 an append', LARGE, 1e5, 100),
    row('100B-x1', '100 B records, one an append, each acknowledged before the next', SMALL, 5e4, 1)
  ]
}

async function measure({ row, contestant, directory, scale }: Context): Promise<Measurement> {
  const engine = await loadEngine(contestant)
  if (engine.appender === undefined) throw new RivalMissing(`${contestant} does not append`)
  const { keyBytes, valueBytes, records, batch } = row.params
  const appends = appendsOf(recordPool({ keyBytes: Number(keyBytes), valueBytes: Number(valueBytes) }), Number(batch))
  const count = Math.ceil((Number(records) * scale.factor) / Number(batch))
  const appender = await engine.appender(directory, 'written')
  for (let i = 0; i < count; i += 1) await appender.append(appends[i % appends.length]!)
  const open = diskUsage(directory)
  await appender.close()
  const { bytes, allocatedBytes, files } = diskUsage(directory)
  const written = count * Number(batch)
  return {
    value: bytes / written,
    extras: {
      'allocated bytes/record': allocatedBytes / written,
      'allocated before closing': open.allocatedBytes / written,
      files
    },
    settings: engine.settings('written')
  }
}

export const question: Question = {
  name: 'disk-size',
  asks: 'How many bytes on the disk does a record take?',
  about:
    'Appends 1,000,000 records of 100 B (100,000 of 1 KiB) in batches of 100, closes, and sums up the lengths of all ' +
    'files, indexes and checkpoints included; a third row appends 50,000 records one by one. `allocated` is what the ' +
    'file system gave those files. A record of a batch takes 7 to 8 bytes beside key and value, a batch 61, an index ' +
    'entry 20 for every 4 KiB: expect 109 bytes for a record of 100 B. Nothing depends on the clock, so one round tells.',
  rows,
  measure
}
