/** All that a writer has told of its logs, and the looks at the store that hold it to that. */
import { cpSync, lstatSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoreOptions } from '../../lib/index.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { readWhole } from './found.ts'
import type { Line, Resume } from './lines.ts'
import { type Ending, LogModel, type SavedModel } from './model.ts'
import { TOPICS } from './topics.ts'

export interface SavedLedger {
  readonly models: Readonly<Record<string, SavedModel>>
  readonly lastNumber: number
}

/** The store looks after nothing by itself while it is being looked at. */
const QUIET: StoreOptions = { upkeep: { background: false } }

export class Ledger {
  readonly #models: ReadonlyMap<string, LogModel>
  readonly #logOf = new Map<number, LogModel>()
  #lastNumber = 0
  readonly #lines: Line[] = []
  /** What no circumstances allow, as the writer said or its lines showed. */
  readonly wrong: string[] = []
  readonly counts: Record<string, number> = { acked: 0, opened: 0, closed: 0, held: 0, truncated: 0, recovered: 0 }
  /** Codes of what was refused, with how often. */
  readonly codes: Record<string, number> = {}

  constructor(saved?: SavedLedger) {
    this.#models = new Map(
      Object.entries(TOPICS).map(([topic, rules]) => [topic, new LogModel(topic, rules, saved?.models[topic])])
    )
    this.#lastNumber = saved?.lastNumber ?? 0
    for (const [topic, { appends = [] } = {}] of Object.entries(saved?.models ?? {}))
      for (const { line } of appends) this.#logOf.set(line.sent, this.#models.get(topic)!)
  }

  save(): SavedLedger {
    const models = Object.fromEntries([...this.#models].map(([topic, model]) => [topic, model.save()]))
    return { models, lastNumber: this.#lastNumber }
  }

  /** Keeps the store and all lines for somebody to look at, when something is wrong. Says where. */
  keep(dir: string): void {
    if (this.wrong.length === 0) return
    const kept = mkdtempSync(join(tmpdir(), 'heartwood-found-'))
    // The lock is a socket, which cannot be copied.
    cpSync(dir, join(kept, 'data'), { recursive: true, filter: path => !lstatSync(path).isSocket() })
    writeFileSync(join(kept, 'lines'), this.#lines.map(line => `${JSON.stringify(line)}\n`).join(''))
    writeFileSync(join(kept, 'wrong'), `${this.wrong.join('\n')}\n`)
    this.wrong.push(`kept in ${kept}`)
  }

  get firstNumber(): number {
    return this.#lastNumber
  }

  resume(): Resume[] {
    return [...this.#models.values()].map(model => model.resume()).filter(each => each !== undefined)
  }

  tell(line: Line): void {
    this.#lines.push(line)
    try {
      this.#tell(line)
    } catch (error) {
      this.wrong.push((error as Error).message)
    }
  }

  #tell(line: Line): void {
    if ('wrong' in line) this.wrong.push(line.wrong)
    else if ('sent' in line) {
      this.#lastNumber = Math.max(this.#lastNumber, line.sent)
      const model = this.#models.get(line.log)!
      this.#logOf.set(line.sent, model)
      model.tell(line)
    } else if ('acked' in line || 'safe' in line || 'refused' in line) {
      const number = 'acked' in line ? line.acked : 'safe' in line ? line.safe : line.refused
      if ('acked' in line) this.counts['acked']! += 1
      if ('refused' in line) this.#count(line.code)
      this.#logOf.get(number)!.tell(line)
    } else if ('cutting' in line) this.#models.get(line.cutting)!.tell(line)
    else if ('cut' in line) this.#models.get(line.cut)!.tell(line)
    else if ('trimming' in line) this.#models.get(line.trimming)!.tell(line)
    else if ('trimmed' in line) this.#models.get(line.trimmed)!.tell(line)
    else if ('failed' in line) {
      this.#count(line.code)
      // The store is closed nevertheless, and says that something could not be written.
      if (line.failed === 'close') this.ended('kill')
    } else if ('opened' in line) this.counts['opened']! += 1
    else if ('closed' in line) {
      this.counts['closed']! += 1
      for (const model of this.#models.values()) model.tell(line)
    }
  }

  #count(code: string): void {
    this.codes[code] = (this.codes[code] ?? 0) + 1
  }

  /** The next writer goes on without `recover`. */
  ended(ending: Ending): void {
    for (const model of this.#models.values()) model.ended(ending)
  }

  /** Reads every log as somebody who changes nothing. */
  async look(dir: string, ending: Ending): Promise<void> {
    let store: Store
    try {
      store = await Store.open(dir, { ...QUIET, readOnly: true })
    } catch (error) {
      // Ended before there was a data directory.
      if (isLogError(error, 'NOT_A_DATA_DIRECTORY') && this.#isFresh) return
      throw error
    }
    try {
      for (const { topic } of store.topics()) await this.#lookAt(store, topic, ending)
    } finally {
      await store.close()
    }
  }

  async #lookAt(store: Store, topic: string, ending: Ending): Promise<void> {
    try {
      const found = await readWhole(await store.openLog(topic, 0))
      this.wrong.push(
        ...this.#model(topic)
          .check(found, ending, false)
          .map(each => `read-only: ${each}`)
      )
    } catch (error) {
      // Nobody may read a log whose segments are just being replaced; who recovers it will.
      if (!isLogError(error, 'CORRUPT_LOG') || !error.message.includes('in the middle of a compaction')) throw error
    }
  }

  /** Opens the store as the next writer would, which recovers it, and reads every log. */
  async recover(dir: string, ending: Ending): Promise<void> {
    const store = await openWhenFree(dir)
    try {
      for (const { topic, error } of store.status().failed)
        this.wrong.push(`${topic} cannot be opened: ${error.code} ${error.message}`)
      const topics = new Set(store.topics().map(({ topic }) => topic))
      for (const [topic, model] of this.#models) {
        if (topics.has(topic)) await this.#recoverLog(store, topic, model, ending)
        else if (model.save().appends.length > 0) this.wrong.push(`topic ${topic} is gone`)
      }
      const isDamaged = this.wrong.length > 0
      // What is wrong is left for somebody to look at, as it is.
      if (!isDamaged) await store.close()
      for (const model of this.#models.values()) if (!isDamaged) model.tell({ closed: dir })
    } finally {
      await store.close()
    }
  }

  async #recoverLog(store: Store, topic: string, model: LogModel, ending: Ending): Promise<void> {
    const log = await store.openLog(topic, 0)
    const before = model.held
    const found = model.check(await readWhole(log), ending, true)
    const { recovery } = log
    if (recovery.truncatedBytes > 0) this.counts['truncated']! += 1
    if (!recovery.clean) this.counts['recovered']! += 1
    this.counts['held']! += model.held - before
    this.wrong.push(...found)
    // R9: what is cut off is told.
    if (recovery.truncatedBytes > 0 && recovery.truncatedFrom === undefined)
      this.wrong.push(`${topic}: ${recovery.truncatedBytes} bytes were cut off, and the report does not say where`)
  }

  get #isFresh(): boolean {
    return [...this.#models.values()].every(model => model.save().appends.length === 0)
  }

  #model(topic: string): LogModel {
    const model = this.#models.get(topic)
    if (model === undefined) throw new Error(`a topic ${topic} is there that nobody made`)
    return model
  }
}

/** The system may take a moment to close what a dead process had open, and a busy writer to notice that it is alone. */
export async function openWhenFree(dir: string): Promise<Store> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await Store.open(dir, QUIET)
    } catch (error) {
      if (!isLogError(error, 'LOCKED') || tries === 3000) throw error
      await sleep(10)
    }
  }
}
