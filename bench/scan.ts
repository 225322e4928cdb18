/**
 * How fast is a whole log read back?
 *
 * Reads a log of 500,000 records (100,000 of 1 KiB) from its beginning to its end, in a new process, with the files
 * in the page cache and every CRC checked. Three kinds: a cursor that shows offset, timestamp and where key and value
 * lie; lazy objects that are asked for both, as Buffers; eager objects with everything decoded. The main figure is that
 * of the scans after a run-up of 0.3 s, in which the code was compiled; `first records/s` is that of the first scan.
 *
 * What limits it: the CRC (about 6 GB/s), a copy out of the page cache (5 to 10 GB/s), about 50 ns a record for the
 * cursor and as much for each Buffer that is handed out. Expect 15 to 18 million records of 100 B a second from a
 * cursor, 5 to 6 million with two Buffers a record, and 1.3 million from the fastest of the others.
 *
 * The cold rows read from the disk, in one scan, the first: their ceiling is the disk, and below it the code that is
 * not yet compiled.
 */
import type { ScanKind } from './engines/engine.ts'
import { loadEngine, RIVALS, RivalMissing } from './engines/load.ts'
import { canDropPageCache, coldNote, dropPageCache, fillPageCache } from './harness/file-cache.ts'
import { fillLog } from './harness/fill.ts'
import type { Context, Goal, Measurement, Question, Row, Scale, Shape } from './harness/question.ts'

interface Log {
  readonly id: string
  readonly title: string
  readonly shape: Shape
  readonly records: number
  readonly batch: number
  /** Who else reads it, as eager objects: others have no cursor. */
  readonly rivals: readonly string[]
}

const KINDS: readonly ScanKind[] = ['cursor', 'lazy', 'eager']
const KIND_TITLES: Readonly<Record<ScanKind, string>> = {
  cursor: 'by a cursor',
  lazy: 'as lazy records, key and value read',
  eager: 'as eager objects'
}
/** Other stores keep records one by one, so the batch size that they were written with makes little difference. */
const FASTEST_RIVALS = ['lmdb', 'event-storage']
const FASTEST_RIVAL = ['lmdb']
const SMALL: Shape = { keyBytes: 10, valueBytes: 90 }

const LOGS: readonly Log[] = [
  { id: '100B-x100', title: '100 B records in batches of 100', shape: SMALL, records: 5e5, batch: 100, rivals: RIVALS },
  {
    id: '100B-x1000',
    title: '100 B records in batches of 1,000',
    shape: SMALL,
    records: 5e5,
    batch: 1000,
    rivals: FASTEST_RIVALS
  },
  {
    id: '1KiB-x100',
    title: '1 KiB records in batches of 100',
    shape: { keyBytes: 16, valueBytes: 1008 },
    records: 1e5,
    batch: 100,
    rivals: FASTEST_RIVAL
  },
  {
    id: 'headers-x100',
    title: '100 B records with 3 headers each in batches of 100',
    shape: { ...SMALL, headers: 3 },
    records: 5e5,
    batch: 100,
    rivals: []
  },
  {
    id: '20B-x100',
    title: '20 B records in batches of 100',
    shape: { keyBytes: 4, valueBytes: 16 },
    records: 5e5,
    batch: 100,
    rivals: FASTEST_RIVAL
  }
]

const hasGoals = ({ id }: Log): boolean => id.startsWith('100B')
/** The shapes on which no goal hangs: the two ends. */
const FEWER_KINDS: readonly ScanKind[] = ['cursor', 'eager']

/** Alike for all: scans that begin within it are not counted. */
const RUN_UP_MS = 300
/** Time of scans after which no further one is begun. */
const MEASURED_MS = 250
/** Who takes longer than this for the first scan is not asked for a second one: by then the code is compiled. */
const LONG_MS = 500
/** For rows on which no goal hangs. */
const FEWER_ROUNDS = 3

