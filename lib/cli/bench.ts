/** `heartwood bench`: what a disk can do, what this engine does on it, and two such runs beside each other. */
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { REPORT_KIND } from '../disk-bench/report.ts'
import { PHASES, runDiskBench } from '../disk-bench/run.ts'
import { compareReports, readReport } from '../disk-bench/saved.ts'
import { otherScratchFolders } from '../disk-bench/scratch.ts'
import { nodeFileSystem as fs } from '../fs/node-file-system.ts'
import { replaceFile } from '../fs/replace-file.ts'
import { toLogError } from '../fs/system-errors.ts'
import { LogError } from '../util/errors.ts'
import { GiB, MiB } from '../util/sizes.ts'
import { printComparison } from './bench-comparison.ts'
import { printReport } from './bench-report.ts'
import { type Context, UsageError } from './common.ts'
import { progressBar } from './progress.ts'

const USUAL_SIZE_BYTES = GiB
const QUICK_SIZE_BYTES = 128 * MiB

export interface BenchOptions {
  readonly dir: readonly string[]
  readonly size: number | undefined
  readonly quick: boolean
  readonly save: string | undefined
  readonly compare: readonly string[]
  readonly json: boolean
}

export async function bench(options: BenchOptions, context: Context): Promise<number> {
  const { dir, compare } = options
  if (compare.length > 0) {
    if (dir.length > 0 || options.size !== undefined || options.quick || options.save !== undefined)
      throw new UsageError('--compare shows two saved files and measures nothing: it goes with --json alone')
    if (compare.length !== 2) throw new UsageError(`--compare takes two files, not ${compare.length}`)
    return compareFiles(compare[0] as string, compare[1] as string, options.json, context)
  }
  if (dir.length !== 1) throw new UsageError('bench takes one --dir to measure, or --compare and two files')
  return measure(dir[0] as string, options, context)
}

async function measure(dir: string, options: BenchOptions, context: Context): Promise<number> {
  const { size, quick, save, json } = options
  if (save !== undefined) await checkTarget(save)
  const others = otherScratchFolders(dir)
  if (others.length > 0)
    context.say(
      `heartwood: ${others.join(', ')} in ${dir}: of a run that goes on, or left by one that was killed, and then safe to remove.`
    )
  const progress = progressBar(context, 'steps  {what}', PHASES)
  let phase = 0
  try {
    const report = await runDiskBench({
      dir,
      sizeBytes: size ?? (quick ? QUICK_SIZE_BYTES : USUAL_SIZE_BYTES),
      quick,
      version: packageVersion(),
      signal: context.terminal.interrupted,
      onPhase: name => progress.update(phase++, name)
    })
    progress.stop()
    if (json) await context.out.json(report)
    else await printReport(report, context)
    await context.out.flush()
    if (save !== undefined) {
      await replaceFile(fs, save, Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`), {
        permissions: 0o644
      }).catch((error: unknown) => {
        throw toLogError(error, 'save', save)
      })
      context.say(`Saved to ${save}.`)
    }
    return 0
  } finally {
    progress.stop()
  }
}

/** Found out before a minute is spent, not after. */
async function checkTarget(path: string): Promise<void> {
  const found = await fs.stat(path).catch((error: unknown) => {
    throw toLogError(error, 'save', path)
  })
  if (found !== undefined && found.kind !== 'file')
    throw new LogError('INVALID_REQUEST', `--save ${path} is a ${found.kind}, not a file`, { path })
  const folder = dirname(resolve(path))
  const parent = await fs.stat(await fs.realPath(folder).catch(() => folder))
  if (parent?.kind !== 'directory')
    throw new LogError('INVALID_REQUEST', `there is no directory ${folder} to save to`, { path })
}

async function compareFiles(first: string, second: string, json: boolean, context: Context): Promise<number> {
  const [one, other] = [await readReport(first), await readReport(second)]
  const figures = compareReports(one, other)
  if (json) {
    const { kind, version } = { kind: `${REPORT_KIND}-comparison`, version: one.version }
    await context.out.json({ kind, version, files: [first, second], figures })
  } else {
    await printComparison([first, second], [one, other], figures, context)
  }
  await context.out.flush()
  return 0
}

function packageVersion(): string {
  return (createRequire(import.meta.url)('heartwood/package.json') as { version: string }).version
}
