/**
 * A store served over HTTP with `node:http` alone:  node dist/examples/http-log.js data 8080
 *
 *     curl -d '{"key":"o-1","value":"paid"}' localhost:8080/orders/0                    append JSON lines, one batch
 *     curl --data-binary @batch -H 'content-type: application/octet-stream' …/orders/0  append a raw v2 batch
 *     curl 'localhost:8080/orders/0?offset=0'                                           stored batches: nothing is
 *                                                                                       decoded or copied for them
 *     curl 'localhost:8080/orders/0?offset=0' -H 'accept: application/x-ndjson'         records as JSON lines
 *     curl -N 'localhost:8080/orders/0?offset=0' -H 'accept: text/event-stream'         records as they arrive
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, isLogError, type LazyRecord, LogError, MiB, type PartitionLog, Store } from '../lib/index.ts'

const STATUS: Partial<Record<ErrorCode, number>> = {
  OFFSET_OUT_OF_RANGE: 416,
  UNKNOWN_TOPIC_OR_PARTITION: 404,
  RECORD_BATCH_TOO_LARGE: 413,
  NO_SPACE: 507
}

/** Serves `store`; the caller listens, and closes both. */
export function httpLog(store: Store): Server {
  return createServer((request, response) => {
    answer(store, request, response).catch((error: unknown) => {
      if (response.headersSent) return response.destroy()
      const code = isLogError(error) ? error.code : 'INVALID_REQUEST'
      response.writeHead(STATUS[code] ?? 400, { 'content-type': 'application/json' })
      return response.end(`${JSON.stringify({ code, message: (error as Error).message })}\n`)
    })
  })
}

async function answer(store: Store, request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const [, topic = '', partition] = /^\/([^/]+)\/(\d{1,3})$/.exec(pathname) ?? []
  if (partition === undefined) throw new Error('the path is /TOPIC/PARTITION')
  const isThere = store.topics().some(known => known.topic === topic && known.partitions.includes(Number(partition)))
  if (request.method !== 'POST' && !isThere) throw new LogError('UNKNOWN_TOPIC_OR_PARTITION', `no log ${pathname}`)
  const log = await store.openLog(topic, Number(partition))
  if (request.method === 'POST') return append(log, request, response)
  const from = Number(searchParams.get('offset') ?? log.logStartOffset)
  const { accept = '', 'last-event-id': last = from - 1 } = request.headers
  if (accept.includes('text/event-stream')) return stream(log, Number(last) + 1, 'text/event-stream', response)
  if (accept.includes('application/x-ndjson')) return stream(log, from, 'application/x-ndjson', response)
  const maxBytes = Math.min(Number(searchParams.get('max-bytes') ?? MiB), 64 * MiB)
  const { batches, nextOffset, highWatermark } = await log.read(from, { maxBytes })
  const offsets = { 'next-offset': nextOffset, 'high-watermark': highWatermark }
  return response.writeHead(200, { 'content-type': 'application/octet-stream', ...offsets }).end(batches)
}

async function append(log: PartitionLog, request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const chunks: Buffer[] = []
  let room = 2 * log.config.maxMessageBytes
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if ((room -= chunk.length) < 0) throw new LogError('RECORD_BATCH_TOO_LARGE', 'the body is larger than any batch')
    chunks.push(chunk)
  }
  const body = Buffer.concat(chunks)
  const isBatch = request.headers['content-type'] === 'application/octet-stream'
  const lines = isBatch ? [] : body.toString().split('\n')
  const records = lines.filter(line => line.trim() !== '').map(line => JSON.parse(line))
  const { baseOffset, lastOffset, level, duplicate } = await (isBatch ? log.appendBatch(body) : log.append(records))
  response.writeHead(200, { 'content-type': 'application/json' })
  return response.end(`${JSON.stringify({ baseOffset, lastOffset, level, duplicate })}\n`)
}

/** Waits for a slow client before it reads on. */
async function stream(log: PartitionLog, from: number, type: string, response: ServerResponse): Promise<unknown> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const follow = type === 'text/event-stream'
  // What is wrong with `from` is to be answered before a stream begins.
  await log.read(from, { maxBytes: 0 })
  response.writeHead(200, { 'content-type': type, 'cache-control': 'no-cache' }).flushHeaders()
  for await (const record of log.records({ from, follow, signal: gone.signal })) {
    const text = follow ? `id: ${record.offset}\ndata: ${json(record)}\n\n` : `${json(record)}\n`
    if (!response.write(text)) await once(response, 'drain', { signal: gone.signal })
  }
  return response.end()
}

function json({ offset, timestamp, key, value, headers }: LazyRecord): string {
  const [k = null, v = null] = [key?.toString(), value?.toString()]
  const shown = { offset, timestamp, key: k, value: v }
  return JSON.stringify({ ...shown, headers: headers.map(([name, bytes]) => [name, bytes?.toString() ?? null]) })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const store = await Store.open(process.argv[2] ?? 'data')
  const server = httpLog(store).listen(Number(process.argv[3] ?? 8080), 'localhost')
  process.once('SIGINT', () => server.close(() => void store.close()).closeAllConnections())
}
