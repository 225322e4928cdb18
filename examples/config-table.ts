/** A configuration table: the latest value of each key of a compacted topic, in memory, kept up to date. */
import { Store } from '../lib/index.ts'

const store = await Store.open(process.argv[2] ?? 'data')
if (!store.topics().some(({ topic }) => topic === 'config'))
  await store.createTopic('config', { configs: { 'cleanup.policy': 'compact' } })
const log = await store.openLog('config', 0)

const config = await log.latest().follow({ values: value => JSON.parse(String(value)) as unknown })
console.log(`${config.size} settings, theme: ${config.get('theme')}`)

const put = (key: string, value: unknown) => log.append([{ key, value: JSON.stringify(value) }])
const remove = (key: string) => log.append([{ key, value: null }]) // a tombstone
await put('theme', 'light')
await put('beta', true)
await put('theme', 'dark')
const { lastOffset } = await remove('beta')

await config.reached(lastOffset) // reads what was written
for (const [key, value] of config) console.log(key, value, `offset ${config.entry(key)?.offset}`)
await store.close()
