/**
 * Where a cleaning runs: in a worker thread, where it takes nothing from the program's event loop, or beside the rest.
 *
 * The worker has the file system of the machine and a clock of its own, and knows nothing of logs: it gets a
 * `CleaningInput`, and each group that it has written waits until the log has put it in place. On another file system
 * (tests, simulations) the same procedure runs here.
 */
import { Worker } from 'node:worker_threads'
import type { FileSystem } from '../fs/file-system.ts'
import type { Clock } from '../util/clock.ts'
import { LogError } from '../util/errors.ts'
import { type CleaningOptions, cleanLog } from './cleaner.ts'
import { type FromWorker, receivedError, sentError, type ToWorker, type WorkerJob } from './cleaner-messages.ts'
import { CleaningPace } from './cleaning-pace.ts'
import type { CleanedGroup, CleaningInput, CleaningResult } from './cleaning-types.ts'

export type HostedCleaning = Pick<CleaningOptions, 'signal' | 'onGroup' | 'onProgress'>

export interface CleanerHost {
  readonly kind: 'worker' | 'inline'
  /** As `cleanLog`. */
  clean(input: CleaningInput, options: HostedCleaning): Promise<CleaningResult>
  /** Cleanings stop where they are, and hold what they have. */
  pause(): void
  resume(): void
  /** Bytes a second, read and written together, for each cleaning; `undefined`: no limit. */
  setRate(bytesPerSecond: number | undefined): void
}

/** Runs cleanings where it is called. */
export class InlineHost implements CleanerHost {
  readonly kind = 'inline'
  readonly #fs: FileSystem
  readonly #clock: Clock
  readonly #pace: CleaningPace

  constructor({ fs, clock, bytesPerSecond }: { fs: FileSystem; clock: Clock; bytesPerSecond?: number | undefined }) {
    this.#fs = fs
    this.#clock = clock
    this.#pace = new CleaningPace(clock, bytesPerSecond)
  }

  clean(input: CleaningInput, options: HostedCleaning): Promise<CleaningResult> {
    return cleanLog(input, { ...options, fs: this.#fs, clock: this.#clock, pace: this.#pace })
  }

  pause(): void {
    this.#pace.pause()
  }

  resume(): void {
    this.#pace.resume()
  }

  setRate(bytesPerSecond: number | undefined): void {
    this.#pace.bytesPerSecond = bytesPerSecond
  }
}

/** Runs each cleaning in a worker thread of its own: its memory is the system's again when it ends. */
export class WorkerHost implements CleanerHost {
  readonly kind = 'worker'
  readonly #running = new Set<Worker>()
  #bytesPerSecond: number | undefined
  #isPaused = false

  constructor({ bytesPerSecond }: { bytesPerSecond?: number | undefined } = {}) {
    this.#bytesPerSecond = bytesPerSecond
  }

  async clean(input: CleaningInput, options: HostedCleaning): Promise<CleaningResult> {
    const workerData: WorkerJob = { input, bytesPerSecond: this.#bytesPerSecond, paused: this.#isPaused }
    const worker = new Worker(WORKER_FILE, { workerData, resourceLimits: RESOURCE_LIMITS, name: 'heartwood cleaner' })
    this.#running.add(worker)
    try {
      return await new Cleaning(worker, options).result
    } finally {
      this.#running.delete(worker)
      await worker.terminate()
    }
  }

  pause(): void {
    this.#isPaused = true
    this.#tell({ kind: 'pause' })
  }

  resume(): void {
    this.#isPaused = false
    this.#tell({ kind: 'resume' })
  }

  setRate(bytesPerSecond: number | undefined): void {
    this.#bytesPerSecond = bytesPerSecond
    this.#tell({ kind: 'rate', bytesPerSecond })
  }

  #tell(message: ToWorker): void {
    for (const worker of this.#running) worker.postMessage(message)
  }
}

/** One worker's side of the talk. */
class Cleaning {
  readonly result: Promise<CleaningResult>
  readonly #worker: Worker
  readonly #options: HostedCleaning

  constructor(worker: Worker, options: HostedCleaning) {
    this.#worker = worker
    this.#options = options
    this.result = new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'done') resolve(message.result)
        else if (message.kind === 'failed') reject(receivedError(message.error))
        else if (message.kind === 'progress') options.onProgress?.(message.progress)
        else void this.#place(message.group)
      })
      worker.on('error', error => reject(workerFailed(error)))
      worker.on('exit', code => reject(workerFailed(new Error(`it ended with exit code ${code}`))))
    })
    const cancel = (): void => this.#tell({ kind: 'cancel' })
    if (options.signal?.aborted === true) cancel()
    options.signal?.addEventListener('abort', cancel)
    const forget = (): void => options.signal?.removeEventListener('abort', cancel)
    this.result.then(forget, forget)
  }

  async #place(group: CleanedGroup): Promise<void> {
    try {
      await this.#options.onGroup(group)
      this.#tell({ kind: 'placed' })
    } catch (error) {
      this.#tell({ kind: 'refused', error: sentError(error) })
    }
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message)
  }
}

function workerFailed(error: Error): LogError {
  return new LogError('STORAGE_FAILED', `the cleaner's worker thread failed: ${error.message}`, {}, error)
}

const WORKER_FILE = new URL('./cleaner-worker.js', import.meta.url)
/** Nothing of it lives long but the map and the buffers, which are no objects of the heap. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 64 }
