/**
 * better-sqlite3 with group commit in the application: whatever is appended in one turn of the event loop is one
 * transaction. What somebody writes who needs durable appends of many writers from it.
 */
import { openForAppends, settings, version } from './better-sqlite3.ts'
import type { Appender, Engine, Level, Rec } from './engine.ts'

async function appender(directory: string, level: Level): Promise<Appender> {
  const { database, insertAll } = openForAppends(directory, level)
  let group: Rec[] = []
  let acknowledgements: (() => void)[] = []
  const commit = (): void => {
    const records = group
    const done = acknowledgements
    group = []
    acknowledgements = []
    insertAll(records)
    for (const resolve of done) resolve()
  }
  return {
    append(records) {
      for (const record of records) group.push(record)
      return new Promise(resolve => {
        if (acknowledgements.push(resolve) === 1) setImmediate(commit)
      })
    },
    close: () => database.close()
  }
}

export const engine: Engine = {
  name: 'better-sqlite3-group',
  settings: level => `${settings(level)}, one transaction a turn of the event loop`,
  version,
  appender
}
