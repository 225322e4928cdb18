/**
 * A plain file of JSON lines: what one writes who needs no library. An append is one `appendFile`, one after the
 * other, and `datasync` where it has to be durable.
 */
import { closeSync, createReadStream, openSync, readFileSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Appender, Engine, Level, PointReader, Rec, Scanner } from './engine.ts'

interface Line {
  readonly key: string
  readonly value: string
  readonly headers?: Readonly<Record<string, string>>
}

const NEWLINE = 10
const fileIn = (directory: string): string => join(directory, 'log.jsonl')

function lineOf({ keyText, valueText, headers }: Rec): Line {
  if (headers === undefined) return { key: keyText, value: valueText }
  const texts = headers.map(([name, value]) => [name, Buffer.from(value).toString('latin1')] as const)
  return { key: keyText, value: valueText, headers: Object.fromEntries(texts) }
}

async function appender(directory: string, level: Level): Promise<Appender> {
  const file = await open(fileIn(directory), 'a')
  let previous: Promise<void> = Promise.resolve()
  const appendLines = async (lines: string): Promise<void> => {
    await file.appendFile(lines)
    if (level === 'synced') await file.datasync()
  }
  return {
    append(records) {
      let lines = ''
      for (const record of records) lines += `${JSON.stringify(lineOf(record))}\n`
      // Two of them at once would mix their bytes.
      previous = previous.then(() => appendLines(lines))
      return previous
    },
    close: () => file.close()
  }
}

async function scanner(directory: string): Promise<Scanner> {
  return {
    async scan() {
      let records = 0
      let bytes = 0
      const input = createReadStream(fileIn(directory), { highWaterMark: 1024 * 1024 })
      for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
        const { key, value } = JSON.parse(line) as Line
        records += 1
        bytes += key.length + value.length
      }
      return { records, bytes }
    },
    close: () => undefined
  }
}

/** Such a file has no index: opening notes where each line begins, in memory. */
async function pointReader(directory: string): Promise<PointReader> {
  const bytes = readFileSync(fileIn(directory))
  const starts = [0]
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) starts.push(at + 1)
  const file = openSync(fileIn(directory), 'r')
  return {
    get(position) {
      const start = starts[position]!
      const line = Buffer.allocUnsafe(starts[position + 1]! - start)
      readSync(file, line, 0, line.length, start)
      return (JSON.parse(line.toString()) as Line).value.length
    },
    close: () => closeSync(file)
  }
}

export const engine: Engine = {
  name: 'json-lines',
  settings: level => `appendFile of JSON lines${level === 'synced' ? ' and datasync' : ''}, one append at a time`,
  version: () => process.version,
  appender,
  scanner: async (directory, kind) => (kind === 'eager' ? scanner(directory) : undefined),
  pointReader
}
