#!/usr/bin/env node
import { runCommandLine } from './command-line.ts'

// Ctrl-C stops a command at a record boundary and lets it close; a second one ends the process at once.
const interruption = new AbortController()
let signalled: NodeJS.Signals | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    signalled = signal
    interruption.abort()
  })
}

runCommandLine(process.argv.slice(2), { ...processStreams(), interrupted: interruption.signal }).then(
  status => {
    process.exitCode = signalled === 'SIGTERM' && status === 130 ? 143 : status
    // Standard input may still be open when a command stops early.
    process.stdin.destroy()
  },
  (error: unknown) => {
    // A defect of ours: everything expected became a status.
    process.stderr.write(`heartwood: internal error: ${error instanceof Error ? error.stack : String(error)}\n`)
    process.exitCode = 1
  }
)

function processStreams(): { stdin: NodeJS.ReadStream; stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream } {
  return { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }
}
