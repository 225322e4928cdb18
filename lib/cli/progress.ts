/** A progress bar on standard error when that is a terminal, and nothing otherwise. */
import { createRequire } from 'node:module'
import type * as CliProgress from 'cli-progress'
import type { Context } from './common.ts'

export interface Progress {
  /** @param what - shown where the unit says `{what}`. */
  update(done: number, what?: string): void
  stop(): void
}

const NONE: Progress = { update: () => {}, stop: () => {} }

/** @param total - `undefined` where nobody knows how much is to come: then only a count is shown. */
export function progressBar(context: Context, unit: string, total: number | undefined): Progress {
  const { stderr } = context.terminal
  if ((stderr as NodeJS.WriteStream).isTTY !== true) return NONE
  // Loaded only where somebody looks.
  const { SingleBar } = createRequire(import.meta.url)('cli-progress') as typeof CliProgress
  const format =
    total === undefined
      ? `{value} ${unit}, {duration_formatted}`
      : `{bar} {percentage}% {value}/{total} ${unit}, {eta_formatted} left`
  const bar = new SingleBar({
    format,
    stream: stderr as NodeJS.WriteStream,
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 100
  })
  bar.start(total ?? Number.MAX_SAFE_INTEGER, 0, { what: '' })
  return { update: (done, what = '') => bar.update(done, { what }), stop: () => bar.stop() }
}
