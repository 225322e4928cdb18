/** What the questions about appends have in common: a row's parameters, and one measurement. */
import type { Appender, Level } from '../engines/engine.ts'
import { loadEngine, RivalMissing } from '../engines/load.ts'
import { appendsOf, payloadBytes, recordPool } from './data.ts'
import { diskUsage } from './disk-usage.ts'
import { type Load, measureRun, type Run } from './producers.ts'
import type { Context, Measurement, Shape } from './question.ts'

export interface AppendParams {
  readonly shape: Shape
  /** Records of one append. */
  readonly size: number
  readonly inFlight: number
  /** At full scale: an engine appends so many records, or as many as it can in so many milliseconds. */
  readonly records: number
  readonly milliseconds: number
}

/** As a row keeps them. */
export function rowParams({ shape, ...load }: AppendParams): Readonly<Record<string, number>> {
  const { keyBytes, valueBytes, headers = 0 } = shape
  return { keyBytes, valueBytes, headers, ...load }
}

function paramsOf(params: Context['row']['params']): AppendParams {
  const number = (name: string): number => Number(params[name])
  return {
    shape: { keyBytes: number('keyBytes'), valueBytes: number('valueBytes'), headers: number('headers') },
    size: number('size'),
    inFlight: number('inFlight'),
    records: number('records'),
    milliseconds: number('milliseconds')
  }
}

/**
 * The run-up, alike for all: as many records as are measured, or so much time, before the clock starts. A store's code
 * is compiled by then, and a program that appends for an hour is what the figure speaks of; thirty lines of a bare
 * loop are compiled within the first tenth of it.
 */
const RUN_UP_MS = 400

export interface AppendMeasurement {
  readonly run: Run
  readonly measurement: Measurement
}

/**
 * Appends as the row says, after a run-up. What was appended is counted on the disk after closing.
 *
 * @throws {RivalMissing} when the contestant is not installed or does not append.
 */
export async function measureAppends(
  { contestant, directory, row, scale }: Pick<Context, 'contestant' | 'directory' | 'row' | 'scale'>,
  level: Level,
  drive: (appender: Appender, load: Load, deadline: number) => Promise<number>
): Promise<AppendMeasurement> {
  const { shape, size, inFlight, records, milliseconds } = paramsOf(row.params)
  const engine = await loadEngine(contestant)
  if (engine.appender === undefined) throw new RivalMissing(`${contestant} does not append`)
  const appends = appendsOf(recordPool(shape), size)
  const load = (milliseconds: number): Load => ({
    appends,
    inFlight,
    count: Math.ceil((records * scale.factor) / size),
    milliseconds: milliseconds * scale.factor
  })
  const appender = await engine.appender(directory, level)
  const runUp = await measureRun(load(RUN_UP_MS), (load, deadline) => drive(appender, load, deadline))
  const run = await measureRun(load(milliseconds), (load, deadline) => drive(appender, load, deadline))
  await appender.close()
  const rate = run.records / run.seconds
  return {
    run,
    measurement: {
      value: rate,
      extras: {
        'MB/s': (rate * payloadBytes(shape)) / 1e6,
        'cpu us/record': (run.cpuSeconds * 1e6) / run.records,
        'bytes/record': diskUsage(directory).bytes / (runUp.records + run.records)
      },
      settings: engine.settings(level)
    }
  }
}

/** About what a measurement writes, for warming. */
export function warmBytesOf({ shape, records }: AppendParams): number {
  return Math.ceil(2 * records * (payloadBytes(shape) + 12))
}
