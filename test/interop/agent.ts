/** Kafka's clients and tools, as one Java process that takes JSON commands: see `java/Agent.java`. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type KafkaVersion, kafkaClassPath } from './kafka.ts'

export type Isolation = 'read_committed' | 'read_uncommitted'

/** A record as the tests describe it: every byte string in hex. */
export interface TestRecord {
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [name: string, value: string | null])[]
  /** Milliseconds; `undefined` when the log sets it, and it is only known once the record was read. */
  readonly timestamp: number | undefined
}

/** A record as somebody read it. */
export interface SeenRecord extends TestRecord {
  readonly offset: number
  readonly leaderEpoch: number | null
  readonly timestamp: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
}

export interface PartitionName {
  readonly topic: string
  readonly partition: number
}

export interface ProduceCommand extends PartitionName {
  readonly records: readonly TestRecord[]
  /** Settings of the producer, as Kafka names them. */
  readonly config?: Readonly<Record<string, string>>
  /** Most records of a batch. */
  readonly batch: number
  readonly end?: 'commit' | 'abort' | 'open'
}

export interface Produced {
  /** By the record's index; `undefined` for one that was not acknowledged. */
  readonly offsets: readonly (number | undefined)[]
  readonly problem?: string
}

interface Pending {
  readonly line: (line: unknown) => void
  readonly done: (done: unknown) => void
  readonly failed: (problem: Error) => void
}

export class Agent {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #pending: Pending[] = []
  #stderr = ''

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    child.stderr.on('data', chunk => {
      this.#stderr = (this.#stderr + String(chunk)).slice(-20_000)
    })
    createInterface({ input: child.stdout }).on('line', text => this.#receive(JSON.parse(text)))
    child.on('exit', code => {
      const problem = new Error(`the Java agent ended with ${code}: ${this.#stderr}`)
      for (const pending of this.#pending.splice(0)) pending.failed(problem)
    })
    child.stdin.on('error', () => {}) // What it did not take is told by its exit.
  }

  /** @param version - of the clients; a broker of either version understands them. */
  static async start(version: KafkaVersion): Promise<Agent> {
    const quiet = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=error', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
    return new Agent(spawn('java', ['-Xmx512m', ...quiet, '-cp', await kafkaClassPath(version), 'Agent']))
  }

  createTopic(bootstrap: string, topic: string, partitions: number, configs: Record<string, string>): Promise<unknown> {
    return this.#call({ op: 'create-topic', bootstrap, topic, partitions, configs })
  }

  async deleteRecords(bootstrap: string, partition: PartitionName, before: number): Promise<number> {
    const done = await this.#call({ op: 'delete-records', bootstrap, ...partition, before })
    return (done as { logStartOffset: number }).logStartOffset
  }

  /** `[query, offset, timestamp]` for each query, nulls where there is no such record. */
  async listOffsets(
    bootstrap: string,
    partition: PartitionName,
    isolation: Isolation,
    queries: readonly (number | string)[]
  ): Promise<[query: number | string, offset: number | null, timestamp: number | null][]> {
    const done = await this.#call({ op: 'list-offsets', bootstrap, ...partition, isolation, queries })
    return done as [number | string, number | null, number | null][]
  }

  async endOffsets(
    bootstrap: string,
    partition: PartitionName,
    isolation: Isolation
  ): Promise<{ logStartOffset: number; end: number }> {
    const done = await this.#call({ op: 'end-offsets', bootstrap, ...partition, isolation })
    return done as { logStartOffset: number; end: number }
  }

  /** Everything from the first record to the end, as the isolation level has it. */
  async consume(bootstrap: string, partition: PartitionName, isolation: Isolation): Promise<SeenRecord[]> {
    const records: SeenRecord[] = []
    await this.#call({ op: 'consume', bootstrap, ...partition, isolation }, line => records.push(line as SeenRecord))
    return records
  }

  /** Resolves also when the broker is gone in the middle: then some offsets are missing. */
  async produce(bootstrap: string, command: ProduceCommand, acknowledged?: (count: number) => void): Promise<Produced> {
    const offsets = new Array<number | undefined>(command.records.length).fill(undefined)
    let count = 0
    const done = await this.#call({ op: 'produce', bootstrap, config: {}, ...command }, line => {
      const { index, offset } = line as { index: number; offset: number }
      offsets[index] = offset
      count += 1
      acknowledged?.(count)
    })
    const { problem } = done as { problem?: string }
    return problem === undefined ? { offsets } : { offsets, problem }
  }

  /** Gives up the transactions that were left open, without ending them. */
  abandon(): Promise<unknown> {
    return this.#call({ op: 'abandon' })
  }

  /** What DumpLogSegments prints about these files. */
  async dump(files: readonly string[]): Promise<{ out: string; err: string }> {
    return (await this.#call({ op: 'dump', files })) as { out: string; err: string }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.stdin.end()
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(late)
  }

  #call(command: object, line: (line: unknown) => void = () => {}): Promise<unknown> {
    return new Promise((done, failed) => {
      this.#pending.push({ line, done, failed })
      this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    })
  }

  #receive(answer: { done?: unknown; error?: string }): void {
    const pending = this.#pending[0]
    if (pending === undefined) return
    if (!('done' in answer) && !('error' in answer)) {
      pending.line(answer)
      return
    }
    this.#pending.shift()
    if (answer.error === undefined) pending.done(answer.done)
    else pending.failed(new Error(`${answer.error}\n${this.#stderr.slice(-2_000)}`))
  }
}
