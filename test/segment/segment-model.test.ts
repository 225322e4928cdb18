import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { segmentFileName } from '../../lib/segment/file-names.ts'
import { type BatchFacts, Segment } from '../../lib/segment/segment.ts'
import { batchOf, content, factsOf, memoryEnv } from '../helpers/segments.ts'

/*
 * Random lives of one segment against the simplest model there is: a list of batches. After each step the segment must
 * hold just those, find each of them by offset and by time, and know the largest timestamp.
 */

const DIR = '/t-0'
const BASE = 1000
const path = (suffix: string): string => join(DIR, segmentFileName(BASE, suffix))

type Step =
  | { do: 'write'; batches: { gap: number; count: number; valueBytes: number; timestamp: number }[] }
  | { do: 'truncate'; part: number }
  | { do: 'flush' | 'seal' | 'reopen' | 'crash' | 'evict' | 'distrust' }

const batchArbitrary = fc.record({
  gap: fc.oneof({ arbitrary: fc.constant(0), weight: 4 }, fc.nat({ max: 50 })),
  count: fc.integer({ min: 1, max: 4 }),
  valueBytes: fc.nat({ max: 120 }),
  timestamp: fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.constant(-1))
})
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      batches: fc.array(batchArbitrary, { minLength: 1, maxLength: 6 })
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('truncate' as const), part: fc.double({ min: 0, max: 1.1, noNaN: true }) })
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('flush', 'seal', 'reopen', 'crash', 'evict', 'distrust')
    }) as fc.Arbitrary<Step>
  }
)

class Life {
  readonly made = memoryEnv({ indexIntervalBytes: 300 })
  segment!: Segment
  log = Buffer.alloc(0)

  get facts(): BatchFacts[] {
    return factsOf(this.log)
  }

  get nextOffset(): number {
    return (this.facts.at(-1)?.lastOffset ?? BASE - 1) + 1
  }

  async begin(): Promise<void> {
    await this.made.fs.makeDirectory(DIR)
    this.segment = await Segment.create(this.made.env, DIR, BASE)
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'write': {
        const bytes = this.#encode(step.batches)
        await this.segment.write(bytes, factsOf(bytes, this.log.length))
        this.log = Buffer.concat([this.log, bytes])
        break
      }
      case 'truncate': {
        const offset = BASE + Math.floor((this.nextOffset - BASE) * step.part)
        const cut = this.facts.find(fact => fact.lastOffset >= offset)?.position ?? this.log.length
        this.log = this.log.subarray(0, cut)
        t.equal(await this.segment.truncateTo(offset), cut)
        break
      }
      case 'flush':
        await this.segment.flushIndexes()
        break
      case 'seal':
        await this.segment.seal()
        break
      case 'reopen':
        await this.segment.close({ clean: true })
        await this.#open(true)
        break
      case 'crash':
        await this.segment.close({ clean: false })
        await this.#open(false)
        t.match(await this.segment.rebuildIndexes(), { end: 'end', validBytes: this.log.length })
        break
      case 'evict':
        for (let i = 0; i < 3; i += 1) this.made.env.indexCache.add(this.made.env.indexCache.maxBytes, () => undefined)
        break
      case 'distrust':
        await this.segment.distrustIndexes('no reason')
        break
    }
  }

  async #open(trustIndexes: boolean): Promise<void> {
    this.segment = await Segment.open(this.made.env, DIR, BASE, { readOnly: false, trustIndexes })
    this.segment.nextOffset = this.nextOffset
  }

  #encode(batches: { gap: number; count: number; valueBytes: number; timestamp: number }[]): Buffer {
    let baseOffset = this.nextOffset
    const made: Buffer[] = []
    for (const { gap, count, valueBytes, timestamp } of batches) {
      baseOffset += gap
      made.push(batchOf({ baseOffset, count, valueBytes, timestamp }))
      baseOffset += count
    }
    return Buffer.concat(made)
  }

  async check(): Promise<void> {
    const { segment, facts, log } = this
    const bytes = Buffer.alloc(log.length + 10)
    if ((await segment.read(bytes, 0)) !== log.length || !bytes.subarray(0, log.length).equals(log))
      throw new Error('bytes')
    const largest = Math.max(-1, ...facts.map(fact => fact.maxTimestamp))
    const known = (await segment.largestTimestamp()) ?? -1
    if (known !== largest) throw new Error(`largest timestamp ${known}, not ${largest}`)
    const holder = facts.find(fact => fact.maxTimestamp === largest)?.lastOffset
    if (largest >= 0 && (await segment.offsetOfLargestTimestamp()) !== holder) throw new Error('offset of the largest')
    for (const fact of facts) {
      for (const offset of [fact.baseOffset, fact.lastOffset]) {
        const { from, to } = await segment.locate(offset)
        if (from > fact.position || to < fact.position + fact.size) throw new Error(`${offset} not in ${from}..${to}`)
        if ((await segment.findBatch(offset))?.position !== fact.position) throw new Error(`${offset} not found`)
      }
      const before = await segment.offsetBeforeTimestamp(fact.maxTimestamp)
      const skipped = facts.filter(other => other.lastOffset < before && other.maxTimestamp >= fact.maxTimestamp)
      if (skipped.length > 0) throw new Error(`time ${fact.maxTimestamp} is skipped`)
    }
  }
}

t.test('whatever is done to a segment, it holds and finds its batches', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(stepArbitrary, { minLength: 1, maxLength: 25 }), async steps => {
      const life = new Life()
      await life.begin()
      for (const step of steps) {
        await life.take(step)
        await life.check()
      }
      // An offset index is a function of its log: however it came about, it is the one that a rebuild makes.
      await life.segment.close({ clean: true })
      const { fs, env } = life.made
      const index = await content(fs, path('.index'))
      const rebuilt = await Segment.open(env, DIR, BASE, { readOnly: false, trustIndexes: false })
      await rebuilt.rebuildIndexes()
      await rebuilt.close({ clean: true })
      if (!(await content(fs, path('.index'))).equals(index)) throw new Error('another index')
      if (!(await content(fs, path('.log'))).equals(life.log)) throw new Error('another log')
      if (env.handles.stats.leased > 0) throw new Error('a descriptor is still leased')
    }),
    { numRuns: 150 }
  )
  t.pass()
})
