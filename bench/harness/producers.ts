/**
 * Programs that append, as users write them: one producer with a bounded number of appends in flight, or many callers
 * that each wait for their own.
 */
import type { Appender, Rec } from '../engines/engine.ts'
import type { Latencies } from './latencies.ts'

export interface Load {
  /** Taken in turn, again and again. */
  readonly appends: readonly (readonly Rec[])[]
  /** Appends that may be under way at once. 1: each is awaited before the next. */
  readonly inFlight: number
  /** Stops after so many appends or so much time, whichever comes first; what is in flight then is awaited. */
  readonly count: number
  readonly milliseconds: number
}

export interface Run {
  readonly appends: number
  readonly records: number
  readonly seconds: number
  /** Of the whole process, threads of native code included. */
  readonly cpuSeconds: number
}

/** How often a loop looks at the clock. */
const LOOK_EVERY = 16

/** Appends until `load` says stop, as `drive` does it, and takes the time until the last acknowledgement. */
export async function measureRun(load: Load, drive: (load: Load, deadline: number) => Promise<number>): Promise<Run> {
  const cpu = process.cpuUsage()
  const began = performance.now()
  const appends = await drive(load, began + load.milliseconds)
  const seconds = (performance.now() - began) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { appends, records: appends * load.appends[0]!.length, seconds, cpuSeconds: (user + system) / 1e6 }
}

/**
 * One producer, which goes on as long as fewer than `inFlight` appends wait for their acknowledgement. A store whose
 * appends are done when they return never has one in flight.
 */
export async function produce(appender: Appender, load: Load, deadline: number): Promise<number> {
  const { appends, inFlight, count } = load
  const window = new Array<Promise<void> | undefined>(inFlight)
  let sent = 0
  let slot = 0
  while (sent < count && (sent % LOOK_EVERY !== 0 || performance.now() < deadline)) {
    const oldest = window[slot]
    if (oldest !== undefined) await oldest
    window[slot] = appender.append(appends[sent % appends.length]!) as Promise<void> | undefined
    sent += 1
    slot = slot + 1 === inFlight ? 0 : slot + 1
  }
  await Promise.all(window)
  return sent
}

/**
 * `inFlight` callers, each of which awaits its append before its next, as requests of a server do.
 *
 * @param latencies - gets the time of each append, from the call to the acknowledgement.
 */
export async function call(appender: Appender, load: Load, deadline: number, latencies?: Latencies): Promise<number> {
  const { appends, inFlight, count } = load
  let sent = 0
  const caller = async (): Promise<void> => {
    // The time of an acknowledgement is that of the next call.
    let now = performance.now()
    while (sent < count && now < deadline) {
      const records = appends[sent % appends.length]!
      sent += 1
      const called = now
      await appender.append(records)
      now = performance.now()
      latencies?.add(now - called)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, caller))
  return sent
}

/** Calls `inFlight` times without waiting, then awaits all of them: a loop over what has just arrived. */
export async function callInBursts(appender: Appender, load: Load, deadline: number): Promise<number> {
  const { appends, inFlight, count } = load
  let sent = 0
  while (sent < count && performance.now() < deadline) {
    const burst: (Promise<void> | void)[] = []
    for (let i = 0; i < inFlight; i += 1) burst.push(appender.append(appends[(sent + i) % appends.length]!))
    await Promise.all(burst)
    sent += inFlight
  }
  return sent
}
