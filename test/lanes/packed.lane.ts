/**
 * The package as its users get it: `npm pack`'s tarball, installed without install scripts in an empty project, used
 * through `import`, `require` and the command line on every Node.js that `engines` promises, its types checked.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { projectRoot, tempDir } from '../helpers/paths.ts'
import { NODE_MAJORS, nodeBinary } from './node-versions.ts'

const ROUND_TRIP = `
async function roundTrip({ Store, isLogError }, dir) {
  const store = await Store.open(dir)
  const log = await store.openLog('orders', 0)
  const ack = await log.append([{ key: 'o-1', value: '{"total":12}', headers: [['trace', 'ab']] }, { value: 'second' }])
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) await log.append([{ value: compression }], { compression })
  const values = []
  for await (const record of log.records({ from: ack.baseOffset })) values.push(record.value.toString())
  await store.createTopic('table', { configs: { 'cleanup.policy': 'compact' } })
  const table = await store.openLog('table', 0)
  await table.append([{ key: 'k', value: 'old' }, { key: 'k', value: 'new' }])
  await table.roll()
  const { partitions } = await store.compact({ topics: ['table'] })
  const { cleanerHost } = store.status().upkeep
  const kept = partitions[0].cleaned.stats.recordsKept
  await store.close()
  const again = await Store.open(dir, { readOnly: true })
  const topics = again.topics().map(({ topic }) => topic)
  await again.close()
  const refused = await log.append([{ value: 'late' }]).catch(error => isLogError(error) && error.code)
  console.log(JSON.stringify({ level: ack.level, values, topics, refused, cleanerHost, kept }))
}
`

const USES = {
  'use.mjs': `import * as heartwood from 'heartwood'
import * as fs from 'heartwood/fs'
import * as record from 'heartwood/record'
${ROUND_TRIP}
if (typeof fs.MemoryFileSystem !== 'function' || typeof record.BatchView !== 'function') throw new Error('a subpath is empty')
await roundTrip(heartwood, process.argv[2])
`,
  'use.cjs': `const heartwood = require('heartwood')
const fs = require('heartwood/fs')
const record = require('heartwood/record')
${ROUND_TRIP}
if (typeof fs.MemoryFileSystem !== 'function' || typeof record.BatchView !== 'function') throw new Error('a subpath is empty')
roundTrip(heartwood, process.argv[2])
`
}

const TYPED = `
export async function use(): Promise<number> {
  await using store: Store = await Store.open('data', { readOnly: false })
  const log: PartitionLog = await store.openLog('orders', 0, { segmentBytes: 64 * MiB, durability: 'interval' })
  const ack = await log.append([{ key: 'a', value: new Uint8Array(1), headers: [['trace', 'ab']], timestamp: 5n }])
  const level: 'accepted' | 'written' | 'synced' = ack.level
  for await (const record of log.records({ from: ack.baseOffset, isolation: 'read_committed' })) {
    const value: Buffer | null = record.value
    console.log(level, record.offset, value)
  }
  // @ts-expect-error: there is no such durability
  await log.append([{ value: 'x' }], { durability: 'perhaps' })
  try {
    await log.deleteRecordsBefore(7)
  } catch (error) {
    if (isLogError(error, 'OFFSET_OUT_OF_RANGE')) return Number(error.details['logEndOffset'])
    throw error
  }
  return ack.lastOffset
}
`
const NAMES = 'isLogError, MiB, type PartitionLog, Store'
const TYPED_USES = {
  'typed.mts': `import { ${NAMES} } from 'heartwood'\nimport type { FileSystem } from 'heartwood/fs'\nexport type F = FileSystem${TYPED}`,
  'typed.cts': `import { ${NAMES} } from 'heartwood'\nimport type { FileSystem } from 'heartwood/fs'\nexport type F = FileSystem${TYPED}`
}

const EXPECTED = {
  level: 'synced',
  values: ['{"total":12}', 'second', 'gzip', 'snappy', 'lz4', 'zstd'],
  topics: ['orders', 'table'],
  refused: 'LOG_CLOSED',
  // The cleaner's thread is a file of its own.
  cleanerHost: 'worker',
  kept: 1
}

/** The test runner's hooks are not for other programs, nor for other versions of Node. */
const { NODE_OPTIONS: _, ...env } = process.env

