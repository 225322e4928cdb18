/** Compaction, retention and deletion, killed at any moment: nothing is lost that should stay, nothing is left over. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { finished } from '../helpers/binary.ts'
import { tempDir } from '../helpers/paths.ts'
import { IS_LONG_RUN, SEED } from '../helpers/seed.ts'

t.setTimeout(200_000)

/** On a slow machine fewer have to do. */
const FEWEST = IS_LONG_RUN ? 24 : 6
const MOST = IS_LONG_RUN ? 60 : 6

t.test('killed at any moment while logs shrink: what stays is there and nothing is left over', async t => {
  const isCompiled = import.meta.url.endsWith('.js')
  const program = fileURLToPath(new URL(`./shrinking-kills.child${isCompiled ? '.js' : '.ts'}`, import.meta.url))
  const loader = isCompiled ? [] : ['--import', 'tsx']
  // The test runner's own hooks are not for it: they would make it, and what it kills, slow.
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = [...loader, program, join(await tempDir(t), 'data'), `${SEED}`, `${FEWEST}`, `${MOST}`]
  const { status, stdout, stderr } = await finished(spawn(process.execPath, args, { env }))
  t.equal(status, 0, stderr)
  const { wrong, counts } = JSON.parse(stdout) as { wrong: string[]; counts: Record<string, number> }
  t.comment(JSON.stringify(counts))
  t.same(wrong, [])
  t.ok(counts['kills']! >= FEWEST)
  t.ok(!IS_LONG_RUN || counts['superseded']! > 100, 'cleanings took records')
  t.ok(counts['deletedFiles']! > 0, 'some left files to be removed')
  t.ok(!IS_LONG_RUN || (counts['interrupted']! > 0 && counts['retain']! > 0), 'some met a compaction or a retention')
})
