/** One Kafka broker on one data directory: broker and controller in one process (KRaft), on free ports. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type KafkaVersion, kafkaClassPath } from './kafka.ts'

const run = promisify(execFile)
const START_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 60_000
const START_ATTEMPTS = 3
const CLUSTER_ID = 'aGVhcnR3b29kLWludGVyb3'

export interface BrokerOptions {
  readonly version: KafkaVersion
  /** The folder that holds the data directory, `data`, and the broker's settings beside it. */
  readonly dir: string
  /** The data directory, when it is not `DIR/data`. */
  readonly data?: string
  readonly properties?: Readonly<Record<string, string>>
}

/** The broker ended instead of starting; `log` is what it said. */
export class BrokerRefused extends Error {
  override readonly name = 'BrokerRefused'
  readonly log: string

  constructor(log: string) {
    super(`the broker did not start: ${log.slice(-2_000)}`)
    this.log = log
  }
}

export class Broker {
  readonly bootstrap: string
  readonly data: string
  readonly #child: ChildProcess
  readonly #ended: Promise<number | NodeJS.Signals>
  #log = ''

  private constructor(child: ChildProcess, bootstrap: string, data: string) {
    this.#child = child
    this.bootstrap = bootstrap
    this.data = data
    const hear = (chunk: unknown) => {
      this.#log += String(chunk)
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    this.#ended = new Promise(resolve => child.once('close', (code, signal) => resolve(signal ?? code ?? 0)))
  }

  /**
   * Formats the data directory when it is new, starts the broker and waits until it serves.
   * @throws {BrokerRefused} when it ends before that.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await Broker.#startOnce(options)
      } catch (error) {
        // A port was free when we asked, and somebody else's, of another test perhaps, when the broker wanted it.
        const wasTaken = error instanceof BrokerRefused && error.log.includes('Address already in use')
        if (!wasTaken || attempt === START_ATTEMPTS) throw error
      }
    }
  }

  static async #startOnce(options: BrokerOptions): Promise<Broker> {
    const { version, dir } = options
    const data = options.data ?? join(dir, 'data')
    const [port, controllerPort] = await freePorts()
    const settings = join(dir, 'server.properties')
    mkdirSync(dir, { recursive: true })
    writeFileSync(settings, brokerProperties(data, port, controllerPort, options.properties ?? {}))
    const classPath = await kafkaClassPath(version)
    if (!existsSync(join(data, 'meta.properties'))) {
      const format = ['-cp', classPath, 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', settings]
      await run('java', format, { timeout: START_LIMIT_MS })
    }
    const jvm = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', classPath]
    const child = spawn('java', [...jvm, 'Bound', 'kafka.Kafka', settings], {
      stdio: ['pipe', 'pipe', 'pipe'],
      cwd: dir
    })
    const broker = new Broker(child, `127.0.0.1:${port}`, data)
    await broker.#serving()
    return broker
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Everything it has logged. */
  get log(): string {
    return this.#log
  }

  /** Ends it and waits until it is gone. SIGTERM is a clean stop, and fails when it is none. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const running = this.#child.exitCode === null && this.#child.signalCode === null
    if (running) this.#child.kill(signal)
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_LIMIT_MS)
    const how = await this.#ended
    clearTimeout(late)
    // The JVM gives 143 when it ended in order after a SIGTERM.
    if (signal === 'SIGTERM' && running && how !== 0 && how !== 143 && how !== 'SIGTERM') {
      throw new Error(`the broker ended with ${how}: ${this.#log.slice(-2_000)}`)
    }
  }

  async #serving(): Promise<void> {
    const giveUp = performance.now() + START_LIMIT_MS
    while (!this.#log.includes('Kafka Server started')) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        await this.#ended
        throw new BrokerRefused(this.#log)
      }
      if (performance.now() > giveUp) {
        await this.stop('SIGKILL')
        throw new BrokerRefused(`not within ${START_LIMIT_MS} ms: ${this.#log}`)
      }
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

function brokerProperties(
  data: string,
  port: number,
  controllerPort: number,
  more: BrokerOptions['properties']
): string {
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': data,
    // The records' timestamps are fixed, and long ago.
    'log.retention.ms': '-1',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.num.partitions': '1',
    'transaction.state.log.min.isr': '1',
    'auto.create.topics.enable': 'false',
    // After a SIGKILL the controller, itself just started, lets nobody in under this id until the old session ends.
    'broker.session.timeout.ms': '1000',
    'broker.heartbeat.interval.ms': '250',
    ...more
  }
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()]
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    ports.push(typeof address === 'object' && address !== null ? address.port : 0)
  }
  for (const server of servers) await new Promise(resolve => server.close(resolve))
  return [ports[0] ?? 0, ports[1] ?? 0]
}
