/** How are results written? One row of two contestants, one of which fails. */
import type { Question } from '../../../bench/harness/question.ts'

export const question: Question = {
  name: 'small',
  asks: 'How are results written?',
  about: 'Reads and writes nothing; its figures are made up.',
  rows: () => [
    {
      id: 'only',
      title: 'one answers, one does not',
      unit: 'us',
      better: 'less',
      contestants: ['heartwood', 'throws'],
      warmBytes: 0,
      params: {}
    }
  ],
  async measure({ contestant }) {
    if (contestant === 'throws') throw new Error('no such luck')
    return { value: 7 }
  }
}
