/** One damage to one file of a small data directory, and what opening and reading it then says. */
import { basename, dirname, join } from 'node:path'
import type { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { MANIFEST_FILE } from '../../lib/log/manifest.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError, type LogError } from '../../lib/util/errors.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { DATA, type Image, put, type Subject } from './damage-subjects.ts'

export type Damage =
  | { readonly kind: 'flip'; readonly path: string; readonly at: number; readonly bit: number }
  | { readonly kind: 'cut'; readonly path: string; readonly at: number }
  | { readonly kind: 'remove'; readonly path: string }

/**
 * - `refused`: a typed error that names the partition or the file, when it was opened or when it was read.
 * - `told`: something is missing, or more is there than was, and the report of the opening or a warning says so.
 * - `harmless`: every answer is what it was.
 * - `unshowable`: an answer is another, which Kafka's format cannot show: the damaged field is under no checksum.
 */
export type Outcome = 'refused' | 'told' | 'harmless' | 'unshowable'

/** All that a reader can ask of a partition. */
interface Answers {
  readonly records: readonly string[]
  readonly committed: readonly string[]
  readonly single: readonly string[]
  readonly byTime: readonly string[]
  readonly errors: readonly LogError[]
  /** Sentences of reports and warnings. */
  readonly told: readonly string[]
}

export class DamageRun {
  readonly #subject: Subject
  readonly #sound: Answers
  readonly #offsets: readonly number[]
  readonly #timestamps: readonly number[]

  private constructor(subject: Subject, sound: Answers, asked: { offsets: number[]; timestamps: number[] }) {
    this.#subject = subject
    this.#sound = sound
    this.#offsets = asked.offsets
    this.#timestamps = asked.timestamps
  }

  static async prepare(subject: Subject): Promise<DamageRun> {
    const offsets: number[] = []
    const timestamps = new Set<number>()
    const store = await openStore(await put(subject.image), true)
    const log = await store.openLog(subject.topic, subject.partition)
    for await (const { offset, timestamp } of log.records()) {
      offsets.push(offset)
      timestamps.add(Number(timestamp))
    }
    await store.close()
    const asked = { offsets: some(offsets), timestamps: some([...timestamps]) }
    const sound = await new DamageRun(subject, NOTHING, asked).#ask(await put(subject.image), true)
    if (sound.errors.length > 0 || sound.records.length === 0) throw new Error(`${subject.name} is not sound`)
    return new DamageRun(subject, sound, asked)
  }

  /**
   * @param modes - opened read-only, to be written, or one after the other.
   * @throws when a wrong answer is given, or none, without a word.
   */
  async try(damage: Damage, modes: readonly boolean[] = [true, false]): Promise<Outcome> {
    const image = damaged(this.#subject.image, damage)
    const outcomes: Outcome[] = []
    for (const readOnly of modes) {
      const answers = await this.#ask(await put(image), readOnly)
      const outcome = this.#judge(answers, damage)
      if (outcome === undefined) throw new Error(this.#wrong(answers, damage, readOnly))
      outcomes.push(outcome)
    }
    return ORDER.find(each => outcomes.includes(each)) as Outcome
  }

  #judge(answers: Answers, damage: Damage): Outcome | undefined {
    const sound = this.#sound
    const names = [`${this.#subject.topic}-${this.#subject.partition}`, basename(damage.path), DATA]
    if (answers.errors.some(({ message }) => !names.some(name => message.includes(name)))) return undefined
    const lists = ['records', 'committed', 'single', 'byTime'] as const
    if (lists.every(list => same(answers[list], sound[list]))) {
      return answers.errors.length > 0 ? 'refused' : 'harmless'
    }
    if (isUnshowable(this.#subject, damage)) return 'unshowable'
    // What is answered at all must be what was written.
    // Where the log start is gone, what lies in front of it shows again.
    const start = Number.parseInt(sound.records[0] as string, 10)
    const isOf = (list: readonly string[]) => (record: string) =>
      list.includes(record) || Number.parseInt(record, 10) < start
    if (!answers.records.every(isOf(sound.records)) || !answers.committed.every(isOf(sound.committed))) return undefined
    if (answers.errors.length > 0) return 'refused'
    return answers.told.some(sentence => !sound.told.includes(sentence)) ? 'told' : undefined
  }

  async #ask(fs: MemoryFileSystem, readOnly: boolean): Promise<Answers> {
    const { topic, partition } = this.#subject
    const errors: LogError[] = []
    const told: string[] = []
    const lists = { records: [] as string[], committed: [] as string[], single: [] as string[], byTime: [] as string[] }
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      try {
        await work()
      } catch (error) {
        if (!isLogError(error)) throw error
        errors.push(error)
      }
    }
    await attempt(async () => {
      const store = await openStore(fs, readOnly)
      await attempt(async () => {
        const log = await store.openLog(topic, partition)
        told.push(...log.recovery.notes.map(({ message }) => message))
        if (log.recovery.foreign) told.push('another engine was here')
        await attempt(() => readInto(lists.records, log, 'read_uncommitted'))
        await attempt(() => readInto(lists.committed, log, 'read_committed'))
        for (const offset of this.#offsets)
          await attempt(async () => void lists.single.push(textOf(await log.get(offset))))
        for (const timestamp of this.#timestamps)
          await attempt(async () => {
            const found = await log.offsetForTimestamp(timestamp)
            lists.byTime.push(`${timestamp}: ${found?.offset} ${found?.timestamp}`)
          })
      })
      const { warnings, failed, directories } = store.status()
      errors.push(...failed.map(({ error }) => error))
      told.push(...warnings, ...directories.flatMap(({ otherEngine }) => otherEngine ?? []))
      await attempt(() => store.close())
    })
    return { ...lists, errors, told }
  }

  #wrong(answers: Answers, damage: Damage, readOnly: boolean): string {
    const differing = (['records', 'committed', 'single', 'byTime'] as const).flatMap(list => {
      const i = answers[list].findIndex((answer, index) => answer !== this.#sound[list][index])
      if (same(answers[list], this.#sound[list])) return []
      const at = i < 0 ? answers[list].length : i
      return `${list}[${at}] is ${answers[list][at]}, was ${this.#sound[list][at]}`
    })
    const errors = answers.errors.map(({ code, message }) => `${code}: ${message}`)
    return [
      `${this.#subject.name}, ${JSON.stringify(damage)}, ${readOnly ? 'read-only' : 'writable'}`,
      ...differing,
      ...errors.slice(0, 3),
      ...answers.told
    ].join('\n  ')
  }
}

/** Offsets and timestamps that are asked for one by one, at most. */
const ASKED = 8

const ORDER: readonly Outcome[] = ['unshowable', 'told', 'refused', 'harmless']

const NOTHING: Answers = { records: [], committed: [], single: [], byTime: [], errors: [], told: [] }

const same = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((each, i) => each === others[i])

const some = <T>(list: readonly T[]): T[] => list.filter((_, i) => i % Math.ceil(list.length / ASKED) === 0)

function openStore(fs: MemoryFileSystem, readOnly: boolean): Promise<Store> {
  return Store.open(DATA, { fs, readOnly, clock: new ManualClock(), upkeep: { background: false } })
}

async function readInto(list: string[], log: PartitionLog, isolation: 'read_committed' | 'read_uncommitted') {
  for await (const record of log.records({ isolation })) list.push(textOf(record))
}

function textOf(record: LazyRecord | undefined): string {
  if (record === undefined) return 'none'
  const { offset, leaderEpoch, timestamp, key, value, headers } = record
  return `${offset} ${leaderEpoch} ${timestamp} ${key?.toString('latin1')} ${value?.toString('latin1')} ${headers.length}`
}

function damaged(image: Image, damage: Damage): Image {
  const copy = new Map(image)
  const bytes = image.get(damage.path) as Buffer
  if (damage.kind === 'remove') copy.delete(damage.path)
  else if (damage.kind === 'cut') copy.set(damage.path, bytes.subarray(0, damage.at))
  else {
    const flipped = Buffer.from(bytes)
    flipped[damage.at] = (flipped[damage.at] as number) ^ (1 << damage.bit)
    copy.set(damage.path, flipped)
  }
  return copy
}

/** Whether a byte belongs to a field that nothing checks. */
function isUnshowable({ image }: Subject, damage: Damage): boolean {
  // Which transactions were aborted: without a manifest nothing tells, and a segment without one has no such file.
  if (damage.path.endsWith('.txnindex') && !has(image, damage.path, MANIFEST_FILE)) return true
  return (
    damage.kind === 'flip' &&
    join(damage.path).endsWith('.log') &&
    isOutsideCrc(image.get(damage.path) as Buffer, damage.at)
  )
}

const has = (image: Image, path: string, name: string): boolean => image.has(join(dirname(path), name))

/** Base offset (8 bytes) and leader epoch (4 bytes behind the length) of a batch: the CRC covers what follows it. */
function isOutsideCrc(bytes: Buffer, at: number): boolean {
  for (let start = 0; start < bytes.length; start += 12 + bytes.readInt32BE(start + 8)) {
    const within = at - start
    if (within < 8 || (within >= 12 && within < 16)) return true
    if (at < start + 12 + bytes.readInt32BE(start + 8)) return false
  }
  return false
}
