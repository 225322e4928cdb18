/** The first use of the README, run by a test: open, append, read from an offset, follow the tail, close. */
import { MiB, Store } from '../lib/index.ts'

const store = await Store.open(process.argv[2] ?? 'data')
const orders = await store.openLog('orders', 0, { segmentBytes: 64 * MiB })

const ack = await orders.append([{ key: 'o-1', value: '{"total":12}', headers: [['trace', 'ab']] }, { value: 'paid' }])
console.log(`offsets ${ack.baseOffset} to ${ack.lastOffset} are ${ack.level}`)

for await (const record of orders.records({ from: ack.baseOffset })) {
  console.log(record.offset, record.key?.toString(), record.value?.toString())
}

const enough = new AbortController()
setTimeout(() => void orders.append([{ value: 'shipped' }]), 100)
for await (const record of orders.records({ from: ack.lastOffset + 1, follow: true, signal: enough.signal })) {
  console.log('new:', record.offset, record.value?.toString())
  enough.abort()
}
await store.close()
