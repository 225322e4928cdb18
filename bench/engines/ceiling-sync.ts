/**
 * The bare loop with synchronous calls: everything that was appended in a turn of the event loop is written and synced
 * before the next one. The fewest hops there can be, and the event loop stands still meanwhile, which a library must
 * not do to its host.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { LOG_FILE } from './ceiling.ts'
import { Arena, BareEncoder } from './ceiling-encoder.ts'
import type { Appender, Engine, Level } from './engine.ts'

async function appender(directory: string, level: Level): Promise<Appender> {
  const file = openSync(join(directory, LOG_FILE), 'a')
  const encoder = new BareEncoder()
  let spare = new Arena()
  let group: (() => void)[] = []
  const commit = (): void => {
    spare = encoder.swap(spare)
    writeSync(file, spare.bytes, 0, spare.used)
    if (level === 'synced') fdatasyncSync(file)
    const done = group
    group = []
    for (const resolve of done) resolve()
  }
  return {
    append(records) {
      if (encoder.isFull) commit()
      encoder.add(records)
      return new Promise(resolve => {
        if (group.push(resolve) === 1) setImmediate(commit)
      })
    },
    close: () => closeSync(file)
  }
}

export const engine: Engine = {
  name: 'ceiling-sync',
  settings: level =>
    `bare loop: writeSync${level === 'synced' ? ' and fdatasyncSync' : ''} once a turn of the event loop`,
  version: () => process.version,
  appender
}
