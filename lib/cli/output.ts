/**
 * What a command prints. Standard output carries results and nothing else; messages and progress go to standard
 * error. Output is gathered into large writes and waits for a slow reader, so memory stays bounded.
 */
import type { Writable } from 'node:stream'
import { KiB } from '../util/sizes.ts'

/** Raised inside a command when its reader has gone (`| head`): it stops quietly. */
export class ClosedPipe extends Error {}

/** Where a command reads and writes: the process's own streams, or a test's. */
export interface Terminal {
  readonly stdin: NodeJS.ReadableStream
  readonly stdout: Writable
  readonly stderr: Writable
  /** Aborts on Ctrl-C. */
  readonly interrupted: AbortSignal
}

const FLUSH_BYTES = 64 * KiB

export class Output {
  readonly #stream: Writable
  #parts: (string | Uint8Array)[] = []
  #size = 0
  #closed = false

  constructor(stream: Writable) {
    this.#stream = stream
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') this.#closed = true
      else throw error
    })
  }

  /** Adds text or bytes. Returns a promise when the caller must wait before adding more. */
  write(part: string | Uint8Array): Promise<void> | undefined {
    this.#parts.push(part)
    this.#size += part.length
    return this.#size >= FLUSH_BYTES ? this.flush() : undefined
  }

  /** One JSON object on a line of its own. */
  json(value: unknown): Promise<void> | undefined {
    return this.write(`${JSON.stringify(value)}\n`)
  }

  /** Resolves when everything has been taken by the stream. */
  async flush(): Promise<void> {
    if (this.#closed) throw new ClosedPipe()
    if (this.#size === 0) return
    const bytes = joined(this.#parts)
    this.#parts = []
    this.#size = 0
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, error => {
        if (error === null || error === undefined) resolve()
        else if (this.#closed || (error as NodeJS.ErrnoException).code === 'EPIPE') reject(new ClosedPipe())
        else reject(error)
      })
    })
  }
}

function joined(parts: readonly (string | Uint8Array)[]): Uint8Array {
  if (parts.every(part => typeof part === 'string')) return Buffer.from(parts.join(''))
  return Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)))
}