function rows({ factor }: Scale): Row[] {
  const warm = LOGS.flatMap(log => {
    const kinds = hasGoals(log) ? KINDS : FEWER_KINDS
    return kinds.map(kind => rowOf(log, kind, factor, false))
  })
  const cold = LOGS.filter(({ id }) => id === '100B-x1000').flatMap(log => [
    rowOf(log, 'cursor', factor, true),
    rowOf(log, 'eager', factor, true)
  ])
  return canDropPageCache() ? [...warm, ...cold] : warm
}

function rowOf(log: Log, kind: ScanKind, factor: number, cold: boolean): Row {
  const { id, title, shape, records, batch, rivals } = log
  const goals = hasGoals(log) && !cold ? goalsOf(kind) : []
  return {
    id: `${id}-${kind}${cold ? '-cold' : ''}`,
    title: `${title}, ${KIND_TITLES[kind]}${cold ? ', from the disk' : ''}`,
    unit: 'records/s',
    better: 'more',
    contestants: ['heartwood', 'ceiling', ...(kind === 'eager' && !cold ? rivals : [])],
    goals,
    // Nothing is created, and what the kernel's memory is worth was settled when the log was read into it.
    warmBytes: 0,
    params: {
      ...shape,
      records: Math.round(records * factor),
      batch,
      kind,
      cold,
      ...(goals.length > 0 ? {} : { rounds: FEWER_ROUNDS })
    }
  }
}

function goalsOf(kind: ScanKind): Goal[] {
  const ceiling = { name: 'P5', against: 'ceiling', limit: 0.8 }
  return kind === 'eager' ? [ceiling, { name: 'P5', against: 'best rival', limit: 3.5 }] : [ceiling]
}

async function measure({ row, contestant, kept }: Context): Promise<Measurement> {
  const records = Number(row.params['records'])
  const cold = row.params['cold'] === true
  if (cold) dropPageCache(kept)
  else fillPageCache(kept)
  const engine = await loadEngine(contestant)
  const scanner = await engine.scanner?.(kept, row.params['kind'] as ScanKind)
  if (scanner === undefined) throw new RivalMissing(`${contestant} has no such scan`)
  let bytes = 0
  const scan = async (): Promise<number> => {
    const from = performance.now()
    const seen = await scanner.scan()
    const milliseconds = performance.now() - from
    if (seen.records !== records) throw new Error(`${contestant} read ${seen.records} records of ${records}`)
    bytes = seen.bytes
    return milliseconds
  }
  const first = await scan()
  const later: number[] = []
  if (!cold && first <= LONG_MS) {
    for (let runUp = first; runUp < RUN_UP_MS; ) runUp += await scan()
    for (let measured = 0; measured < MEASURED_MS; measured += later.at(-1) ?? 0) later.push(await scan())
  }
  await scanner.close()
  const single = later.length === 0 ? 'one scan a round, the first' : undefined
  const note = cold ? coldNote(kept) : single
  const each = later.length === 0 ? first : later.reduce((sum, time) => sum + time, 0) / later.length
  return {
    value: (records / each) * 1000,
    extras: {
      'first records/s': (records / first) * 1000,
      'MB/s': bytes / each / 1000
    },
    settings: engine.settings('written'),
    ...(note === undefined ? {} : { note })
  }
}

export const question: Question = {
  name: 'scan',
  asks: 'How fast is a whole log read back?',
  about:
    'A log is read from its beginning to its end in a new process, every CRC checked. A cursor shows offset, timestamp ' +
    'and where key and value lie; lazy objects are asked for key and value; eager objects have everything decoded. ' +
    'The figure is that of the scans after a run-up of 0.3 s. What limits it: the CRC at about 6 GB/s, a copy out of the page ' +
    'cache, about 50 ns a record for the cursor and as much for each Buffer handed out. Expect 15 to 18 million ' +
    'records of 100 B a second from a cursor and 5 to 6 million with two Buffers a record.' +
    (canDropPageCache()
      ? ''
      : ' Cold rows are left out: only root may empty the page cache (/proc/sys/vm/drop_caches).'),
  rows,
  prepare: fillLog,
  measure
}