function npm(cwd: string, ...args: string[]): string {
  const quiet = ['--no-audit', '--no-fund', '--no-progress']
  return execFileSync('npm', [...args, ...quiet], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
    timeout: 300_000
  })
}

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

function pack(to: string): Packed {
  const [packed] = JSON.parse(npm(projectRoot, 'pack', '--json', '--pack-destination', to)) as Packed[]
  return packed!
}

/** An empty project with the tarball in it, and the TypeScript that this project uses. */
function install(folder: string, tarball: string): void {
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "empty", "private": true }\n')
  const { devDependencies } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  const tools = ['typescript', '@types/node'].map(name => `${name}@${devDependencies[name]}`)
  npm(folder, 'install', '--ignore-scripts', tarball, ...tools)
  for (const [name, text] of Object.entries({ ...USES, ...TYPED_USES })) writeFileSync(join(folder, name), text)
}

async function use(t: Test, project: string, node: string): Promise<void> {
  for (const name of Object.keys(USES)) {
    const output = execFileSync(node, [name, join(await tempDir(t), 'data')], {
      cwd: project,
      encoding: 'utf8',
      env,
      timeout: 60_000
    })
    t.same(JSON.parse(output), EXPECTED, name)
  }
  const dir = join(await tempDir(t), 'data')
  const command = join(project, 'node_modules', 'heartwood', 'dist', 'lib', 'cli', 'main.js')
  const heartwood = (input: string, ...args: string[]) =>
    execFileSync(node, [command, ...args], { input, encoding: 'utf8', env, timeout: 60_000 })
  const lines = 'first line\nsecond line\nthe third: ÄÖÜ\n'
  heartwood('', 'topics', 'create', 'lines', '--dir', dir)
  heartwood(lines, 'produce', 'lines', '--dir', dir, '--compression', 'zstd')
  t.equal(heartwood('', 'consume', 'lines', '--dir', dir, '--from-beginning'), lines, 'the command line')
}

t.test('the packed package works where it is installed', async t => {
  const scratch = await tempDir(t)
  const packed = pack(scratch)
  const paths = packed.files.map(({ path }) => path)
  const project = join(scratch, 'project')

  await t.test('it holds the library, its documents, and nothing of the tests', async t => {
    for (const path of ['dist/lib/index.js', 'dist/lib/index.d.ts', 'dist/lib/cli/main.js', 'README.md', 'LICENSE']) {
      t.ok(paths.includes(path), path)
    }
    t.same(
      paths.filter(path => /(^|\/)(test|examples|node_modules|fixtures)\//.test(path)),
      []
    )
    const manifest = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { files: string[] }
    const promised = manifest.files.filter(path => !paths.some(one => one === path || one.startsWith(`${path}/`)))
    t.same(promised, [], 'everything that `files` names is there')
  })

  await t.test('it installs without install scripts', async t => {
    install(project, join(scratch, packed.filename))
    t.ok(existsSync(join(project, 'node_modules', '.bin', 'heartwood')), 'and brings the command')
  })

  for (const major of NODE_MAJORS) {
    await t.test(`it works on Node ${major}, imported, required and as a command`, t =>
      use(t, project, nodeBinary(major))
    )
  }

  await t.test('its types hold for import and for require, declarations checked', async t => {
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--lib',
      'es2023,esnext.disposable'
    ]
    const tsc = join(project, 'node_modules', 'typescript', 'bin', 'tsc')
    const checked = ['--exactOptionalPropertyTypes', '--types', 'node', ...Object.keys(TYPED_USES)]
    let output = ''
    try {
      output = execFileSync(process.execPath, [tsc, ...options, ...checked], { cwd: project, encoding: 'utf8', env })
    } catch (problem) {
      output = String((problem as { stdout?: string }).stdout ?? problem)
    }
    t.equal(output, '')
  })

  await t.test('it does without its optional packages', async t => {
    rmSync(join(project, 'node_modules', 'fs-ext'), { recursive: true, force: true })
    await use(t, project, process.execPath)
  })
})
