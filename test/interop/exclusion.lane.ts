/** One writer: a broker and heartwood keep each other out of a data directory, with fs-ext and without. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { isLogError, Store } from '../../lib/index.ts'
import { tempDir } from '../helpers/paths.ts'
import { nodeBinary } from '../lanes/node-versions.ts'
import { BrokerRefused } from './broker.ts'
import { Program } from './child.ts'
import { Cluster } from './cluster.ts'
import { interopSkip, KAFKA_VERSIONS } from './kafka.ts'

const compiled = import.meta.url.endsWith('.js')
const WITHOUT_FS_EXT = fileURLToPath(new URL(`./without-fs-ext.${compiled ? 'js' : 'ts'}`, import.meta.url))

/** Ways to keep a broker out, and which of them is at work. */
const HOLDERS = [
  { name: 'on Node 20 with fs-ext', major: 20, fsExt: true, lock: 'fcntl' },
  { name: 'on Node 22 without fs-ext', major: 22, fsExt: false, lock: 'sqlite' },
  { name: 'on Node 24 without fs-ext', major: 24, fsExt: false, lock: 'sqlite' }
] as const

interface Said {
  readonly lock?: string
  readonly code?: string
  readonly message?: string
}

/** Opens the directory in a process of its own; resolves when that has it, or was refused. */
async function hold(
  dir: string,
  how: { major: 20 | 22 | 24; fsExt: boolean }
): Promise<{ program: Program; said: Said }> {
  let program: Program | undefined
  const said = await new Promise<Said>((resolve, reject) => {
    const nodeOptions = how.fsExt ? [] : ['--import', WITHOUT_FS_EXT]
    const options = { node: nodeBinary(how.major), nodeOptions }
    program = new Program('holder', [dir], line => resolve(line as Said), options)
    program.ended().then(code => reject(new Error(`the holder ended with ${code}: ${program?.stderr}`)))
  })
  return { program: program!, said }
}

async function refusedByBroker(t: Test, cluster: Cluster): Promise<void> {
  const problem = await Store.open(cluster.data).then(
    () => undefined,
    problem => problem
  )
  t.ok(isLogError(problem, 'LOCKED'), 'heartwood is refused')
  t.match(
    String(problem?.message),
    new RegExp(`\\b${cluster.broker.pid}\\b`),
    'and told which process has the directory'
  )
  t.match(String(problem?.message), /kafka/i, 'and what it is')
  const unlocked = await Store.open(cluster.data, { readOnly: true })
  t.ok(unlocked.topics().length > 0, 'reading is not refused')
  await unlocked.close()
  for (const holder of HOLDERS) {
    const { said, program } = await hold(cluster.data, holder)
    t.equal(said.code, 'LOCKED', `refused ${holder.name} too`)
    t.match(said.message, new RegExp(`\\b${cluster.broker.pid}\\b`))
    await program.finish()
  }
}

for (const version of KAFKA_VERSIONS) {
  t.test(`heartwood and Kafka ${version} exclude each other`, { skip: interopSkip() }, async t => {
    const cluster = await Cluster.create(await tempDir(t), version)
    t.teardown(() => cluster.end())
    await t.test('while the broker runs', t => refusedByBroker(t, cluster))
    await cluster.stop()

    for (const holder of HOLDERS) {
      await t.test(`while heartwood has it, ${holder.name}`, async t => {
        const { program, said } = await hold(cluster.data, holder)
        t.equal(said.lock, holder.lock)
        const problem = await cluster.start().then(
          () => undefined,
          problem => problem
        )
        t.type(problem, BrokerRefused)
        t.match((problem as BrokerRefused).log, /Failed to acquire lock on file \.lock/)
        const second = await Store.open(cluster.data).then(
          () => undefined,
          problem => problem
        )
        t.ok(isLogError(second, 'LOCKED'), 'a second heartwood is refused')
        t.match(String(second?.message), new RegExp(`\\b${program.pid}\\b`))
        t.equal(await program.finish(), 0, program.stderr)
        t.ok(existsSync(join(cluster.data, '.kafka_cleanshutdown')), 'the refused broker has not touched the directory')
      })
    }

    t.same(await cluster.start(), [], 'after all that the broker finds the directory clean')
    t.same(await cluster.differences(), [])
  })
}
