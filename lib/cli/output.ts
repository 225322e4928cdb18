/**
 * What a command prints. Standard output carries results and nothing else; messages and progress go to standard
 * error. Output is gathered into large writes and waits for a slow reader, so memory stays bounded.
 */
import type { Writable } from 'node:stream'
import { toLogError } from '../fs/system-errors.ts'
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

const BUFFER_BYTES = 128 * KiB

export class Output {
  readonly #stream: Writable
  /**
   * Buffers go round, so that nothing is left for the garbage collector per record: the stream must have taken the
   * bytes when its callback comes, as files, pipes and sockets do.
   */
  #buffer: Buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  #spare: Buffer | undefined
  #used = 0
  /** What did not fit behind the rest, in order; goes after it. */
  #large: Buffer[] = []
  #flushing: Promise<void> = Promise.resolve()
  #failure: Error | undefined

  constructor(stream: Writable) {
    this.#stream = stream
    // Without a listener the process would end here, with nothing closed; whoever writes next gets the error.
    stream.on('error', (error: Error) => {
      this.#failure ??= whyRefused(error)
    })
  }

  /** Adds a part of a line: text or bytes, which are copied. */
  add(part: string | Uint8Array): void {
    const bound = typeof part === 'string' ? part.length * 3 : part.length
    if (this.#large.length > 0 || bound > this.#buffer.length - this.#used) {
      this.#large.push(typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))
    } else if (typeof part === 'string') {
      this.#used += this.#buffer.write(part, this.#used)
    } else {
      this.#buffer.set(part, this.#used)
      this.#used += part.length
    }
  }

  /** Adds the end of a line. Returns a promise when the caller must wait before it goes on. */
  write(part: string | Uint8Array): Promise<void> | undefined {
    this.add(part)
    return this.#large.length > 0 || this.#used > BUFFER_BYTES / 2 ? this.flush() : undefined
  }

  /** One JSON object on a line of its own. */
  json(value: unknown): Promise<void> | undefined {
    return this.write(`${JSON.stringify(value)}\n`)
  }

  /** Resolves when everything added so far has been taken by the stream. */
  flush(): Promise<void> {
    const flushed = this.#flushing.then(() => this.#send())
    this.#flushing = flushed.catch(() => {})
    return flushed
  }

  async #send(): Promise<void> {
    const buffer = this.#buffer
    const parts = [...(this.#used > 0 ? [buffer.subarray(0, this.#used)] : []), ...this.#large]
    this.#large = []
    this.#used = 0
    this.#buffer = this.#spare ?? Buffer.allocUnsafe(BUFFER_BYTES)
    this.#spare = undefined
    for (const part of parts) await this.#sendPart(part)
    this.#spare = buffer
  }

  async #sendPart(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, error => {
        if (error === null || error === undefined) resolve()
        else reject(this.#failure ?? whyRefused(error))
      })
    })
  }
}

function whyRefused(error: NodeJS.ErrnoException): Error {
  if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return new ClosedPipe()
  return toLogError(error, 'write to', 'standard output')
}
