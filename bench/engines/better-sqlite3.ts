/**
 * better-sqlite3: one row a record. WAL, as its README recommends; a prepared insert, inside a transaction where an
 * append has more than one record. `synchronous` is OFF where nothing has to be durable and FULL where every commit
 * has to be: with NORMAL a commit in WAL mode is not synced.
 */
import { join } from 'node:path'
import type { Appender, Engine, Level, PointReader, Rec, Scanner } from './engine.ts'
import { requireRival, rivalVersion } from './load.ts'
import { packHeaders } from './packing.ts'

interface Row {
  readonly key: Buffer
  readonly value: Buffer
}

interface Statement {
  run(...values: unknown[]): unknown
  get(...values: unknown[]): Row | undefined
  iterate(): Iterable<Row>
}

export interface Database {
  pragma(text: string): unknown
  exec(sql: string): unknown
  prepare(sql: string): Statement
  transaction<T extends unknown[]>(work: (...given: T) => void): (...given: T) => void
  close(): void
}

const Sqlite = requireRival<new (path: string, options?: object) => Database>('better-sqlite3')

const SYNCHRONOUS = { written: 'OFF', synced: 'FULL' } as const
const TABLE = 'CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, key BLOB, value BLOB, headers BLOB)'

export const version = (): string => rivalVersion('better-sqlite3')

export const settings = (level: Level): string =>
  `journal_mode=WAL, synchronous=${SYNCHRONOUS[level]}, prepared insert, INTEGER PRIMARY KEY`

/** A database to append to, with one function that inserts a row and one that inserts many as a unit. */
export function openForAppends(
  directory: string,
  level: Level
): { database: Database; insert: (record: Rec) => void; insertAll: (records: readonly Rec[]) => void } {
  const database = new Sqlite(join(directory, 'log.sqlite'))
  database.pragma('journal_mode = WAL')
  database.pragma(`synchronous = ${SYNCHRONOUS[level]}`)
  database.exec(TABLE)
  const statement = database.prepare('INSERT INTO log (key, value, headers) VALUES (?, ?, ?)')
  const insert = (record: Rec): void => {
    statement.run(record.key, record.value, packHeaders(record.headers))
  }
  const insertAll = database.transaction((records: readonly Rec[]) => {
    for (const record of records) insert(record)
  })
  return { database, insert, insertAll }
}

async function appender(directory: string, level: Level): Promise<Appender> {
  const { database, insert, insertAll } = openForAppends(directory, level)
  return {
    append(records) {
      if (records.length === 1) insert(records[0]!)
      else insertAll(records)
    },
    close: () => database.close()
  }
}

async function scanner(directory: string): Promise<Scanner> {
  const database = new Sqlite(join(directory, 'log.sqlite'))
  const rows = database.prepare('SELECT position, key, value, headers FROM log ORDER BY position')
  return {
    scan() {
      let records = 0
      let bytes = 0
      for (const { key, value } of rows.iterate()) {
        records += 1
        bytes += key.length + value.length
      }
      return { records, bytes }
    },
    close: () => database.close()
  }
}

async function pointReader(directory: string, { cacheBytes }: { cacheBytes: number }): Promise<PointReader> {
  const database = new Sqlite(join(directory, 'log.sqlite'))
  // A negative number is KiB; without a cache of its own SQLite keeps the least it can.
  database.pragma(`cache_size = ${-Math.floor(cacheBytes / 1024)}`)
  const row = database.prepare('SELECT position, key, value, headers FROM log WHERE position = ?')
  return {
    // Rows count from 1.
    get: position => row.get(position + 1)!.value.length,
    close: () => database.close()
  }
}

export const engine: Engine = {
  name: 'better-sqlite3',
  settings,
  version,
  appender,
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
