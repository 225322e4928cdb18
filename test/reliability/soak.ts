/**
 * Everything at once, for as long as one likes: a writer that appends, cuts, retains and compacts, killed every 30
 * seconds, with every log held against what was acknowledged after each kill, and memory, descriptors and disk watched
 * for growth.
 *
 *     npm run soak -- --hours H | --minutes M [--dir DIR]
 *
 * DIR keeps the store, the state of this program and the lines of the writer: ended in any way and called again, it goes
 * on for what is left of its time. By default it is `heartwood-soak` in the folder for temporary files, and removed when
 * the time is over and all went well.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { MiB } from '../../lib/index.ts'
import { random } from '../helpers/random.ts'
import { SEED } from '../helpers/seed.ts'
import { type Figure, writeFigures } from './figures.ts'
import { Ledger, type SavedLedger } from './ledger.ts'
import { parseLine } from './lines.ts'
import { startWriter, WRITER_DEFAULTS } from './writer-process.ts'

const KILL_EVERY_MS = 30_000
const USAGE_EVERY_MS = 500
/** What memory may grow by within one life of a writer, from its first third to its last. */
const MOST_HEAP_GROWTH = 32 * MiB
/** The store's cache of open files holds 512 at most; the rest is the process's own. */
const MOST_FILES = 576
/** All logs together keep less than this: they have a few hundred small records each. */
const MOST_DISK = 8 * MiB

interface Usage {
  readonly heap: number
  readonly files: number
}

/** What is left of a life of this program to the next. */
interface State {
  readonly seed: number
  /** Of the whole time, ms. */
  readonly doneMs: number
  readonly kills: number
  readonly held: number
  readonly acked: number
  readonly worstHeapGrowth: number
  readonly worstFiles: number
  readonly worstDisk: number
  readonly ledger: SavedLedger
}

class Soak {
  readonly #dir: string
  readonly #wholeMs: number
  #state: State

