/**
 * Which parts of the library have been run: V8's block coverage, as counted by the engine itself.
 *
 * Only one process at a time can use it for itself, and counting slows the code, so a fuzzing child has it alone.
 */
import { type Profiler, Session } from 'node:inspector'

export class Coverage {
  readonly #session = new Session()
  /** Of each script, which ranges have been run. */
  readonly #seen = new Map<string, Set<string>>()
  readonly #suffixes: readonly string[]

  /** @param modules - below `lib/`, without ending. */
  constructor(modules: readonly string[]) {
    this.#suffixes = modules.flatMap(module => [`/lib/${module}.js`, `/lib/${module}.ts`])
    this.#session.connect()
    this.#post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true }, () => {})
  }

  /** Ranges seen in all. */
  get size(): number {
    let sum = 0
    for (const ranges of this.#seen.values()) sum += ranges.size
    return sum
  }

  /** How many ranges have been run for the first time since the last call. */
  takeNew(): number {
    let found = 0
    for (const { url, functions } of this.#take()) {
      if (!this.#suffixes.some(suffix => url.endsWith(suffix))) continue
      const seen = this.#seen.get(url) ?? new Set()
      this.#seen.set(url, seen)
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          // How often, by powers of four: a loop that goes round more often is new as well.
          const often = count === 0 ? -1 : Math.min(6, Math.floor(Math.log2(count) / 2))
          const key = `${startOffset}-${endOffset}-${often}`
          if (often < 0 || seen.has(key)) continue
          seen.add(key)
          found += 1
        }
      }
    }
    return found
  }

  close(): void {
    this.#session.disconnect()
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let result: readonly Profiler.ScriptCoverage[] = []
    // On its own thread a session answers before `post` returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error !== null) throw error
      result = taken.result
    })
    return result
  }

  #post(method: 'Profiler.enable'): void {
    this.#session.post(method, error => {
      if (error !== null) throw error
    })
  }
}
