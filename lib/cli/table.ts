/** Tables for people. */
import { createRequire } from 'node:module'
import type CliTable from 'cli-table3'
import type { Context } from './common.ts'

const NO_BORDER = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  '
}

export type Alignment = 'left' | 'right'

/** @param aligned - of the columns, from the first on; the others are aligned to the left. */
export async function printTable(
  context: Context,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligned: readonly Alignment[] = []
): Promise<void> {
  const Table = createRequire(import.meta.url)('cli-table3') as typeof CliTable
  const table = new Table({
    head: [...head],
    chars: NO_BORDER,
    colAligns: [...aligned],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  })
  for (const row of rows) table.push([...row])
  await context.out.write(`${table.toString()}\n`)
}
