/** A share of the crash points; `npm run test:simulation` tries every one. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { WAYS, WORKLOADS } from './crash-points.ts'

t.setTimeout(400_000)

const run = promisify(execFile)
const program = fileURLToPath(new URL(`./crash-points.child${import.meta.url.slice(-3)}`, import.meta.url))

for (const [workloadAt, workload] of WORKLOADS.entries()) {
  t.test(`wherever it ends or fails, what was promised is kept: ${workload.name}`, async t => {
    for (const wayAt of WAYS.keys()) {
      const args = [workloadAt, wayAt, 3 * workloadAt + wayAt, 300].map(String)
      const { stdout } = await run(process.execPath, [...process.execArgv, program, ...args]).catch(error => error)
      const { points, ends, failures } = JSON.parse(stdout)
      t.same(failures, [])
      t.ok(points >= 1 && ends >= 3, stdout)
    }
  })
}
