/** Every decoder on sound bytes, on bytes that were a defect once, and on damaged ones: it decodes, or refuses with a type. */
import fc from 'fast-check'
import t from 'tap'
import { SEED } from '../helpers/seed.ts'
import { randomFrom } from '../record/compression/samples.ts'
import { verdictOf } from './bounds.ts'
import { keptInputs } from './corpus.ts'
import { damaged } from './damage.ts'
import type { Target } from './target.ts'
import { TARGETS } from './targets.ts'

t.setTimeout(300_000)

/** Processor time for the damaged ones, ms, and how many there are at least and at most. */
const ENOUGH_MS = 300
const [FEWEST, MOST] = [100, 2000]

async function tryDamage(target: Target, inputs: readonly Buffer[]): Promise<number> {
  const random = randomFrom(SEED)
  const pick = (): Buffer => inputs[random(inputs.length)]!
  const begun = process.cpuUsage()
  const usedMs = (): number => {
    const { user, system } = process.cpuUsage(begun)
    return (user + system) / 1000
  }
  let count = 0
  for (; count < FEWEST || (count < MOST && usedMs() < ENOUGH_MS); count += 1) {
    const input = damaged(target, pick(), pick(), random)
    try {
      await verdictOf(target, input)
    } catch (error) {
      throw new Error(`damage ${count} of seed ${SEED}, ${input.toString('base64')}`, { cause: error })
    }
  }
  return count
}

for (const target of TARGETS) {
  const { name, sound, samples } = target

  t.test(`${name}: what is sound is decoded, what is damaged is decoded or refused (seed ${SEED})`, async t => {
    const own = fc.sample(sound, { numRuns: 30, seed: SEED })
    for (const input of own) t.equal(await verdictOf(target, input), undefined, input.toString('base64'))
    for (const input of samples?.() ?? []) await verdictOf(target, input)
    const corpus = keptInputs(name, 'corpus')
    for (const input of corpus) await verdictOf(target, input)
    t.ok(corpus.length > 0, `${corpus.length} kept inputs`)
    t.comment(`${await tryDamage(target, [...own, ...corpus])} damaged`)
  })

  t.test(`${name}: what was a defect once is none now`, async t => {
    const found = keptInputs(name, 'found')
    for (const input of found) await verdictOf(target, input)
    t.pass(`${found.length} inputs`)
  })
}
