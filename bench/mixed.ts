/**
 * What do readers cost the one who appends?
 *
 * One caller appends 100 records of 100 B at a time, each append awaited, to a log that 0, 1, 10 or 100 followers read,
 * all in one process. Four of five follow its end; every fifth is slow: it begins with the oldest of 200,000 records
 * that are there before, rests for 200 ms after each page, and does not catch up. In the rows `full` the caller appends
 * again in the next turn of the event loop, and the figure is its rate; in `paced` it appends 100 times a second (10,000
 * records), and the figure is the latency that one append in a hundred exceeds.
 *
 * What limits it: all run on one thread, so what a follower decodes, nobody appends meanwhile. A follower decodes 3 to 5
 * million records a second as objects; a hundred that get 10,000 a second each, 1 million in all, take a quarter of the
 * thread. At full rate 100 followers cannot keep up, and the rate shows how the engine shares the thread among them.
 * `loop p99.9 us` is the event loop's delay, sampled every millisecond, which it contains.
 */
import { setMaxListeners } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type LiveLog, openLive } from './engines/live.ts'
import { loadEngine } from './engines/load.ts'
import { appendsOf, recordPool } from './harness/data.ts'
import { Latencies } from './harness/latencies.ts'
import { pace } from './harness/pace.ts'
import type { Context, Measurement, Question, Row, Shape } from './harness/question.ts'

const SHAPE: Shape = { keyBytes: 10, valueBytes: 90 }
const BATCH = 100
const APPENDS_PER_SECOND = 100
const FOLLOWERS = [0, 1, 10, 100]
/** There when the followers begin, and what the slow ones begin with: four seconds of pages of 1 MiB. */
const PREFILLED = 200_000
const SLOW_EVERY = 5
const REST_MS = 200
const WARM_UP_MS = 200
const FULL_MS = 600
const PACED_MS = 1000
/** No goal hangs on these figures. */
const ROUNDS = 3
const MiB = 1024 * 1024

const countOf = (followers: number): string => `${followers} ${followers === 1 ? 'follower' : 'followers'}`

function rows(): Row[] {
  const common = { contestants: ['heartwood', 'ceiling'], warmBytes: 256 * MiB }
  const full = FOLLOWERS.map(
    (followers): Row => ({
      ...common,
      id: `full-${followers}`,
      title: `${countOf(followers)}, appends at full rate`,
      unit: 'records/s',
      better: 'more',
      params: { ...SHAPE, followers, full: true, rounds: ROUNDS }
    })
  )
  const paced = FOLLOWERS.map(
    (followers): Row => ({
      ...common,
      id: `paced-${followers}`,
      title: `${countOf(followers)}, 100 appends of 100 records a second`,
      unit: 'us',
      better: 'less',
      params: { ...SHAPE, followers, full: false, rounds: ROUNDS }
    })
  )
  return [...full, ...paced]
}

interface Followed {
  records: number
}

async function follow(log: LiveLog, isSlow: boolean, stop: AbortSignal, followed: Followed): Promise<void> {
  for await (const { count } of log.follow(isSlow ? 0 : log.end, stop)) {
    followed.records += count
    if (isSlow) await sleep(REST_MS, undefined, { signal: stop }).catch(() => undefined)
  }
}

/** One append a turn of the event loop: who never let it turn would leave its followers nothing. */
async function appendAtFullRate(milliseconds: number, append: (index: number) => Promise<void>): Promise<number> {
  const from = performance.now()
  let count = 0
  for (; performance.now() - from < milliseconds; count += 1) {
    await append(count)
    await new Promise(setImmediate)
  }
  return count
}

async function measure({ row, contestant, directory, scale }: Context): Promise<Measurement> {
  const full = row.params['full'] === true
  const log = await openLive(contestant, directory, 'written')
  const appends = appendsOf(recordPool(SHAPE), BATCH)
  const large = appendsOf(recordPool(SHAPE), 1000)
  for (let i = 0; log.end < PREFILLED * scale.factor; i += 1) await log.append(large[i % large.length]!)

  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const followed = { records: 0 }
  const followers = Array.from({ length: Number(row.params['followers']) }, (_, i) =>
    follow(log, i % SLOW_EVERY === SLOW_EVERY - 1, stop.signal, followed)
  )
  const append = async (i: number, latencies?: Latencies): Promise<void> => {
    const from = performance.now()
    await log.append(appends[i % appends.length]!)
    latencies?.add(performance.now() - from)
  }
  const appendFor = (milliseconds: number, latencies?: Latencies): Promise<number> =>
    full
      ? appendAtFullRate(milliseconds, i => append(i, latencies))
      : pace({ perSecond: APPENDS_PER_SECOND, milliseconds }, i => append(i, latencies))
  await appendFor(WARM_UP_MS)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const latencies = new Latencies()
  followed.records = 0
  delay.enable()
  const from = performance.now()
  const appended = await appendFor((full ? FULL_MS : PACED_MS) * scale.factor, latencies)
  const seconds = (performance.now() - from) / 1000
  delay.disable()
  const rate = (appended * BATCH) / seconds
  const followedRate = followed.records / seconds
  stop.abort()
  await Promise.all(followers)
  await log.close()
  const { settings } = await loadEngine(contestant)
  const p99 = latencies.percentile(99)
  return {
    value: full ? rate : p99,
    extras: {
      'p50 us': latencies.percentile(50),
      ...(full ? { 'p99 us': p99 } : {}),
      'p99.9 us': latencies.percentile(99.9),
      'loop p99.9 us': delay.percentile(99.9) / 1000,
      ...(full ? {} : { 'records/s': rate }),
      'followed records/s': followedRate
    },
    settings: settings('written')
  }
}

export const question: Question = {
  name: 'mixed',
  asks: 'What do readers cost the one who appends?',
  about:
    'One caller appends 100 records of 100 B at a time, each append awaited, while 0 to 100 followers read the log in ' +
    'the same process; every fifth of them began with its oldest records and rests for 200 ms after each page. `full`: ' +
    'the rate of appends as fast as they go; `paced`: the p99 latency of 100 appends a second. What limits it: all run ' +
    'on one thread, so what a follower decodes, nobody appends meanwhile.',
  rows,
  measure
}
