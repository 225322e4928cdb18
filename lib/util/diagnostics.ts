import { type Channel, channel } from 'node:diagnostics_channel'

/**
 * What the engine tells whoever listens through `node:diagnostics_channel`:
 *
 *     heartwood:roll      { topic, partition, baseOffset, previousBaseOffset, reason }   a new active segment
 *     heartwood:flush     { topic, partition, durableOffset, milliseconds }              a sync returned
 *     heartwood:compaction { topic, partition, ...CleanedLog }                           a log was cleaned
 *     heartwood:hold-broken { topic, partition, hold, offset, limit, allowed, found }    a reader's hold was broken
 *     heartwood:recovery  { topic, partition, report }                                   a log was recovered at open
 *     heartwood:error     { topic?, partition?, dir?, error }                            something failed that nobody awaits
 *
 * Messages never hold keys, values or other payload.
 */
export type DiagnosticsName = 'roll' | 'flush' | 'recovery' | 'compaction' | 'hold-broken' | 'error'

const CHANNELS: Readonly<Record<DiagnosticsName, Channel>> = {
  roll: channel('heartwood:roll'),
  flush: channel('heartwood:flush'),
  recovery: channel('heartwood:recovery'),
  compaction: channel('heartwood:compaction'),
  'hold-broken': channel('heartwood:hold-broken'),
  error: channel('heartwood:error')
}

/** Whether anybody listens: asked first where the message itself costs something to make. */
export function hasSubscribers(name: DiagnosticsName): boolean {
  return CHANNELS[name].hasSubscribers
}

/**
 * Hands `message()` to the subscribers of `heartwood:NAME`; without any, it is not even made.
 * A subscriber that throws harms nobody here: Node reports it as an uncaught exception of its own.
 */
export function publish(name: DiagnosticsName, message: () => Readonly<Record<string, unknown>>): void {
  const to = CHANNELS[name]
  if (to.hasSubscribers) to.publish(message())
}
