import { spawn } from 'node:child_process'
import { extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Store } from '../../lib/store/store.ts'
import { tempDir } from '../helpers/paths.ts'
import { values } from './helpers.ts'

const program = fileURLToPath(new URL(`./killed.child${extname(import.meta.url)}`, import.meta.url))

/** Runs the writer until it has acknowledged some records, kills it, and gives the last offset of each partition. */
async function killedWriter(dir: string, records: number): Promise<number[]> {
  const child = spawn(process.execPath, [...process.execArgv, program, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
    if (output.split('\n').length > records) child.kill('SIGKILL')
  })
  await new Promise(resolve => child.once('close', resolve))
  const last = [-1, -1, -1, -1]
  // What follows the last line end was cut off by the kill.
  for (const line of output.split('\n').slice(0, -1)) {
    const [partition, offset] = line.split(' ').map(Number)
    last[partition!] = Math.max(last[partition!]!, offset!)
  }
  return last
}

t.test('a writer that is killed takes no lock and no acknowledged record with it, time after time', async t => {
  const dir = join(await tempDir(t), 'data')
  for (const records of [40, 90, 200]) {
    const last = await killedWriter(dir, records)
    const store = await openWhenFree(dir)
    t.notOk(store.status().directories[0]?.cleanAtOpen)
    t.equal(store.status().directories[0]?.otherEngine, undefined)
    for (const partition of [0, 1, 2, 3]) {
      const found = await values(await store.openLog('orders', partition))
      t.ok(found.length > last[partition]!, `${found.length} records, acknowledged up to offset ${last[partition]}`)
      t.ok(
        found.every((value, offset) => value === `${partition}:${offset}`),
        'each at its offset'
      )
    }
    await store.close()
  }
})

/** The system may take a moment to close what the dead process had open. */
async function openWhenFree(dir: string): Promise<Store> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await Store.open(dir)
    } catch (error) {
      if ((error as { code?: string }).code !== 'LOCKED' || attempt === 50) throw error
      await sleep(20)
    }
  }
}
