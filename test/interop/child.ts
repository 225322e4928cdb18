/** Starts one of this folder's programs in a process of its own, from the sources as well as from `dist/`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface ProgramOptions {
  readonly node?: string
  readonly nodeOptions?: readonly string[]
}

export class Program {
  readonly #child: ChildProcess
  readonly #ended: Promise<number | NodeJS.Signals>
  #stderr = ''

  /** @param line - called with each line of JSON that the program prints. */
  constructor(name: string, args: readonly string[], line: (line: unknown) => void, options: ProgramOptions = {}) {
    const compiled = import.meta.url.endsWith('.js')
    const path = fileURLToPath(new URL(`./${name}.${compiled ? 'js' : 'ts'}`, import.meta.url))
    const loader = compiled ? [] : ['--import', 'tsx']
    const argv = [...loader, ...(options.nodeOptions ?? []), path, ...args]
    // The test runner's own hooks are not for it: they would write coverage and process reports when it is killed.
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#child = spawn(options.node ?? process.execPath, argv, { stdio: ['pipe', 'pipe', 'pipe'], env })
    this.#child.stderr?.on('data', chunk => {
      this.#stderr = (this.#stderr + String(chunk)).slice(-20_000)
    })
    this.#child.stdin?.on('error', () => {}) // What it did not take is told by its exit.
    createInterface({ input: this.#child.stdout! }).on('line', text => line(JSON.parse(text)))
    this.#ended = new Promise(resolve => this.#child.once('close', (code, signal) => resolve(signal ?? code ?? 0)))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get stderr(): string {
    return this.#stderr
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Ends its input, which is how it is asked to finish. */
  finish(): Promise<number | NodeJS.Signals> {
    this.#child.stdin?.end()
    return this.#ended
  }

  /** Resolves when it is gone and everything it printed has been seen. */
  ended(): Promise<number | NodeJS.Signals> {
    return this.#ended
  }
}
