/**
 * classic-level (LevelDB): the position is the key, big-endian so that keys sort, the packed record the value; without
 * compression, for no other contestant compresses. An append is one chained batch, a single record one put: a chained
 * batch was five to ten times as fast here as one in the array form. Its README offers larger write buffers for bulk
 * loads and `highWaterMarkBytes` for long scans: both are used.
 */
import { join } from 'node:path'
import type { Appender, Engine, Level, PointReader, Scanner } from './engine.ts'
import { requireRival, rivalVersion } from './load.ts'
import { packRecords, unpackRecord } from './packing.ts'

interface ChainedBatch {
  put(key: Buffer, value: Buffer): this
  write(options: object): Promise<void>
}

interface Entries {
  nextv(size: number): Promise<[key: Buffer, value: Buffer][]>
  close(): Promise<void>
}

interface Database {
  open(): Promise<void>
  put(key: Buffer, value: Buffer, options: object): Promise<void>
  batch(): ChainedBatch
  get(key: Buffer): Promise<Buffer | undefined>
  iterator(options: object): Entries
  close(): Promise<void>
}

const { ClassicLevel } = requireRival<{ ClassicLevel: new (location: string, options: object) => Database }>(
  'classic-level'
)

const OPTIONS = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  compression: false,
  writeBufferSize: 32 * 1024 * 1024
}
const KEY_BYTES = 6
const PAGE = { entries: 1000, bytes: 1024 * 1024 }

function keyOf(position: number): Buffer {
  const key = Buffer.allocUnsafe(KEY_BYTES)
  key.writeUIntBE(position, 0, KEY_BYTES)
  return key
}

async function openDatabase(directory: string, options: object = {}): Promise<Database> {
  const database = new ClassicLevel(join(directory, 'level'), { ...OPTIONS, ...options })
  await database.open()
  return database
}

async function appender(directory: string, level: Level): Promise<Appender> {
  const database = await openDatabase(directory)
  const options = { sync: level === 'synced' }
  let next = 0
  return {
    append(records) {
      const packed = packRecords(records)
      if (packed.length === 1) return database.put(keyOf(next++), packed[0]!, options)
      const batch = database.batch()
      for (const value of packed) batch.put(keyOf(next++), value)
      return batch.write(options)
    },
    close: () => database.close()
  }
}

async function scanner(directory: string): Promise<Scanner> {
  const database = await openDatabase(directory)
  return {
    async scan() {
      const entries = database.iterator({ highWaterMarkBytes: PAGE.bytes })
      let records = 0
      let bytes = 0
      for (;;) {
        const page = await entries.nextv(PAGE.entries)
        if (page.length === 0) break
        for (const [, packed] of page) {
          const { key, value } = unpackRecord(packed)
          bytes += key.length + value.length
        }
        records += page.length
      }
      await entries.close()
      return { records, bytes }
    },
    close: () => database.close()
  }
}

async function pointReader(directory: string, { cacheBytes }: { cacheBytes: number }): Promise<PointReader> {
  const database = await openDatabase(directory, cacheBytes > 0 ? { cacheSize: cacheBytes } : {})
  return {
    get: async position => unpackRecord((await database.get(keyOf(position)))!).value.length,
    close: () => database.close()
  }
}

export const engine: Engine = {
  name: 'classic-level',
  settings: level => `one chained batch an append, sync=${level === 'synced'}; ${JSON.stringify(OPTIONS)}`,
  version: () => rivalVersion('classic-level'),
  appender,
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
