/** The server of examples/http-log.ts, asked over real sockets. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import { httpLog } from '../../examples/http-log.ts'
import { BatchView, encodeBatch, type LazyRecord, Store } from '../../lib/index.ts'
import { projectRoot, tempDir } from '../helpers/paths.ts'

const NDJSON = { accept: 'application/x-ndjson' }

async function serve(t: Test): Promise<{ store: Store; url: string; port: number }> {
  const store = await Store.open(join(await tempDir(t), 'data'))
  const server = httpLog(store).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
    await store.close()
  })
  const { port } = server.address() as AddressInfo
  return { store, url: `http://127.0.0.1:${port}`, port }
}

function post(url: string, body: string | Buffer, type = 'application/json'): Promise<Response> {
  return fetch(url, { method: 'POST', body: body as string, headers: { 'content-type': type } })
}

test('it takes fewer than 100 lines', async t => {
  t.ok((await readFile(join(projectRoot, 'examples', 'http-log.ts'), 'utf8')).split('\n').length <= 100)
})

test('curl appends lines of JSON and reads them back', async t => {
  const { url } = await serve(t)
  const curl = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)('curl', ['-sS', '--max-time', '20', ...args])
    return stdout
  }
  const lines = '{"key":"o-1","value":"paid","timestamp":5}\n{"value":null,"timestamp":6,"headers":[["h","x"]]}\n'
  t.equal(
    await curl('--data-binary', lines, `${url}/orders/0`),
    '{"baseOffset":0,"lastOffset":1,"level":"synced","duplicate":false}\n'
  )
  t.equal(
    await curl('-H', 'accept: application/x-ndjson', `${url}/orders/0?offset=0`),
    '{"offset":0,"timestamp":5,"key":"o-1","value":"paid","headers":[]}\n' +
      '{"offset":1,"timestamp":6,"key":null,"value":null,"headers":[["h","x"]]}\n'
  )
})

test('a raw batch goes in, and the stored bytes come out as they lie in the file', async t => {
  const { url, store } = await serve(t)
  const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: Date.now(), compression: 'gzip' })
  t.match(await (await post(`${url}/orders/0`, batch, 'application/octet-stream')).json(), { baseOffset: 0 })
  await post(`${url}/orders/0`, '{"value":"second"}')
  const response = await fetch(`${url}/orders/0?offset=0`)
  const bytes = Buffer.from(await response.arrayBuffer())
  t.equal(response.headers.get('next-offset'), '2')
  t.equal(response.headers.get('high-watermark'), '2')
  t.ok(bytes.equals(await readFile(join(store.dirs[0] as string, 'orders-0', '00000000000000000000.log'))))
  const first = new BatchView(bytes)
  t.ok(first.isSound())
  t.equal(first.compression, 'gzip')
  const end = await fetch(`${url}/orders/0?offset=2`)
  t.equal((await end.arrayBuffer()).byteLength, 0)
})

test('what cannot be done is said with a status and a code', async t => {
  const { url } = await serve(t)
  await post(`${url}/orders/0`, '{"value":"x"}')
  const expect = async (answer: Promise<Response>, status: number, code: string): Promise<void> => {
    const response = await answer
    const body = (await response.json()) as { code: string; message: string }
    t.equal(response.status, status, body.message)
    t.equal(body.code, code, body.message)
  }
  await expect(fetch(`${url}/orders/0?offset=9`), 416, 'OFFSET_OUT_OF_RANGE')
  await expect(fetch(`${url}/orders/0?offset=9`, { headers: NDJSON }), 416, 'OFFSET_OUT_OF_RANGE')
  await expect(
    fetch(`${url}/orders/0?offset=9`, { headers: { accept: 'text/event-stream' } }),
    416,
    'OFFSET_OUT_OF_RANGE'
  )
  await expect(fetch(`${url}/orders/0?offset=-1`), 416, 'OFFSET_OUT_OF_RANGE')
  await expect(fetch(`${url}/nope/0`), 404, 'UNKNOWN_TOPIC_OR_PARTITION')
  await expect(fetch(`${url}/orders/7`), 404, 'UNKNOWN_TOPIC_OR_PARTITION')
  await expect(fetch(`${url}/orders`), 400, 'INVALID_REQUEST')
  await expect(post(`${url}/%2e%2e/0`, '{}'), 400, 'INVALID_REQUEST')
  await expect(post(`${url}/a%20b/0`, '{}'), 400, 'INVALID_TOPIC')
  await expect(post(`${url}/orders/0`, '{bad'), 400, 'INVALID_REQUEST')
  await expect(post(`${url}/orders/0`, ''), 400, 'INVALID_RECORD')
  await expect(post(`${url}/orders/0`, 'no batch', 'application/octet-stream'), 400, 'INVALID_RECORD')
  await expect(post(`${url}/orders/0`, 'x'.repeat(3_000_000)), 413, 'RECORD_BATCH_TOO_LARGE')
  t.equal((await fetch(`${url}/orders/0`, { headers: NDJSON })).status, 200, 'and the server goes on')
})

test('a follower gets what is there and what comes, and resumes where it was', async t => {
  const { url, store } = await serve(t)
  await post(`${url}/orders/0`, '{"value":"one","timestamp":1}')
  const gone = new AbortController()
  const response = await fetch(`${url}/orders/0?offset=0`, {
    headers: { accept: 'text/event-stream' },
    signal: gone.signal
  })
  t.match(response.headers.get('content-type'), 'text/event-stream')
  const log = await store.openLog('orders', 0)
  let text = ''
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString()
    if (text.includes('two')) break
    if (text.includes('one')) await log.append([{ value: 'two', timestamp: 2 }])
  }
  gone.abort()
  const event = (offset: number, value: string): string =>
    `id: ${offset}\ndata: {"offset":${offset},"timestamp":${offset + 1},"key":null,"value":"${value}","headers":[]}\n\n`
  t.equal(text, event(0, 'one') + event(1, 'two'))
  const again = new AbortController()
  const headers = { accept: 'text/event-stream', 'last-event-id': '0' }
  const resumed = await fetch(`${url}/orders/0`, { headers, signal: again.signal })
  const { value: chunk } = await (resumed.body as ReadableStream<Uint8Array>).getReader().read()
  t.equal(Buffer.from(chunk as Uint8Array).toString(), event(1, 'two'))
  again.abort()
})

test('a client that does not read is waited for', async t => {
  const { store, port } = await serve(t)
  const log = await store.openLog('orders', 0)
  const value = Buffer.alloc(100_000, 97)
  for (let i = 0; i < 400; i += 1) await log.append([{ value }], { durability: 'none' })
  let given = 0
  const records = log.records.bind(log)
  log.records = ((options: Parameters<typeof records>[0]) => counted(records(options))) as unknown as typeof log.records
  async function* counted(all: AsyncIterable<LazyRecord>): AsyncGenerator<LazyRecord> {
    for await (const record of all) {
      given += 1
      yield record
    }
  }
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /orders/0?offset=0 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n')
  await once(socket, 'connect')
  socket.pause()
  await new Promise(resolve => setTimeout(resolve, 1000))
  // The sockets' own buffers hold some MB at most; 40 MB are there.
  t.ok(given > 0 && given < 200, `${given} of 400 records were read ahead`)
  socket.destroy()
})