  constructor(dir: string, wholeMs: number) {
    this.#dir = dir
    this.#wholeMs = wholeMs
    mkdirSync(dir, { recursive: true })
    const fresh = { seed: SEED, doneMs: 0, kills: 0, held: 0, acked: 0, worstHeapGrowth: 0, worstFiles: 0 }
    this.#state = existsSync(this.#file('state'))
      ? JSON.parse(readFileSync(this.#file('state'), 'utf8'))
      : { ...fresh, worstDisk: 0, ledger: new Ledger().save() }
  }

  #file(name: string): string {
    return join(this.#dir, name)
  }

  get state(): State {
    return this.#state
  }

  async run(): Promise<string[]> {
    // What the writer of an earlier life has told, and nobody has looked at.
    const isLeft = existsSync(this.#file('lines'))
    // It ends by itself, a moment after this program's earlier life; until then it may tell more.
    if (isLeft && existsSync(this.#file('writer'))) await gone(Number(readFileSync(this.#file('writer'), 'utf8')))
    const wrong = isLeft ? await this.#judge(0) : []
    while (wrong.length === 0 && this.#state.doneMs < this.#wholeMs) wrong.push(...(await this.#oneLife()))
    return wrong
  }

  /** From a start of the writer to its kill, and what is there then. */
  async #oneLife(): Promise<string[]> {
    const began = performance.now()
    const next = random(this.#state.seed * 7919 + this.#state.kills)
    const ledger = new Ledger(this.#state.ledger)
    const lifeMs = Math.min(KILL_EVERY_MS, this.#wholeMs - this.#state.doneMs) - next(1000)
    const options = {
      ...WRITER_DEFAULTS,
      dir: this.#file('data'),
      seed: next(2 ** 31),
      firstNumber: ledger.firstNumber,
      resume: ledger.resume(),
      cleanerThread: this.#state.kills % 2 === 0,
      rounds: this.#state.kills % 4 === 3 ? 0 : 200,
      pauseMs: 2,
      usageEveryMs: USAGE_EVERY_MS
    }
    // A file outlives this process, as a pipe would not: what was acknowledged last would be unknown.
    const lines = openSync(this.#file('lines'), 'w')
    const writer = startWriter(options, () => undefined, { output: lines, nodeArgs: ['--expose-gc'] })
    writeFileSync(this.#file('writer'), String(writer.child.pid))
    const over = await Promise.race([writer.ended, sleep(Math.max(lifeMs, 1000), undefined)])
    writer.child.kill('SIGKILL')
    const { errors } = await writer.ended
    closeSync(lines)
    const wrong = await this.#judge(performance.now() - began)
    if (over !== undefined) wrong.unshift(`the writer ended by itself: ${errors}`)
    return wrong
  }

  /** Reads what was told, looks at the store, and writes down how far it is. */
  async #judge(tookMs: number): Promise<string[]> {
    const ledger = new Ledger(this.#state.ledger)
    const usages: Usage[] = []
    for (const text of readFileSync(this.#file('lines'), 'utf8').split('\n')) {
      const line = parseLine(text)
      if (line === undefined) continue
      if ('usage' in line) usages.push(line.usage)
      else ledger.tell(line)
    }
    const data = this.#file('data')
    if (ledger.counts['opened'] === 0 && this.#state.kills === 0) return []
    await ledger.look(data, 'kill')
    await ledger.recover(data, 'kill')
    const disk = diskUse(data)
    const heap = heapGrowth(usages)
    const files = Math.max(0, ...usages.map(each => each.files))
    const wrong = [...ledger.wrong]
    if (heap > MOST_HEAP_GROWTH) wrong.push(`the heap of one writer grew by ${heap} bytes`)
    if (files > MOST_FILES) wrong.push(`one writer came to have ${files} files open`)
    if (disk > MOST_DISK) wrong.push(`the store takes ${disk} bytes`)
    const { doneMs, kills, held, acked, worstHeapGrowth, worstFiles, worstDisk } = this.#state
    this.#state = {
      ...this.#state,
      doneMs: doneMs + tookMs,
      kills: kills + 1,
      held: held + ledger.counts['held']!,
      acked: acked + ledger.counts['acked']!,
      worstHeapGrowth: Math.max(worstHeapGrowth, heap),
      worstFiles: Math.max(worstFiles, files),
      worstDisk: Math.max(worstDisk, disk),
      ledger: ledger.save()
    }
    if (wrong.length > 0) return wrong
    // Both at once, as far as anybody can see who comes after this process.
    writeFileSync(this.#file('state.new'), JSON.stringify(this.#state))
    renameSync(this.#file('state.new'), this.#file('state'))
    rmSync(this.#file('lines'))
    return []
  }
}

/** Resolves when there is no such process any more. */
async function gone(pid: number): Promise<void> {
  for (let tries = 0; tries < 6000; tries += 1) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await sleep(10)
  }
  throw new Error(`the writer of an earlier life, process ${pid}, does not end`)
}

/** From the median of the first third to the median of the last, bytes; 0 for a life that was too short to tell. */
function heapGrowth(usages: readonly Usage[]): number {
  const third = Math.floor(usages.length / 3)
  if (third < 5) return 0
  const median = (part: readonly Usage[]): number =>
    part.map(({ heap }) => heap).sort((a, b) => a - b)[Math.floor(part.length / 2)]!
  return Math.max(0, median(usages.slice(-third)) - median(usages.slice(0, third)))
}

/** Room in use, bytes. */
function diskUse(folder: string): number {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.reduce((sum, name) => sum + 512 * statSync(join(folder, name)).blocks, 0)
}

function figuresOf(state: State): Figure[] {
  const of = (name: string, found: number, unit: string, meaning: string): Figure => ({
    name,
    goal: null,
    found,
    unit,
    meaning
  })
  return [
    {
      ...of('soak', Math.round(state.doneMs / 1000), 's', 'Everything at once, with a kill every 30 seconds.'),
      goal: 120
    },
    of('kills during the soak', state.kills, '', 'After each, every log was held against what had been acknowledged.'),
    of('acknowledgements during the soak', state.acked, '', 'Told by the writer, over all its lives.'),
    of(
      'growth of the heap',
      Math.round(state.worstHeapGrowth / 1024),
      'KiB',
      'The most in one life of the writer, from its first third to its last; 32 MiB are allowed.'
    ),
    of(
      'most open files',
      state.worstFiles,
      '',
      'Of one writer at one time; 576 are allowed, of which the cache of open files holds 512.'
    ),
    of(
      'largest store',
      Math.round(state.worstDisk / 1024),
      'KiB',
      'After a kill and a recovery; retention and compaction have to keep it below 8 MiB.'
    )
  ]
}

async function main(): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { hours: text, minutes: text, dir: text } })
  const wholeMs = Number(values.hours ?? 0) * 3_600_000 + Number(values.minutes ?? 0) * 60_000
  if (!(wholeMs > 0)) throw new Error('say for how long: --hours H or --minutes M')
  const dir = resolve(values.dir ?? join(tmpdir(), 'heartwood-soak'))
  const soak = new Soak(dir, wholeMs)
  console.log(`soak in ${dir}: ${Math.round(soak.state.doneMs / 1000)} of ${wholeMs / 1000} s are done`)
  const wrong = await soak.run()
  const { ledger: _, ...shown } = soak.state
  console.log(JSON.stringify(shown))
  const seconds = Math.round(soak.state.doneMs / 1000)
  writeFigures({ lane: 'soak', seconds, seed: soak.state.seed, figures: figuresOf(soak.state), defects: wrong.length })
  if (wrong.length === 0) rmSync(dir, { recursive: true })
  else console.error(`${wrong.join('\n')}\nthe store and what its writer told are in ${dir}`)
  return wrong.length === 0 ? 0 : 1
}

process.exitCode = await main()
