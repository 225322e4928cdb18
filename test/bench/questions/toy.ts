/**
 * How does the runner treat contestants that answer, fail, hang or are not installed?
 *
 * Nothing is measured: the figures are made up, so that the table is known beforehand.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Context, Question } from '../../../bench/harness/question.ts'

const FIGURES: Readonly<Record<string, number>> = { heartwood: 100, 'ceiling-toy': 125, steady: 50, slow: 10 }

class RivalMissing extends Error {
  override readonly name = 'RivalMissing'
}

export const question: Question = {
  name: 'toy',
  asks: 'Does the runner work?',
  about: 'Writes a file of a few bytes and makes its figures up.',
  rows: () => [
    {
      id: 'sound',
      title: 'everybody answers',
      unit: 'records/s',
      better: 'more',
      contestants: ['heartwood', 'ceiling-toy', 'steady', 'slow'],
      warmBytes: 1,
      goals: [
        { name: 'P1', against: 'ceiling-toy', limit: 0.8 },
        { name: 'P1', against: 'best rival', limit: 2.5 }
      ],
      params: {}
    },
    {
      id: 'troubled',
      title: 'some do not',
      unit: 'us',
      better: 'less',
      contestants: ['heartwood', 'throws', 'dies', 'hangs', 'absent', 'garbles', 'late'],
      warmBytes: 0,
      params: {}
    },
    { id: 'broken', title: 'we fail', unit: 'us', better: 'less', contestants: ['heartwood-broken'], params: {} }
  ],
  async prepare({ kept, contestant }) {
    writeFileSync(join(kept, 'prepared'), contestant)
  },
  async measure(context) {
    const { directory, kept, contestant, round } = context
    if (readdirSync(directory).length !== 0) throw new Error('the folder is not empty')
    if (readFileSync(join(kept, 'prepared'), 'utf8') !== contestant) throw new Error('prepared for another')
    writeFileSync(join(directory, 'left behind'), contestant)
    await misbehave(context)
    const value = (FIGURES[contestant] ?? 100) * round
    return { value, extras: { 'p99 us': round }, settings: `settings of ${contestant}`, note: 'made up' }
  }
}

async function misbehave({ contestant, round }: Context): Promise<void> {
  if (contestant === 'throws' || contestant === 'heartwood-broken') throw new Error('no such luck')
  if (contestant === 'dies') process.kill(process.pid, 'SIGKILL')
  if (contestant === 'hangs') await new Promise(resolve => setTimeout(resolve, 3_600_000))
  if (contestant === 'absent') throw new RivalMissing('absent is not installed (npm ci --prefix bench)')
  if (contestant === 'garbles') process.exit(0)
  if (contestant === 'late' && round > 1) throw new Error('tired')
}
