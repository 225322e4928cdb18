/**
 * Heartwood as whoever makes small appends durable would configure the topic: with Kafka's `preallocate`. The file has
 * its length and, in front of the writes, its blocks, so that a sync waits for no journal.
 */
import { Store } from '../../lib/index.ts'
import type { Appender, Engine, Level } from './engine.ts'
import { appenderOf, DURABILITY, MAX_MESSAGE_BYTES, TOPIC } from './heartwood.ts'
import { heartwoodVersion } from './load.ts'

async function appender(directory: string, level: Level): Promise<Appender> {
  const store = await Store.open(directory)
  const configs = {
    'heartwood.durability': DURABILITY[level],
    'max.message.bytes': String(MAX_MESSAGE_BYTES),
    preallocate: 'true'
  }
  // Stated with the topic, so that its first segment has it, too.
  await store.createTopic(TOPIC, { configs })
  return appenderOf(store, await store.openLog(TOPIC, 0))
}

export const engine: Engine = {
  name: 'heartwood-preallocate',
  settings: level => `as heartwood (heartwood.durability=${DURABILITY[level]}), and preallocate=true`,
  version: heartwoodVersion,
  appender
}
