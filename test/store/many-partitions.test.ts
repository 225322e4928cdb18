import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

/** From `dist/` the compiled program, from the sources the source, with the loader that this process has. */
const program = fileURLToPath(new URL(`./many-partitions.child${extname(import.meta.url)}`, import.meta.url))

t.test(
  '2,000 partitions are written and read with 256 descriptors',
  { skip: !existsSync('/proc/self/fd') },
  async t => {
    // In memory where there is such a folder: what is asked is descriptors, not how fast the disk syncs.
    const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'heartwood-test-'))
    t.teardown(() => rm(dir, { recursive: true, force: true }))
    const command = 'ulimit -n 256 && exec "$@"'
    const args = ['-c', command, 'sh', process.execPath, ...process.execArgv, program, join(dir, 'data')]
    const { stdout } = await promisify(execFile)('sh', args, { timeout: 110_000 })
    const report = JSON.parse(stdout)
    t.comment(stdout)
    t.equal(report.maxOpen, 192)
    t.ok(report.descriptors < 256, `${report.descriptors} descriptors`)
    t.equal(report.opened, 1, 'after a clean close, opening one log opens no other')
    t.equal(report.ends, 2000, 'every record is there')
  }
)
