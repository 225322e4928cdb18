/**
 * Real power cuts: a writer on a file system of its own, which is shut down while the writer goes on (the shutdown ioctl
 * drops what was not synced, the journal included), mounted again and held against what had been acknowledged.
 */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { random } from '../helpers/random.ts'
import { SEED } from '../helpers/seed.ts'
import { writeFigures } from './figures.ts'
import { Ledger } from './ledger.ts'
import type { Line } from './lines.ts'
import { Disk, type Kind, whyNoMounts } from './mounts.ts'
import { scratch } from './scratch.ts'
import { seedOf } from './seeds.ts'
import { startWriter, WRITER_DEFAULTS } from './writer-process.ts'

const CUTS = Number(process.env['HEARTWOOD_POWER_CUTS'] ?? 300)
/** Power cuts of one store. */
const CHAIN = 30
const WORKERS = 2
/** From the first acknowledgement to the cut, ms. */
const MOST_MS = 250

/** Every error is the cut's until the writer is ended, but for those that are no errors of a disk. */
const AFTER_THE_CUT = { keepGoing: true }

interface Found {
  readonly cuts: number
  readonly wrong: string[]
}

/** One store on one disk, cut off time after time. */
async function chain(
  disk: Disk,
  store: number,
  cuts: number,
  next: (limit: number) => number,
  counts: Counts
): Promise<Found> {
  const dir = join(disk.mountPoint, `store-${store}`)
  const ledger = new Ledger()
  for (let cut = 0; cut < cuts; cut += 1) {
    const ms = next(next(3) === 0 ? 10 : MOST_MS)
    await cutOff(disk, dir, ledger, { seed: next(2 ** 31), ms })
    disk.remount()
    await ledger.look(dir, 'power').catch(error => ledger.wrong.push(`read-only: ${error.stack}`))
    if (next(3) > 0) await ledger.recover(dir, 'power')
    else ledger.ended('power')
    ledger.keep(dir)
    const at = `seed ${seedOf(store)}, store ${store}, cut ${cut}, ${ms} ms`
    if (ledger.wrong.length > 0) return { cuts: cut + 1, wrong: ledger.wrong.map(each => `${at}: ${each}`) }
  }
  await ledger.recover(dir, 'power')
  ledger.keep(dir)
  for (const [key, count] of Object.entries(ledger.counts)) counts[key] = (counts[key] ?? 0) + count
  return { cuts, wrong: ledger.wrong.map(each => `seed ${seedOf(store)}, store ${store}, at the end: ${each}`) }
}

type Counts = Record<string, number>

async function cutOff(
  disk: Disk,
  dir: string,
  ledger: Ledger,
  { seed, ms }: { seed: number; ms: number }
): Promise<void> {
  let isCut = false
  let hasBegun: () => void = () => undefined
  const begun = new Promise<void>(resolve => {
    hasBegun = resolve
  })
  const options = {
    ...WRITER_DEFAULTS,
    ...AFTER_THE_CUT,
    dir,
    seed,
    firstNumber: ledger.firstNumber,
    resume: ledger.resume(),
    cleanerThread: seed % 4 === 0
  }
  const hear = (line: Line): void => {
    if ('acked' in line || 'wrong' in line) hasBegun()
    ledger.tell(isCut ? afterTheCut(line) : line)
  }
  const writer = startWriter(options, hear)
  await Promise.race([begun, writer.ended])
  await sleep(ms)
  isCut = true
  disk.cutPower()
  // It goes on for a moment, on a disk that answers with errors.
  await sleep(seed % 20)
  writer.child.kill('SIGKILL')
  await writer.ended
}

/**
 * What a writer says while its disk goes is no promise: a sync that is under way when ext4 is shut down may be answered
 * with success (jbd2 finds its transaction gone, and takes it for committed). That something was begun counts.
 */
function afterTheCut(line: Line): Line {
  if ('acked' in line) return { refused: line.acked, code: 'UNKNOWN' }
  const isBegun = 'sent' in line || 'cutting' in line || 'trimming' in line || 'wrong' in line
  return isBegun ? line : { failed: 'anything', code: 'UNKNOWN' }
}

export function powerCuts(kind: Kind): void {
  t.setTimeout(1_200_000)
  const skip = whyNoMounts(`mkfs.${kind}`, 'xfs_io')
  t.test(`power cuts on ${kind} take nothing that was acknowledged as synced`, { skip }, async t => {
    const folder = scratch(t)
    const began = performance.now()
    const counts: Counts = {}
    const chains = Array.from({ length: Math.ceil(CUTS / CHAIN) }, (_, i) => i)
    const wrong: string[] = []
    let cuts = 0
    const worker = async (_: unknown, number: number): Promise<void> => {
      const disk = new Disk(join(folder, `disk-${number}`), kind)
      disk.mount()
      for (let each = chains.shift(); each !== undefined; each = chains.shift()) {
        const next = random(seedOf(each) * 1000 + each)
        const found = await chain(disk, each, Math.min(CHAIN, CUTS - each * CHAIN), next, counts)
        cuts += found.cuts
        wrong.push(...found.wrong)
      }
      disk.unmount()
    }
    await Promise.all(Array.from({ length: WORKERS }, worker))
    t.comment(JSON.stringify({ cuts, ...counts }))
    t.same(wrong, [])
    t.equal(cuts, CUTS)
    t.ok(counts['held']! > cuts, 'there was something to lose')
    t.ok(counts['recovered']! > 0, 'and recoveries')
    tell(kind, { cuts, wrong, held: counts['held'] ?? 0, truncated: counts['truncated'] ?? 0, began })
  })
}

interface Told extends Found {
  readonly held: number
  readonly truncated: number
  /** `performance.now()`, ms. */
  readonly began: number
}

function tell(kind: Kind, { cuts, wrong, held, truncated, began }: Told): void {
  writeFigures({
    lane: `power-cuts-${kind}`,
    seconds: Math.round((performance.now() - began) / 1000),
    seed: SEED,
    figures: [
      {
        name: `power cuts, ${kind}`,
        goal: 300,
        found: cuts,
        unit: '',
        meaning: `The ${kind} file system under a writer that is at work is shut down at a random moment, without its journal being written, and mounted again.`
      },
      {
        name: `acknowledgements held against the logs after such a cut, ${kind}`,
        goal: null,
        found: held,
        unit: '',
        meaning:
          'Those of level synced have to be there; of weaker ones a suffix may be gone, within the bound that the setting promises.'
      },
      {
        name: `torn ends cut off by recovery, ${kind}`,
        goal: null,
        found: truncated,
        unit: '',
        meaning: 'How often a power cut left the end of a log unsound, so that recovery had something to do.'
      }
    ],
    defects: wrong.length
  })
}
