/**
 * What does compression cost, and what does it save?
 *
 * Log lines of 200 B are appended in batches of 100 and of 1,000 with each codec and with none, not synced, and read
 * back as eager objects. The figure is the rate of what the records hold, before compression; `ratio` is that against
 * the bytes of all files; `cpu s/GB` is processor time of all threads. The text is made here from a seed: real times,
 * ids and paths, so that it compresses like a log and not like zeros.
 *
 * What limits it: the codec. gzip is zlib of Node, lz4 native, snappy our own JavaScript, zstd that of Node from 22.15
 * on and WebAssembly before. Expect 60 to 100 MB/s in with gzip, 100 (WebAssembly) to 350 with zstd, 300 with snappy, 500 with
 * lz4, and two to ten times that out.
 */
import { openBenchLog } from './engines/heartwood.ts'
import { loadEngine } from './engines/load.ts'
import { appendsOf, payloadBytes, recordPool } from './harness/data.ts'
import { diskUsage } from './harness/disk-usage.ts'
import { fillPageCache } from './harness/file-cache.ts'
import { measureRun, produce } from './harness/producers.ts'
import type { Context, Measurement, Question, Row, Shape } from './harness/question.ts'

/** The contestants here: heartwood with each. */
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
type Codec = (typeof CODECS)[number]

const LINE: Shape = { keyBytes: 10, valueBytes: 190 }
const SIZES = [100, 1000]
const IN_FLIGHT = 4
const MEASURED_MS = 400
/** No goal hangs on these figures. */
const ROUNDS = 3
const RECORDS = { in: 1e6, out: 2e5 }

function row(direction: 'in' | 'out', size: number): Row {
  const what = direction === 'in' ? 'appended' : 'read'
  return {
    id: `${direction}-x${size}`,
    title: `log lines of 200 B in batches of ${size.toLocaleString('en')}, ${what}`,
    unit: 'MB/s',
    better: 'more',
    contestants: CODECS,
    warmBytes: direction === 'in' ? RECORDS.in * payloadBytes(LINE) : 0,
    params: { direction, size, rounds: ROUNDS }
  }
}

/** Appends with a codec until the count or the time is reached, after as much of a run-up, in which the code is compiled. */
async function append(directory: string, codec: Codec, size: number, count: number, milliseconds: number) {
  const { store, log } = await openBenchLog(directory, { durability: 'none' })
  const appends = appendsOf(recordPool(LINE), size)
  const appender = {
    append: (records: (typeof appends)[number]) =>
      log.append(records, { compression: codec, ownBatch: true }) as Promise<unknown> as Promise<void>,
    close: () => store.close()
  }
  const load = { appends, inFlight: IN_FLIGHT, count: Math.ceil(count / size), milliseconds }
  const runUp = await measureRun(load, (load, deadline) => produce(appender, load, deadline))
  const run = await measureRun(load, (load, deadline) => produce(appender, load, deadline))
  await store.close()
  const payload = (runUp.records + run.records) * payloadBytes(LINE)
  return { run, ratio: payload / diskUsage(directory).bytes }
}

async function prepare({ contestant, kept, row, scale }: Context): Promise<void> {
  if (row.params['direction'] !== 'out') return
  const { size } = row.params
  await append(kept, contestant as Codec, Number(size), RECORDS.out * scale.factor, Number.POSITIVE_INFINITY)
}

async function measureIn({ contestant, directory, row, scale }: Context): Promise<Measurement> {
  const { factor } = scale
  const size = Number(row.params['size'])
  const { run, ratio } = await append(directory, contestant as Codec, size, RECORDS.in * factor, MEASURED_MS * factor)
  const megabytes = (run.records * payloadBytes(LINE)) / 1e6
  return { value: megabytes / run.seconds, extras: { ratio, 'cpu s/GB': (run.cpuSeconds / megabytes) * 1000 } }
}

async function measureOut({ kept, scale }: Context): Promise<Measurement> {
  fillPageCache(kept)
  const scanner = await (await loadEngine('heartwood')).scanner!(kept, 'eager')
  // The first one compiles the code.
  const { bytes } = await scanner!.scan()
  const cpu = process.cpuUsage()
  const began = performance.now()
  let scans = 0
  do {
    await scanner!.scan()
    scans += 1
  } while (performance.now() - began < MEASURED_MS * scale.factor)
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpu)
  await scanner!.close()
  const megabytes = (scans * bytes) / 1e6
  return {
    value: megabytes / seconds,
    extras: { ratio: bytes / diskUsage(kept).bytes, 'cpu s/GB': (user + system) / 1e3 / megabytes }
  }
}

export const question: Question = {
  name: 'codecs',
  asks: 'What does compression cost, and what does it save?',
  about:
    'Log lines of 200 B are appended to heartwood in batches of 100 and 1,000 with each codec and with none, not synced, ' +
    'and read back as eager objects. MB/s count what the records hold; ratio is that against the bytes of all files; ' +
    'cpu is that of all threads. What limits it: the codec. Expect 60 to 100 MB/s in with gzip, 100 to 350 with zstd ' +
    '(WebAssembly on Node before 22.15), 300 with snappy, 500 with lz4, and two to ten times that out.',
  rows: () => (['in', 'out'] as const).flatMap(direction => SIZES.map(size => row(direction, size))),
  prepare,
  measure: context => (context.row.params['direction'] === 'in' ? measureIn(context) : measureOut(context))
}
