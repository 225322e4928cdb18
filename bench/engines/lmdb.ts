/**
 * lmdb: the position is the key, the packed record the value; numeric keys in their own encoding, binary values.
 *
 * Not durable, an append is a synchronous transaction with `noSync`, whose puts say that they append: for one producer
 * that was faster here than asynchronous puts at every size of append, up to ten times with single records (`lmdb-async`
 * are those). Durable, puts are asynchronous, as its README has it: those of one turn of the event loop share a
 * transaction. `overlappingSync: false` makes their promise wait for the flush; it was faster here than
 * `overlappingSync` and `db.flushed`.
 */
import { join } from 'node:path'
import type { Appender, Engine, Level, PointReader, Scanner } from './engine.ts'
import { requireRival, rivalVersion } from './load.ts'
import { packRecords, unpackRecord } from './packing.ts'

interface Database {
  put(key: number, value: Uint8Array): Promise<boolean>
  putSync(key: number, value: Uint8Array, options: { append: boolean }): boolean
  transactionSync(work: () => void): void
  get(key: number): Buffer | undefined
  getRange(): Iterable<{ readonly key: number; readonly value: Buffer }>
  close(): Promise<void>
}

const { open } = requireRival<{ open(path: string, options: object): Database }>('lmdb')

const COMMON = { keyEncoding: 'uint32', encoding: 'binary', noMemInit: true }
const OPTIONS = {
  written: { ...COMMON, noSync: true },
  synced: { ...COMMON, overlappingSync: false }
} as const
const APPEND = { append: true }

const openDatabase = (directory: string, options: object): Database => open(join(directory, 'lmdb'), options)

export const version = (): string => rivalVersion('lmdb')

export const asyncSettings = (level: Level): string =>
  `asynchronous puts, those of one turn share a transaction; ${JSON.stringify(OPTIONS[level])}`

export async function asyncAppender(directory: string, level: Level): Promise<Appender> {
  const database = openDatabase(directory, OPTIONS[level])
  let next = 0
  return {
    append(records) {
      let last: Promise<unknown> | undefined
      for (const packed of packRecords(records)) last = database.put(next++, packed)
      return last as Promise<void>
    },
    close: () => database.close()
  }
}

async function syncAppender(directory: string): Promise<Appender> {
  const database = openDatabase(directory, OPTIONS.written)
  let next = 0
  return {
    append(records) {
      const packed = packRecords(records)
      database.transactionSync(() => {
        for (const value of packed) database.putSync(next++, value, APPEND)
      })
    },
    close: () => database.close()
  }
}

async function scanner(directory: string): Promise<Scanner> {
  const database = openDatabase(directory, { ...COMMON, readOnly: true })
  return {
    scan() {
      let records = 0
      let bytes = 0
      for (const entry of database.getRange()) {
        const { key, value } = unpackRecord(entry.value)
        records += 1
        bytes += key.length + value.length
      }
      return { records, bytes }
    },
    close: () => database.close()
  }
}

async function pointReader(directory: string): Promise<PointReader> {
  const database = openDatabase(directory, { ...COMMON, readOnly: true })
  return {
    get: position => unpackRecord(database.get(position)!).value.length,
    close: () => database.close()
  }
}

export const engine: Engine = {
  name: 'lmdb',
  settings: level =>
    level === 'synced'
      ? asyncSettings(level)
      : `transactionSync with putSync(append) for each append; ${JSON.stringify(OPTIONS[level])}`,
  version,
  appender: async (directory, level) =>
    level === 'synced' ? asyncAppender(directory, level) : syncAppender(directory),
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
