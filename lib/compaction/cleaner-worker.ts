/** The thread that a cleaning runs in: see cleaner-host.ts. */
import { getPriority, setPriority } from 'node:os'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { nodeFileSystem } from '../fs/node-file-system.ts'
import { systemClock } from '../util/clock.ts'
import { cleanLog } from './cleaner.ts'
import { type FromWorker, receivedError, sentError, type ToWorker, type WorkerJob } from './cleaner-messages.ts'
import { CleaningPace } from './cleaning-pace.ts'
import type { CleanedGroup, CleaningProgress } from './cleaning-types.ts'

const PROGRESS_EVERY_MS = 100
/** Steps of Unix niceness that a cleaning stands behind the program's own threads; idle processors it has all the same. */
const STEPS_BEHIND = 10
const LAST_STEP = 19

class Work {
  readonly #port: MessagePort
  readonly #job: WorkerJob
  readonly #pace: CleaningPace
  readonly #cancelling = new AbortController()
  /** Of the group that waits to be put in place. */
  #placed: { resolve(): void; reject(error: unknown): void } | undefined
  #toldAt = Number.NEGATIVE_INFINITY

  constructor(port: MessagePort, job: WorkerJob) {
    this.#port = port
    this.#job = job
    this.#pace = new CleaningPace(systemClock, job.bytesPerSecond)
    if (job.paused) this.#pace.pause()
    port.on('message', (message: ToWorker) => this.#hear(message))
  }

  async run(): Promise<void> {
    try {
      const result = await cleanLog(this.#job.input, {
        fs: nodeFileSystem,
        clock: systemClock,
        pace: this.#pace,
        signal: this.#cancelling.signal,
        onGroup: group => this.#hand(group),
        onProgress: progress => this.#report(progress)
      })
      this.#tell({ kind: 'done', result })
    } catch (error) {
      this.#tell({ kind: 'failed', error: sentError(error) })
    }
  }

  #hear(message: ToWorker): void {
    if (message.kind === 'placed') this.#placed?.resolve()
    else if (message.kind === 'refused') this.#placed?.reject(receivedError(message.error))
    else if (message.kind === 'cancel') this.#cancelling.abort()
    else if (message.kind === 'pause') this.#pace.pause()
    else if (message.kind === 'rate') this.#pace.bytesPerSecond = message.bytesPerSecond
    else this.#pace.resume()
  }

  #hand(group: CleanedGroup): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#placed = { resolve, reject }
      this.#tell({ kind: 'group', group })
    })
  }

  /** Now and then: each message costs the program's event loop something. */
  #report(progress: CleaningProgress): void {
    const now = systemClock.monotonic()
    if (now - this.#toldAt < PROGRESS_EVERY_MS) return
    this.#toldAt = now
    this.#tell({ kind: 'progress', progress })
  }

  #tell(message: FromWorker): void {
    this.#port.postMessage(message)
  }
}

/** On Linux alone: elsewhere threads have no niceness of their own, and the whole process would be slow. */
function standBehind(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(Math.min(getPriority() + STEPS_BEHIND, LAST_STEP))
  } catch {
    // A sandbox may forbid it; nothing depends on it.
  }
}

standBehind()
if (parentPort !== null) void new Work(parentPort, workerData as WorkerJob).run()
