/** What a lane measured, for the results page: one file of JSON a lane in $HEARTWOOD_RELIABILITY. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Figure {
  readonly name: string
  /** What one run of the lanes has to reach; null where there is nothing to reach. */
  readonly goal: number | null
  readonly found: number
  readonly unit: string
  /** One sentence: what the figure means. */
  readonly meaning: string
}

export interface LaneFigures {
  readonly lane: string
  readonly seconds: number
  readonly seed: number
  readonly figures: readonly Figure[]
  /** What was found wrong. */
  readonly defects: number
}

/** Does nothing unless the folder is named. */
export function writeFigures(figures: LaneFigures): void {
  const folder = process.env['HEARTWOOD_RELIABILITY']
  if (folder === undefined) return
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${figures.lane}.json`), `${JSON.stringify(figures, undefined, 2)}\n`)
}
