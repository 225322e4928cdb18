/** Runs one task in a process of its own, within a time limit. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Answer, Task } from './outcome.ts'
import { EXTENSION } from './questions.ts'

/** What is kept of a child's output, bytes: enough for an answer and for the end of a stack. */
const MAX_OUTPUT_CHARACTERS = 1024 * 1024

const child = fileURLToPath(new URL(`../child${EXTENSION}`, import.meta.url))

/**
 * @param options.timeLimitMs - the child and all that it started are killed after this time.
 * @param options.interrupted - kills them too; the answer is then an error.
 * @returns never rejects: whatever goes wrong is an `error`.
 */
export function runTask(
  task: Task,
  options: { readonly timeLimitMs: number; readonly interrupted: AbortSignal }
): Promise<Answer> {
  const { timeLimitMs, interrupted } = options
  if (interrupted.aborted) return Promise.resolve({ error: 'interrupted' })
  return new Promise(resolve => {
    // A group of its own, so that processes which a question starts end with it.
    const started = spawn(process.execPath, [...process.execArgv, child, JSON.stringify(task)], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    let stdout = ''
    let stderr = ''
    let killedFor: string | undefined
    const kill = (reason: string): void => {
      killedFor ??= reason
      killGroup(started.pid)
    }
    const timer = setTimeout(() => kill(`took longer than ${timeLimitMs / 1000} s`), timeLimitMs)
    const onInterrupt = (): void => kill('interrupted')
    interrupted.addEventListener('abort', onInterrupt, { once: true })
    const finish = (answer: Answer): void => {
      clearTimeout(timer)
      interrupted.removeEventListener('abort', onInterrupt)
      resolve(answer)
    }
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout = (stdout + text).slice(-MAX_OUTPUT_CHARACTERS)
    })
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-MAX_OUTPUT_CHARACTERS)
    })
    started.on('error', error => finish({ error: `cannot start a process: ${error.message}` }))
    started.on('close', (status, signal) => {
      killGroup(started.pid) // What it left running would disturb the next one.
      finish(killedFor === undefined ? readAnswer(stdout, stderr, status, signal) : { error: killedFor })
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

function readAnswer(stdout: string, stderr: string, status: number | null, signal: string | null): Answer {
  const line = stdout.trimEnd().split('\n').at(-1) ?? ''
  try {
    return check(JSON.parse(line) as Answer)
  } catch {
    const last = stderr.trim().split('\n').slice(-6).join('\n')
    return {
      error: `ended with ${signal ?? `status ${status}`} and without an answer${last === '' ? '' : `: ${last}`}`
    }
  }
}

function check(answer: Answer): Answer {
  if (!('measurement' in answer)) return answer
  const { value, extras = {} } = answer.measurement
  // JSON has no NaN and no Infinity: they arrive as null.
  for (const [name, figure] of Object.entries({ ...extras, value }))
    if (typeof figure !== 'number' || figure < 0) return { error: `${name} is no number: ${JSON.stringify(figure)}` }
  return answer
}
