import { PassThrough, Readable } from 'node:stream'
import { runCommandLine } from '../../lib/cli/command-line.ts'

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** Standard output as JSON lines. */
  readonly json: () => Record<string, unknown>[]
}

/** Runs a command in this process, with `input` as its standard input. */
export async function run(
  args: readonly string[],
  input: string | Buffer | readonly Buffer[] = '',
  signal?: AbortSignal
): Promise<Ran> {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const out = gathered(stdout)
  const err = gathered(stderr)
  const chunks = typeof input === 'string' ? [Buffer.from(input)] : Buffer.isBuffer(input) ? [input] : input
  const status = await runCommandLine(args, {
    stdin: Readable.from(chunks),
    stdout,
    stderr,
    interrupted: signal ?? new AbortController().signal
  })
  stdout.end()
  stderr.end()
  const text = (await out).toString()
  const lines = (): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Record<string, unknown>)
  return { status, stdout: text, stderr: (await err).toString(), json: lines }
}

async function gathered(stream: PassThrough): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
