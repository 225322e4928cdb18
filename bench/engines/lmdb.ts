/**
 * lmdb: the position is the key, the packed record the value.
 *
 * As its README has it: asynchronous puts, which share a transaction when they are called in one turn of the event
 * loop (so the records of an append are one unit), numeric keys in their own encoding, binary values, `noSync` where
 * nothing has to be durable. Durable, `overlappingSync: false` makes the promise of a put wait for the flush; it was
 * faster here than `overlappingSync` and `db.flushed`.
 */
import { join } from 'node:path'
import type { Appender, Engine, Level, PointReader, Scanner } from './engine.ts'
import { requireRival, rivalVersion } from './load.ts'
import { packRecords, unpackRecord } from './packing.ts'

interface Database {
  put(key: number, value: Uint8Array): Promise<boolean>
  get(key: number): Buffer | undefined
  getRange(): Iterable<{ readonly key: number; readonly value: Buffer }>
  close(): Promise<void>
}

const { open } = requireRival<{ open(path: string, options: object): Database }>('lmdb')

const COMMON = { keyEncoding: 'uint32', encoding: 'binary', noMemInit: true }
const WRITE = {
  written: { ...COMMON, noSync: true },
  synced: { ...COMMON, overlappingSync: false }
} as const

const openDatabase = (directory: string, options: object): Database => open(join(directory, 'lmdb'), options)

async function appender(directory: string, level: Level): Promise<Appender> {
  const database = openDatabase(directory, WRITE[level])
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
  settings: level => `puts of one turn share a transaction; ${JSON.stringify(WRITE[level])}`,
  version: () => rivalVersion('lmdb'),
  appender,
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
