import { spawn } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { openLog } from '../helpers/logs.ts'
import { tempDir } from '../helpers/paths.ts'

const program = fileURLToPath(new URL(`./ended.child${extname(import.meta.url)}`, import.meta.url))

t.test('what was acknowledged is seen by other processes after the writer ended without closing its log', async t => {
  const dir = await tempDir(t)
  const child = spawn(process.execPath, [...process.execArgv, program, dir], { stdio: 'inherit' })
  t.equal(await new Promise(resolve => child.once('close', resolve)), 0)
  const log = await openLog(dir, { readOnly: true })
  t.teardown(() => log.close())
  t.equal(log.highWatermark, 8)
})
