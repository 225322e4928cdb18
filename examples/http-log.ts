/**
 * A store served over HTTP with `node:http` alone.
 *
 *     node dist/examples/http-log.js data 8080
 *     curl -d '{"key":"o-1","value":"paid"}' localhost:8080/orders/0                       append JSON lines
 *     curl --data-binary @batch -H 'content-type: application/octet-stream' …/orders/0     append a raw v2 batch
 *     curl 'localhost:8080/orders/0?offset=0'                                              stored batches, as bytes
 *     curl 'localhost:8080/orders/0?offset=0' -H 'accept: application/x-ndjson'            records as JSON lines
 *     curl -N 'localhost:8080/orders/0?offset=0' -H 'accept: text/event-stream'            records as they arrive
 *
 * Stored bytes go to the socket as they are: nothing is decoded or copied for a reader of batches.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { isLogError, type LazyRecord, MiB, type PartitionLog, type RecordInput, Store } from '../lib/index.ts'

const MAX_BODY_BYTES = 8 * MiB
const STATUS: Partial<Record<string, number>> = {
  OFFSET_OUT_OF_RANGE: 416,
  UNKNOWN_TOPIC_OR_PARTITION: 404,
  RECORD_BATCH_TOO_LARGE: 413,
  NO_SPACE: 507,
  LOG_POISONED: 503,
  LOG_CLOSED: 503
}

/** Serves `store`; the caller listens, and closes both. */
export function httpLog(store: Store): Server {
  return createServer((request, response) => {
    answer(store, request, response).catch((error: unknown) => {
      if (response.headersSent) {
        response.destroy()
        return
      }
      const code = isLogError(error) ? error.code : 'BAD_REQUEST'
      response.writeHead(STATUS[code] ?? 400, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify({ code, message: (error as Error).message })}\n`)
    })
  })
}

async function answer(store: Store, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const [, topic = '', partition = ''] = url.pathname.split('/')
  if (!/^\d+$/.test(partition)) throw new Error('the path is /TOPIC/PARTITION')
  const log = await store.openLog(topic, Number(partition))
  if (request.method === 'POST') return append(log, request, response)
  const from = url.searchParams.has('offset') ? Number(url.searchParams.get('offset')) : log.logStartOffset
  const accept = request.headers.accept ?? ''
  if (accept.includes('text/event-stream'))
    return follow(log, Number(request.headers['last-event-id'] ?? from - 1) + 1, response)
  if (accept.includes('application/x-ndjson')) return lines(log, from, response)
  const { batches, nextOffset, highWatermark } = await log.read(from, {
    maxBytes: Number(url.searchParams.get('max-bytes') ?? MiB)
  })
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    'next-offset': nextOffset,
    'high-watermark': highWatermark
  })
  response.end(batches)
}

async function append(log: PartitionLog, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Error(`a body holds at most ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  const isBatch = request.headers['content-type'] === 'application/octet-stream'
  const ack = isBatch ? await log.appendBatch(body) : await log.append(records(body))
  const { baseOffset, lastOffset, level, duplicate } = ack
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(`${JSON.stringify({ baseOffset, lastOffset, level, duplicate })}\n`)
}

function records(body: Buffer): RecordInput[] {
  const given = body
    .toString()
    .split('\n')
    .filter(line => line.trim() !== '')
  return given.map(line => JSON.parse(line) as RecordInput)
}

async function lines(log: PartitionLog, from: number, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  for await (const page of log.records({ from }).pages()) {
    if (!response.write(page.map(record => `${json(record)}\n`).join(''))) await once(response, 'drain')
  }
  response.end()
}

async function follow(log: PartitionLog, from: number, response: ServerResponse): Promise<void> {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' }).flushHeaders()
  for await (const record of log.records({ from, follow: true, signal: gone.signal })) {
    if (!response.write(`id: ${record.offset}\ndata: ${json(record)}\n\n`))
      await once(response, 'drain', { signal: gone.signal })
  }
  response.end()
}

function json({ offset, timestamp, key, value, headers }: LazyRecord): string {
  return JSON.stringify({
    offset,
    timestamp,
    key: key?.toString() ?? null,
    value: value?.toString() ?? null,
    headers: headers.map(([name, bytes]) => [name, bytes?.toString() ?? null])
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const store = await Store.open(process.argv[2] ?? 'data')
  const server = httpLog(store).listen(Number(process.argv[3] ?? 8080), 'localhost')
  process.once('SIGINT', () => server.close(() => void store.close()).closeAllConnections())
}
