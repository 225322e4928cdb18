import { Readable, Writable } from 'node:stream'
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
  const stdout = new Sink()
  const stderr = new Sink()
  const chunks = typeof input === 'string' ? [Buffer.from(input)] : Buffer.isBuffer(input) ? [input] : input
  const status = await runCommandLine(args, {
    stdin: Readable.from(chunks),
    stdout,
    stderr,
    interrupted: signal ?? new AbortController().signal
  })
  const { text } = stdout
  const lines = (): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Record<string, unknown>)
  return { status, stdout: text, stderr: stderr.text, json: lines }
}

/** Takes bytes as a file or a pipe does: they are its own when the callback comes, and the writer's again. */
class Sink extends Writable {
  readonly #chunks: Buffer[] = []

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#chunks.push(Buffer.from(chunk))
    callback()
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString()
  }
}
