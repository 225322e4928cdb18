/**
 * event-storage: its `Storage`, the part below the event store that appends documents and reads them by position.
 *
 * Documents are text; a serializer of our own, as its README advises, spares it the JSON. An append is acknowledged by
 * the callback that is called when the write buffer has been flushed. What is written in one turn and fits into the
 * write buffer is one unit, so the buffer is made large enough for that. `syncOnFlush` is its strict durability.
 */
import type { Appender, Engine, Level, PointReader, Scanner } from './engine.ts'
import { requireRival, rivalVersion } from './load.ts'
import { parseText, textOf } from './packing.ts'

interface Document {
  readonly key: string
  readonly value: string
}

interface Storage {
  open(): boolean
  write(document: string, flushed?: () => void): number
  read(number: number): Document
  readRange(from: number): Iterable<Document>
  close(): void
}

const { Storage } = requireRival<{ Storage: new (name: string, options: object) => Storage }>('event-storage')

const WRITE_BUFFER_BYTES = 2 * 1024 * 1024
const serializer = { serialize: (text: string): string => text, deserialize: parseText }

function openStorage(directory: string, options: object): Storage {
  const storage = new Storage('log', { dataDirectory: directory, serializer, ...options })
  storage.open()
  return storage
}

async function appender(directory: string, level: Level): Promise<Appender> {
  const storage = openStorage(directory, { writeBufferSize: WRITE_BUFFER_BYTES, syncOnFlush: level === 'synced' })
  return {
    append(records) {
      const last = records.length - 1
      for (let i = 0; i < last; i += 1) storage.write(textOf(records[i]!))
      return new Promise(resolve => {
        storage.write(textOf(records[last]!), resolve)
      })
    },
    close: () => storage.close()
  }
}

async function scanner(directory: string): Promise<Scanner> {
  const storage = openStorage(directory, {})
  return {
    scan() {
      let records = 0
      let bytes = 0
      for (const { key, value } of storage.readRange(1)) {
        records += 1
        bytes += key.length + value.length
      }
      return { records, bytes }
    },
    close: () => storage.close()
  }
}

async function pointReader(directory: string): Promise<PointReader> {
  const storage = openStorage(directory, {})
  return {
    // Documents count from 1.
    get: position => storage.read(position + 1).value.length,
    close: () => storage.close()
  }
}

export const engine: Engine = {
  name: 'event-storage',
  settings: level =>
    `Storage, serializer of plain text, writeBufferSize=${WRITE_BUFFER_BYTES}, syncOnFlush=${level === 'synced'}`,
  version: () => rivalVersion('event-storage'),
  appender,
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
