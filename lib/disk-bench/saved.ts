/** Reports that were kept with `--save`: reading one, and setting two beside each other. */
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { readWholeFile } from '../fs/replace-file.ts'
import { toLogError } from '../fs/system-errors.ts'
import { isLogError, LogError } from '../util/errors.ts'
import { MiB } from '../util/sizes.ts'
import { type BenchReport, type CacheState, REPORT_KIND, REPORT_VERSION, ROW_IDS, type Row } from './report.ts'

/** A report has some ten kilobytes. */
const MAX_BYTES = MiB

/**
 * Reads a report.
 *
 * @throws {LogError} INVALID_REQUEST when there is no such file or it is another kind of file; UNSUPPORTED_VERSION when
 *   a heartwood of another time wrote it.
 */
export async function readReport(path: string): Promise<BenchReport> {
  let bytes: Buffer | undefined
  try {
    bytes = await readWholeFile(nodeFileSystem, path, MAX_BYTES)
  } catch (error) {
    if (isLogError(error, 'CORRUPT_FILE')) throw otherFile(path)
    throw toLogError(error, 'read', path)
  }
  if (bytes === undefined) throw new LogError('INVALID_REQUEST', `there is no file ${path}`, { path })
  let found: unknown
  try {
    found = JSON.parse(bytes.toString())
  } catch {
    throw otherFile(path)
  }
  if (!isObject(found) || found['kind'] !== REPORT_KIND) throw otherFile(path)
  if (found['version'] !== REPORT_VERSION) {
    const message = `${path} is a report of version ${JSON.stringify(found['version'])}, and this heartwood reads version ${REPORT_VERSION}: measure again, or compare with the heartwood that wrote it`
    throw new LogError('UNSUPPORTED_VERSION', message, { path })
  }
  if (!isWhole(found)) {
    throw new LogError('INVALID_REQUEST', `${path} lacks fields that "heartwood bench --save" writes: measure again`, {
      path
    })
  }
  return found as unknown as BenchReport
}

function otherFile(path: string): LogError {
  return new LogError('INVALID_REQUEST', `${path} is not a file that "heartwood bench --save" wrote`, { path })
}

/** What comparing and showing it rely on; the rest may be missing. */
function isWhole(report: Record<string, unknown>): boolean {
  const { machine, device, rows, sync, durability } = report
  const isVerdict = (value: unknown, field: string): boolean => isObject(value) && typeof value[field] === 'string'
  return (
    ['date', 'dir'].every(field => typeof report[field] === 'string') &&
    isFigure(report['sizeBytes']) &&
    isObject(machine) &&
    ['cpu', 'kernel', 'node'].every(field => typeof machine[field] === 'string') &&
    isFigure(machine['cpus']) &&
    isFigure(machine['memoryBytes']) &&
    isObject(device) &&
    typeof device['fileSystem'] === 'string' &&
    isListOf(device['mountOptions'] ?? [], option => typeof option === 'string') &&
    (device['device'] === undefined || isDevice(device['device'])) &&
    isVerdict(sync, 'verdict') &&
    isVerdict(durability, 'level') &&
    isListOf(rows, isRow)
  )
}

function isDevice(device: unknown): boolean {
  return isObject(device) && typeof device['name'] === 'string' && isListOf(device['parts'], isDevice)
}

function isListOf(list: unknown, isOne: (value: unknown) => boolean): boolean {
  return Array.isArray(list) && list.every(isOne)
}

function isRow(row: unknown): boolean {
  if (!isObject(row)) return false
  const { latency } = row
  return (
    ['id', 'name', 'counts'].every(field => typeof row[field] === 'string') &&
    ['bytesPerSecond', 'perSecond'].every(field => isFigure(row[field])) &&
    (latency === undefined || (isObject(latency) && isFigure(latency['p50Us']) && isFigure(latency['p99Us'])))
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isFigure(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

export type FigureName = 'bytesPerSecond' | 'perSecond' | 'p50Us' | 'p99Us'

export interface ComparedFigure {
  readonly id: string
  readonly name: string
  readonly counts: Row['counts']
  readonly figure: FigureName
  /** `null`: not measured there. */
  readonly values: readonly [number | null, number | null]
  /** The second over the first; `null` where one is missing or the first is 0. */
  readonly ratio: number | null
  /** Which of the two does better: more per second, less time. */
  readonly better: 'first' | 'second' | 'equal' | null
  /** Of reads, where they differ: the two were not the same work. */
  readonly caches?: readonly [CacheState, CacheState]
}

/** Every figure of either report, in the order of ours; rows that we do not know come last. */
export function compareReports(first: BenchReport, second: BenchReport): ComparedFigure[] {
  const ids = new Set<string>([...ROW_IDS, ...first.rows.map(row => row.id), ...second.rows.map(row => row.id)])
  return [...ids].flatMap(id => {
    const pair = [first, second].map(report => report.rows.find(row => row.id === id)) as [Row?, Row?]
    const shown = pair[0] ?? pair[1]
    if (shown === undefined) return []
    return figuresOf(shown).map(figure => compared(shown, pair, figure))
  })
}

function figuresOf({ latency, counts }: Row): FigureName[] {
  if (latency !== undefined) return ['perSecond', 'p50Us', 'p99Us']
  return counts === 'records' ? ['perSecond'] : ['bytesPerSecond']
}

function compared({ id, name, counts }: Row, [first, second]: [Row?, Row?], figure: FigureName): ComparedFigure {
  const [a, b] = [figureOf(first, figure), figureOf(second, figure)]
  const isLatency = figure === 'p50Us' || figure === 'p99Us'
  return {
    id,
    name,
    counts,
    figure,
    values: [a, b],
    ratio: a === null || b === null || a === 0 ? null : Number((b / a).toPrecision(4)),
    better: a === null || b === null ? null : a === b ? 'equal' : b > a !== isLatency ? 'second' : 'first',
    ...differentCaches(first?.cache, second?.cache)
  }
}

function differentCaches(
  first: CacheState | undefined,
  second: CacheState | undefined
): Pick<ComparedFigure, 'caches'> {
  return first === undefined || second === undefined || first === second ? {} : { caches: [first, second] }
}

function figureOf(row: Row | undefined, figure: FigureName): number | null {
  if (row === undefined) return null
  if (figure === 'bytesPerSecond' || figure === 'perSecond') return row[figure]
  return row.latency?.[figure] ?? null
}
