/** The soak, for two minutes, and ended in the middle by force: it goes on by itself. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { tempDir } from '../helpers/paths.ts'

t.setTimeout(600_000)

const program = fileURLToPath(new URL('./soak.js', import.meta.url))

t.test('two minutes of everything at once', async t => {
  const dir = join(await tempDir(t), 'soak')
  const { NODE_OPTIONS: _, ...env } = process.env
  const start = () => spawn(process.execPath, [program, '--minutes', '2', '--dir', dir], { env })
  const first = start()
  const firstEnd = finished(first)
  // After the first kill it has something to go on from.
  while (!existsSync(join(dir, 'state')) && first.exitCode === null) await sleep(50)
  first.kill('SIGKILL')
  await firstEnd
  const { status, stdout, stderr } = await finished(start())
  t.comment(stdout)
  t.equal(status, 0, stderr)
  t.notMatch(stdout, / 0 of 120 s/, 'it went on where it was ended')
})
