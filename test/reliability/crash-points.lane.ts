/**
 * A real process that ends at its n-th call that changes a file, for every n: in front of the call, or in the middle of
 * a write. Each store is ended at many calls, one process after the other, so that recoveries are ended as well.
 *
 * To see one of them again: its seed as HEARTWOOD_SEED and HEARTWOOD_NEW_SEED, and HEARTWOOD_CRASH_POINTS=FIRST-LAST,
 * as a failure names them.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { random } from '../helpers/random.ts'
import { SEED } from '../helpers/seed.ts'
import { writeFigures } from './figures.ts'
import { Ledger } from './ledger.ts'
import { scratch } from './scratch.ts'
import { seedOf } from './seeds.ts'
import { compileShim, shimEnvironment } from './shim.ts'
import { startWriter, WRITER_DEFAULTS } from './writer-process.ts'

t.setTimeout(1_200_000)

const [FIRST = 0, LAST = 999] = (process.env['HEARTWOOD_CRASH_POINTS'] ?? '0-999').split('-').map(Number)
/** Points of one store. */
const CHAIN = 25
const WORKERS = 2

const folder = scratch(t)
const shim = compileShim(folder)
const counts: Record<string, number> = {}
const begun = performance.now()

/**
 * The call of a point. Stores take their calls far from each other, so that each is ended early and late in its life.
 */
const callOf = (point: number): number => 1 + ((point % CHAIN) * (1000 / CHAIN) + Math.floor(point / CHAIN)) / 2

async function chain(first: number, shim: string): Promise<{ points: number; wrong: string[] }> {
  const dir = join(folder, `store-${first}`, 'data')
  mkdirSync(join(dir, '..'))
  const seed = seedOf(first / CHAIN)
  const next = random(seed * 10_000 + first)
  const ledger = new Ledger()
  let points = 0
  for (let point = first; point < Math.min(first + CHAIN, LAST + 1); point += 1) {
    const call = callOf(point)
    const options = {
      ...WRITER_DEFAULTS,
      dir,
      seed: next(2 ** 31),
      firstNumber: ledger.firstNumber,
      resume: ledger.resume()
    }
    const env = shimEnvironment(shim, dir, Math.ceil(call), Number.isInteger(call))
    const { code, signal, errors } = await startWriter(options, line => ledger.tell(line), { env }).ended
    if (signal === 'SIGKILL') points += 1
    else ledger.wrong.push(`the writer ended with ${code ?? signal}: ${errors}`)
    await ledger.look(dir, 'kill').catch(error => ledger.wrong.push(`read-only: ${error.stack}`))
    // Else the next writer recovers, and may be ended in it.
    if (next(2) === 0) await ledger.recover(dir, 'kill')
    else ledger.ended('kill')
    const at = `points ${first}-${point} (seed ${seed}, call ${call})`
    ledger.keep(dir)
    if (ledger.wrong.length > 0) return { points, wrong: ledger.wrong.map(each => `${at}: ${each}`) }
  }
  await ledger.recover(dir, 'kill')
  ledger.keep(dir)
  for (const [name, count] of Object.entries(ledger.counts)) counts[name] = (counts[name] ?? 0) + count
  return {
    points,
    wrong: ledger.wrong.map(each => `after points ${first}-${first + CHAIN - 1} (seed ${seed}): ${each}`)
  }
}

const skip = 'reason' in shim && shim.reason

t.test('a process that ends at any call takes nothing with it that it had acknowledged', { skip }, async t => {
  const library = 'path' in shim ? shim.path : ''
  const firsts = Array.from({ length: Math.ceil((LAST + 1 - FIRST) / CHAIN) }, (_, i) => FIRST + i * CHAIN)
  let points = 0
  const wrong: string[] = []
  const worker = async (): Promise<void> => {
    for (let first = firsts.shift(); first !== undefined; first = firsts.shift()) {
      const found = await chain(first, library)
      points += found.points
      wrong.push(...found.wrong)
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, worker))
  t.comment(JSON.stringify({ points, ...counts }))
  t.same(wrong, [])
  t.equal(points, LAST + 1 - FIRST, 'every one of the processes came to its call')
  // The first ends of a store come before it has any record.
  if (points > CHAIN) t.ok(counts['held']! > points, 'there was something to lose')
  writeFigures({
    lane: 'crash-points',
    seconds: Math.round((performance.now() - begun) / 1000),
    seed: SEED,
    figures: [
      {
        name: 'real processes ended at a call',
        goal: 1000,
        found: points,
        unit: '',
        meaning:
          'A writer process ends (SIGKILL) at its n-th call that changes a file, for every n up to 500, in front of the call and in the middle of it; what it had acknowledged is held against what is there.'
      },
      {
        name: 'acknowledgements held against the logs after such an end',
        goal: null,
        found: counts['held']!,
        unit: '',
        meaning: 'Each was looked for by its offset and content after the recovery.'
      }
    ],
    defects: wrong.length
  })
})
