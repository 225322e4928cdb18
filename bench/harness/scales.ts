import type { Scale } from './question.ts'

export const SCALES: Readonly<Record<Scale['name'], Scale>> = {
  quick: { name: 'quick', factor: 0.1 },
  full: { name: 'full', factor: 1 }
}
