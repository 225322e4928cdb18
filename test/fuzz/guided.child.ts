/**
 * Searches one decoder for defects, led by what of its code an input reaches.
 *
 *     node dist/test/fuzz/guided.child.js NAME SECONDS SEED [FOLDER]
 *
 * Begins with the kept corpus, sound inputs and those of other writers; damages one, runs it, and keeps what reaches
 * something new. Prints a `Report` as JSON. With FOLDER the corpus is written there, and the input of a defect
 * as `NAME.found`: copied to `test/fixtures/fuzz`, they are tested for ever.
 */
import fc from 'fast-check'
import { randomFrom } from '../record/compression/samples.ts'
import { verdictOf } from './bounds.ts'
import { keepInputs, keptInputs } from './corpus.ts'
import { Coverage } from './coverage.ts'
import { damaged } from './damage.ts'
import type { Random, Target } from './target.ts'
import { TARGETS } from './targets.ts'

/** Inputs between two looks at what was reached: a look costs as much as many runs. */
const GROUP = 24
/** Larger ones teach nothing more, and are slow. */
const MOST_KEPT_BYTES = 4096

export interface Report {
  readonly name: string
  readonly seconds: number
  readonly runs: number
  readonly corpus: number
  /** Ranges of code reached. */
  readonly reached: number
  /** How often it decoded (`sound`), and how often it refused, by code. */
  readonly verdicts: Readonly<Record<string, number>>
  /** Which input broke what, in base64. */
  readonly defects: readonly { readonly input: string; readonly error: string }[]
}

class Search {
  readonly #target: Target
  readonly #random: Random
  readonly #seed: number
  readonly #coverage: Coverage
  readonly #corpus: Buffer[] = []
  readonly #verdicts: Record<string, number> = {}
  readonly #defects = new Map<string, Buffer>()
  #runs = 0

  constructor(target: Target, seed: number) {
    this.#target = target
    this.#seed = seed
    this.#random = randomFrom(seed)
    this.#coverage = new Coverage(target.modules)
  }

  get defects(): readonly Buffer[] {
    return [...this.#defects.values()]
  }

  get corpus(): readonly Buffer[] {
    return this.#corpus.filter(input => input.length <= MOST_KEPT_BYTES)
  }

  async run(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds
    const { name, sound, samples } = this.#target
    for (const input of [...keptInputs(name, 'corpus'), ...(samples?.() ?? []), ...this.#soundInputs(sound, 40)]) {
      await this.#try(input)
      if (this.#coverage.takeNew() > 0 || this.#corpus.length === 0) this.#corpus.push(input)
    }
    for (let round = 1; performance.now() < end && this.#defects.size < 5; round += 1) {
      const fresh = round % 50 === 0 ? this.#soundInputs(sound, GROUP) : []
      const group = Array.from({ length: GROUP }, (_, i) => this.#next(fresh[i]))
      for (const input of group) await this.#try(input)
      if (this.#coverage.takeNew() > 0) await this.#keepNew(group)
    }
  }

  report(seconds: number): Report {
    const defects = [...this.#defects].map(([error, input]) => ({ error, input: input.toString('base64') }))
    return {
      name: this.#target.name,
      seconds,
      runs: this.#runs,
      corpus: this.#corpus.length,
      reached: this.#coverage.size,
      verdicts: this.#verdicts,
      defects
    }
  }

  /** Which of a group reached something new: counts differ between a group and one, so any that adds is kept. */
  async #keepNew(group: readonly Buffer[]): Promise<void> {
    let isKept = false
    for (const input of group) {
      await this.#try(input)
      if (this.#coverage.takeNew() === 0) continue
      this.#corpus.push(input)
      isKept = true
    }
    // Found by its sum only, or in what differs from run to run.
    if (!isKept && this.#corpus.length < 400) this.#corpus.push(group[this.#random(group.length)]!)
  }

  #next(fresh: Buffer | undefined): Buffer {
    const pick = (): Buffer => this.#corpus[this.#random(this.#corpus.length)]!
    return damaged(this.#target, fresh ?? pick(), pick(), this.#random)
  }

  #soundInputs(sound: fc.Arbitrary<Buffer>, count: number): Buffer[] {
    return fc.sample(sound, { numRuns: count, seed: this.#seed + this.#runs })
  }

  async #try(input: Buffer): Promise<void> {
    this.#runs += 1
    let verdict: string
    try {
      verdict = (await verdictOf(this.#target, input)) ?? 'sound'
    } catch (error) {
      verdict = 'defect'
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
      if (!this.#defects.has(what)) this.#defects.set(what, input)
    }
    this.#verdicts[verdict] = (this.#verdicts[verdict] ?? 0) + 1
  }
}

const [name, seconds, seed, folder] = process.argv.slice(2)
const target = TARGETS.find(each => each.name === name)
if (target === undefined)
  throw new Error(`no decoder is called ${name}; there are: ${TARGETS.map(each => each.name).join(', ')}`)
const search = new Search(target, Number(seed))
const begun = performance.now()
await search.run(Number(seconds) * 1000)
if (folder !== undefined) {
  keepInputs(target.name, 'corpus', search.corpus, folder)
  if (search.defects.length > 0) keepInputs(target.name, 'found', search.defects, folder)
}
process.stdout.write(`${JSON.stringify(search.report(Math.round(performance.now() - begun) / 1000))}\n`)
// An engine that was asked for a page of help may leave a handle.
process.exit(0)
