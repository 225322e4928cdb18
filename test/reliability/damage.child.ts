/**
 * Damages small data directories in every place, and reads them.
 *
 *     node dist/test/reliability/damage.child.js SEED PART PARTS STEP      every STEP-th place, of which each PARTS-th
 *     node dist/test/reliability/damage.child.js SEED NAME '{"kind":…}'    one damage again
 *
 * Prints outcomes by kind of file and of damage, as JSON; what was wrong goes to stderr.
 */
import { extname } from 'node:path'
import { type Damage, DamageRun, type Outcome } from './damage-run.ts'
import { hasOwn, type Subject, subjects } from './damage-subjects.ts'

const [seed, second = '0', third = '1', step = '1'] = process.argv.slice(2)
/** Enough to see what it is about. */
const MAX_SHOWN = 20
/** Files longer than this, which are the broker's, are not cut at every length, */
const MAX_CUTS = 2000
/** but at each of these: no field of a batch is so long that it would be missed every time. */
const CUT_STEP = 7

function* damages(subject: Subject): Generator<Damage> {
  let state = Number(seed)
  for (const [path, bytes] of subject.image) {
    if (!hasOwn(subject, path)) continue
    yield { kind: 'remove', path }
    const cutStep = bytes.length > MAX_CUTS ? CUT_STEP : 1
    for (let at = 0; at < bytes.length; at += 1) {
      if (at % cutStep === 0) yield { kind: 'cut', path, at }
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      yield { kind: 'flip', path, at, bit: (state >>> 16) % 8 }
    }
  }
}

/** `.log`, `leader-epoch-checkpoint` */
const fileKind = (path: string): string => extname(path) || (path.split('/').at(-1) as string)

const counts: Record<string, Partial<Record<Outcome, number>>> = {}
let wrong = 0
const made = await subjects()
if (third.startsWith('{')) {
  const subject = made.find(({ name }) => name === second)
  if (subject === undefined) throw new Error(`there are: ${made.map(({ name }) => name).join('; ')}`)
  console.log(await (await DamageRun.prepare(subject)).try(JSON.parse(third) as Damage))
} else {
  let number = 0
  for (const subject of made) {
    const run = await DamageRun.prepare(subject)
    for (const damage of damages(subject)) {
      number += 1
      if (number % (Number(step) * Number(third)) !== Number(second) * Number(step)) continue
      try {
        // What is written to is opened as what is read, and costs twice as much.
        const outcome = await run.try(damage, number % 3 === 0 ? [true, false] : [true])
        const kind = `${fileKind(damage.path)} ${damage.kind}`
        counts[kind] ??= {}
        counts[kind][outcome] = (counts[kind][outcome] ?? 0) + 1
      } catch (error) {
        wrong += 1
        if (wrong <= MAX_SHOWN) console.error(error instanceof Error ? `${error.message}` : error)
      }
    }
  }
  console.log(JSON.stringify({ wrong, counts }))
  if (wrong > 0) process.exitCode = 1
}
