/** Most of what the lanes try is the same in every run; a fifth is new each time. Failures name the seed. */
import { SEED } from '../helpers/seed.ts'

const NEW_SEED = Number(process.env['HEARTWOOD_NEW_SEED'] ?? Math.floor(Math.random() * 1_000_000))

/** @param number - of the store. To see one again, give its seed as HEARTWOOD_SEED and as HEARTWOOD_NEW_SEED. */
export function seedOf(number: number): number {
  return number % 5 === 4 ? NEW_SEED : SEED
}
