/**
 * The whole of compaction and retention: random histories of a keyed log, random schedules of append, roll, clean,
 * retain, crash and reopen, held against a plain list of what was appended (keyed-model.ts).
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'

t.setTimeout(780_000)

/** In how many processes. */
const PARTS = IS_LONG_RUN ? 2 : 1
const HISTORIES = IS_LONG_RUN ? 2600 : 60

t.test(`whatever is done to a keyed log, it says what a plain list says (seed ${SEED})`, async t => {
  const path = fileURLToPath(new URL(`./model.child${import.meta.url.slice(-3)}`, import.meta.url))
  const parts = Array.from({ length: PARTS }, (_, i) => [path, `${2 * SEED + i}`, `${HISTORIES}`])
  await Promise.all(
    parts.map(async args => {
      const { status, stdout, stderr } = await finished(spawn(process.execPath, [...process.execArgv, ...args]))
      t.equal(status, 0, stderr)
      t.comment(stdout.trim())
      const { histories, ...counts } = JSON.parse(stdout) as Record<string, number>
      t.equal(histories, HISTORIES)
      // A generator that never gets to the point would pass as well.
      for (const [name, count] of Object.entries(counts)) t.ok(count >= HISTORIES / 20, `${count} ${name}`)
    })
  )
})
