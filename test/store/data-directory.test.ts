import { existsSync } from 'node:fs'
import { chmod, cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { nodeFileSystem as fs } from '../../lib/fs/node-file-system.ts'
import { MARKER_ASIDE } from '../../lib/store/clean-shutdown.ts'
import { DataDirectory } from '../../lib/store/data-directory.ts'
import { TOPICS_FILE } from '../../lib/store/topics-file.ts'
import type { HeldLock } from '../../lib/store/types.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { photograph } from './helpers.ts'

const lock: HeldLock = { kind: 'none', release: async () => undefined }
const MARKER = '.kafka_cleanshutdown'
const RECOVERY_POINTS = 'recovery-point-offset-checkpoint'

async function brokersDirectory(t: Parameters<typeof tempDir>[0]): Promise<string> {
  const dir = await tempDir(t)
  await cp(fixture('golden', 'kafka-4.3.1', 'clean'), dir, { recursive: true })
  await chmod(dir, 0o755)
  for (const name of await readdir(dir))
    await chmod(join(dir, name), name.includes('.') || name.includes('checkpoint') ? 0o644 : 0o755)
  return dir
}

t.test('a fresh directory gets an identity and files that only its owner reads', async t => {
  const dir = await tempDir(t)
  await chmod(dir, 0o700)
  const directory = await DataDirectory.open(fs, dir, { lock })
  t.match(
    await readFile(join(dir, 'meta.properties'), 'utf8'),
    /^version=1\ncluster\.id=.{22}\nnode\.id=1\ndirectory\.id=.{22}\n$/
  )
  t.same(directory.verdict, { clean: true, otherEngine: undefined })
  await directory.closeCleanly()
  for (const name of await readdir(dir)) t.equal((await stat(join(dir, name))).mode & 0o777, 0o600, name)
  t.equal(await readFile(join(dir, MARKER), 'utf8'), '{"version":0,"brokerEpoch":-1}')
})

t.test('opened read-only, no byte changes and no file appears', async t => {
  const dir = await brokersDirectory(t)
  const before = (await readdir(dir)).sort()
  const directory = await DataDirectory.open(fs, dir, { lock: undefined })
  t.ok(directory.verdict.clean)
  t.equal(directory.checkpoint('recoveryPoint').get('plain-0'), 265)
  t.same((await readdir(dir)).sort(), before)
})

t.test("a broker's directory keeps its identity, its epoch, its lines and its mode", async t => {
  const dir = await brokersDirectory(t)
  const meta = await readFile(join(dir, 'meta.properties'))
  const points = await readFile(join(dir, RECOVERY_POINTS), 'utf8')
  const directory = await DataDirectory.open(fs, dir, { lock })
  t.ok(directory.verdict.otherEngine)
  t.notOk((await readdir(dir)).includes(MARKER), 'gone before anything changes')
  directory.checkpoint('recoveryPoint').set('plain-0', 300)
  await directory.closeCleanly()
  t.same(await readFile(join(dir, 'meta.properties')), meta)
  t.equal(await readFile(join(dir, MARKER), 'utf8'), '{"version":0,"brokerEpoch":158}')
  t.equal(await readFile(join(dir, RECOVERY_POINTS), 'utf8'), points.replace('plain 0 265', 'plain 0 300'))
  t.equal((await stat(join(dir, RECOVERY_POINTS))).mode & 0o777, 0o644)
})

t.test('after a clean close of ours we know that nobody else was here', async t => {
  const dir = await brokersDirectory(t)
  const first = await DataDirectory.open(fs, dir, { lock })
  first.checkpoint('recoveryPoint').set('plain-0', 300)
  await first.closeCleanly()
  const second = await DataDirectory.open(fs, dir, { lock })
  t.equal(second.verdict.otherEngine, undefined)
  t.ok(second.verdict.clean)
  t.equal(
    second.topicsFile.unseen.size,
    19,
    'none of its logs was opened by us, so all side-cars are still to be doubted'
  )
})

t.test('a crash of ours is told from another engine', async t => {
  const dir = await brokersDirectory(t)
  const first = await DataDirectory.open(fs, dir, { lock })
  first.checkpoint('recoveryPoint').set('plain-0', 300)
  await first.saveCheckpoints()
  const second = await DataDirectory.open(fs, dir, { lock })
  t.notOk(second.verdict.clean)
  t.equal(second.verdict.otherEngine, undefined)
  await second.closeCleanly()
  t.match(
    await readFile(join(dir, MARKER), 'utf8'),
    /"brokerEpoch":158/,
    "a crash of ours does not cost the broker's epoch"
  )
  // A broker that starts takes the marker away, and may crash before it writes anything else.
  await rm(join(dir, MARKER))
  const third = await DataDirectory.open(fs, dir, { lock })
  t.match(third.verdict.otherEngine, /marker/)
  await third.closeCleanly()
  t.match(await readFile(join(dir, MARKER), 'utf8'), /"brokerEpoch":-1/, "a crash of the broker's does")
  await writeFile(join(dir, RECOVERY_POINTS), '0\n1\nplain 0 999\n')
  const fourth = await DataDirectory.open(fs, dir, { lock })
  t.match(fourth.verdict.otherEngine, /recovery-point/)
})

t.test('after a clean close of ours the marker is put aside and back, and no other file is written', async t => {
  const dir = await brokersDirectory(t)
  await (await DataDirectory.open(fs, dir, { lock })).closeCleanly()
  const closed = await photograph(dir)
  const second = await DataDirectory.open(fs, dir, { lock })
  t.notOk(existsSync(join(dir, MARKER)))
  t.equal((await photograph(dir)).get(`/${TOPICS_FILE}`), closed.get(`/${TOPICS_FILE}`))
  await second.closeCleanly()
  t.same(await photograph(dir), closed)

  const crashed = await DataDirectory.open(fs, dir, { lock })
  const after = await DataDirectory.open(fs, dir, { lock })
  t.ok(crashed.verdict.clean)
  t.same(after.verdict, { clean: false, otherEngine: undefined }, 'who put it aside and died was one of us')
  t.notOk(existsSync(join(dir, MARKER_ASIDE)), 'which the side-car says from now on')
  await after.closeCleanly()

  // A crash of ours, then a broker that comes and goes: it knows nothing of what lies aside.
  await DataDirectory.open(fs, dir, { lock })
  await writeFile(join(dir, MARKER), '{"version":0,"brokerEpoch":999}')
  const visited = await DataDirectory.open(fs, dir, { lock })
  t.match(visited.verdict, { clean: true, otherEngine: /marker/ })
  t.notOk(existsSync(join(dir, MARKER_ASIDE)))
  await visited.closeCleanly()
  t.match(await readFile(join(dir, MARKER), 'utf8'), /"brokerEpoch":999/)
})

t.test('what changes while the marker lies aside is in the side-car before the marker is back', async t => {
  const dir = await brokersDirectory(t)
  await (await DataDirectory.open(fs, dir, { lock })).closeCleanly()
  const second = await DataDirectory.open(fs, dir, { lock })
  second.checkpoint('recoveryPoint').set('plain-0', 300)
  await second.closeCleanly()
  const third = await DataDirectory.open(fs, dir, { lock })
  t.same(third.verdict, { clean: true, otherEngine: undefined })
  // As a broker does that starts, and crashes: the side-car must say that the marker was there.
  await third.closeCleanly()
  await rm(join(dir, MARKER))
  t.match((await DataDirectory.open(fs, dir, { lock })).verdict.otherEngine, /marker/)
})

t.test('a crash between the announcement of a checkpoint and its writing is ours', async t => {
  const dir = await brokersDirectory(t)
  const first = await DataDirectory.open(fs, dir, { lock })
  const before = await readFile(join(dir, RECOVERY_POINTS))
  first.checkpoint('recoveryPoint').set('plain-0', 300)
  await first.saveCheckpoints()
  await writeFile(join(dir, RECOVERY_POINTS), before)
  const second = await DataDirectory.open(fs, dir, { lock })
  t.equal(second.verdict.otherEngine, undefined)
})

t.test('so is one in front of the very first writing of a checkpoint, which is not there then', async t => {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory('/data')
  for (const folder of ['/data/t-0', '/data/t-1']) await fs.makeDirectory(folder)
  await (await DataDirectory.open(fs, '/data', { lock })).closeCleanly()
  const first = await DataDirectory.open(fs, '/data', { lock })
  t.equal(first.verdict.otherEngine, undefined)
  first.checkpoint('recoveryPoint').set('t-0', 300)
  fs.onCall = ({ path }) => {
    if (path.includes(RECOVERY_POINTS)) throw Object.assign(new Error('EIO: power is gone'), { code: 'EIO' })
  }
  await t.rejects(first.saveCheckpoints())
  fs.onCall = undefined
  const second = await DataDirectory.open(fs, '/data', { lock })
  t.same(second.verdict, { clean: false, otherEngine: undefined })
  second.checkpoint('recoveryPoint').set('t-0', 300)
  await second.saveCheckpoints()
})

t.test('a damaged side-car is set aside, with a warning, and all else goes on', async t => {
  const dir = await brokersDirectory(t)
  await (await DataDirectory.open(fs, dir, { lock })).closeCleanly()
  await writeFile(join(dir, 'heartwood-topics'), 'heartwood-topics 1 5 00000000\nhello')
  const reader = await DataDirectory.open(fs, dir, { lock: undefined })
  t.match(reader.warnings, [/damaged/])
  const directory = await DataDirectory.open(fs, dir, { lock })
  t.match(directory.warnings, [/damaged/])
  t.ok(directory.verdict.otherEngine)
  t.equal(await readFile(join(dir, 'heartwood-topics.damaged'), 'utf8'), 'heartwood-topics 1 5 00000000\nhello')
})

t.test('a side-car of a newer version stops writing, before anything is written, and lets reading go on', async t => {
  const dir = await brokersDirectory(t)
  await writeFile(join(dir, 'heartwood-topics'), 'heartwood-topics 9 0 00000000\n')
  await t.rejects(DataDirectory.open(fs, dir, { lock }), { code: 'UNSUPPORTED_VERSION' })
  t.ok((await readdir(dir)).includes(MARKER))
  const reader = await DataDirectory.open(fs, dir, { lock: undefined })
  t.match(reader.warnings, [/newer/])
})

t.test('a meta.properties that is none stops the opening', async t => {
  const dir = await brokersDirectory(t)
  await writeFile(join(dir, 'meta.properties'), 'hello')
  await t.rejects(DataDirectory.open(fs, dir, { lock }), { code: 'CORRUPT_FILE' })
  t.ok((await readdir(dir)).includes(MARKER))
})

t.test('a symbolic link in the place of a checkpoint is refused', async t => {
  const dir = await tempDir(t)
  const elsewhere = await tempDir(t)
  await writeFile(join(dir, 'meta.properties'), 'version=1\n')
  await writeFile(join(elsewhere, 'secret'), '0\n0\n')
  const { symlink } = await import('node:fs/promises')
  await symlink(join(elsewhere, 'secret'), join(dir, RECOVERY_POINTS))
  await t.rejects(DataDirectory.open(fs, dir, { lock }), { code: 'UNSAFE_PATH' })
})

t.test('savings that wait share one writing', async t => {
  const dir = await tempDir(t)
  const directory = await DataDirectory.open(fs, dir, { lock })
  const savings = Array.from({ length: 50 }, () => directory.saveTopicsFile())
  t.equal(new Set(savings).size, 1)
  await Promise.all(savings)
})
