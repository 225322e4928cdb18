/** The bench suite: `npm run bench -- append scan --dir /mnt/disk`. See README.md, "Bench suite". */
import { constants } from 'node:os'
import { join } from 'node:path'
import { runCommandLine } from './harness/command-line.ts'
import { benchFolder, projectRoot } from './harness/questions.ts'

// The first signal ends the measurement that runs and lets the scratch folder be removed; a second one ends us at once.
const interruption = new AbortController()
let signalled: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    signalled = signal
    interruption.abort()
  })

const { stdout, stderr } = process
// Whoever stops reading does not stop the run: the scratch folder has still to be removed.
for (const stream of [stdout, stderr]) stream.on('error', () => {})
runCommandLine(process.argv.slice(2), {
  stdout,
  stderr,
  interrupted: interruption.signal,
  questionFolder: benchFolder,
  resultsFolder: join(projectRoot, 'bench')
}).then(
  status => {
    process.exitCode = signalled === undefined ? status : 128 + constants.signals[signalled]
  },
  (error: unknown) => {
    stderr.write(`bench: ${error instanceof Error ? error.stack : String(error)}\n`)
    process.exitCode = 1
  }
)
