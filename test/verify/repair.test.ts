/** Remedies: what the plan says is what is lost, everything is kept, and afterwards nothing is corrupt. */
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { formatHoles, parseHoles } from '../../lib/log/holes.ts'
import { Store } from '../../lib/store/store.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { planRepairs, repairDirectory } from '../../lib/verify/repair.ts'
import { verifyDirectory } from '../../lib/verify/verify.ts'
import { run } from '../helpers/cli.ts'
import { tempDir } from '../helpers/paths.ts'
import { photograph } from '../store/helpers.ts'
import { brokersDirectory, ourDirectory } from './directories.ts'

type Test = Parameters<typeof ourDirectory>[0]

interface Case {
  readonly name: string
  readonly folder: string
  readonly make: (t: Test) => Promise<string>
}

const CASES: readonly Case[] = [
  { name: 'ours', folder: 'orders-0', make: t => ourDirectory(t) },
  { name: 'ours, crashed', folder: 'orders-0', make: t => ourDirectory(t, { crash: true }) },
  { name: 'kafka-3.9.2', folder: 'segments-0', make: t => brokersDirectory(t, 'kafka-3.9.2') },
  { name: 'kafka-4.3.1', folder: 'segments-0', make: t => brokersDirectory(t, 'kafka-4.3.1') }
]

const logsOf = async (dir: string, folder: string): Promise<string[]> =>
  (await readdir(join(dir, folder))).filter(name => name.endsWith('.log')).sort()

/** Flips a bit in a record of a segment. @returns the segment's file below the directory. */
async function damage(dir: string, folder: string, which: number): Promise<string> {
  const name = (await logsOf(dir, folder)).at(which) as string
  const path = join(dir, folder, name)
  const bytes = await readFile(path)
  bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 0x20
  await writeFile(path, bytes)
  return `${folder}/${name}`
}

interface Read {
  readonly offsets: number[]
  readonly holes: { from: number; to: number }[]
  readonly end: number
}

/** Every record that can be read, going on behind each hole. */
async function readAll(dir: string, folder: string): Promise<Read> {
  await using store = await Store.open([dir], { readOnly: true })
  const [topic, partition] = [folder.replace(/-\d+$/, ''), Number(folder.replace(/^.*-/, ''))]
  const log = await store.openLog(topic, partition)
  const [offsets, holes] = [[] as number[], [] as { from: number; to: number }[]]
  for (let from = log.logStartOffset; ; ) {
    try {
      for await (const record of log.records({ from })) offsets.push(record.offset)
      return { offsets, holes, end: log.logEndOffset }
    } catch (error) {
      if (!isLogError(error, 'DATA_LOSS')) throw error
      const { from: lost, to } = error.details as { from: number; to: number }
      await t.rejects(log.get(lost), { code: 'DATA_LOSS' })
      holes.push({ from: lost, to })
      from = to
    }
  }
}

/** Sound records of a partition, as verify counts them. */
async function countOf(dir: string, folder: string): Promise<number> {
  const report = await verifyDirectory(dir)
  return report.partitions.find(({ partition }) => partition === folder)?.records ?? -1
}

for (const { name, folder, make } of CASES) {
  for (const which of [0, 1, -1]) {
    t.test(`${name}: segment ${which} is put into quarantine and leaves a marked hole`, async t => {
      const dir = await make(t)
      const before = await readAll(dir, folder)
      const file = await damage(dir, folder, which)
      const bytes = await readFile(join(dir, file))
      const sound = await countOf(dir, folder)
      const plan = (await planRepairs(dir)).find(({ argument }) => argument === `quarantine=${file}`)
      t.ok(plan, 'it is in the plan')
      const { done, verified } = await repairDirectory(dir, { kind: 'quarantine', file })
      t.same(done, [plan], 'what was done is what the plan says')
      t.ok(verified.sound, JSON.stringify(verified.partitions.flatMap(({ findings }) => findings)))
      const after = await readAll(dir, folder)
      t.same(
        after.holes.map(({ from, to }) => ({ fromOffset: from, toOffset: to })),
        plan?.lost
      )
      const isLost = (offset: number): boolean => after.holes.some(({ from, to }) => offset >= from && offset < to)
      t.same(
        after.offsets,
        before.offsets.filter(offset => !isLost(offset)),
        'everything else is as it was'
      )
      t.equal(sound - (await countOf(dir, folder)), plan?.lostRecords)
      t.equal(after.end, before.end, 'no offset is given twice')
      const kept = await readdir(join(dir, folder, 'quarantine'))
      const log = kept.find(one => one.endsWith('.log')) as string
      t.ok((await readFile(join(dir, folder, 'quarantine', log))).equals(bytes), 'every byte is kept')
    })
  }

  t.test(`${name}: the log is cut in front of the damage`, async t => {
    const dir = await make(t)
    const before = await readAll(dir, folder)
    await damage(dir, folder, 1)
    const sound = await countOf(dir, folder)
    const plan = (await planRepairs(dir)).find(({ remedy }) => remedy === 'truncate-after')
    const offset = Number(plan?.argument.replace(/^.*:/, ''))
    const { done, verified } = await repairDirectory(dir, { kind: 'truncate-after', partition: folder, offset })
    t.same(done, [plan])
    t.ok(verified.sound, JSON.stringify(verified.partitions.flatMap(({ findings }) => findings)))
    const after = await readAll(dir, folder)
    t.same(
      after.offsets,
      before.offsets.filter(one => one <= offset)
    )
    t.same(plan?.lost, [{ fromOffset: after.end, toOffset: before.end }])
    t.equal(sound - (await countOf(dir, folder)), plan?.lostRecords)
    const kept = await readdir(join(dir, folder, 'quarantine'))
    t.ok(
      kept.some(one => one.endsWith('.cut') || one.endsWith('.log')),
      kept.join()
    )
  })

  t.test(`${name}: derived files are made anew`, async t => {
    const dir = await make(t)
    for (const entry of await readdir(join(dir, folder))) {
      if (/\.(index|timeindex|txnindex|snapshot)$/.test(entry)) await writeFile(join(dir, folder, entry), 'nonsense')
    }
    const before = await readAll(dir, folder)
    t.match(await planRepairs(dir), [{ remedy: 'rebuild', partition: folder, lost: [], lostRecords: 0 }])
    const { verified } = await repairDirectory(dir, { kind: 'rebuild' })
    const findings = verified.partitions.flatMap(one => one.findings).filter(({ severity }) => severity !== 'note')
    t.same(findings, [])
    t.same(await readAll(dir, folder), before)
  })

  t.test(`${name}: what is sound is salvaged under its offsets`, async t => {
    const dir = await make(t)
    const before = await readAll(dir, folder)
    await damage(dir, folder, 1)
    await damage(dir, folder, -1)
    const photo = await photograph(dir)
    const to = `${dir}-new`
    t.teardown(() => import('node:fs/promises').then(({ rm }) => rm(to, { recursive: true, force: true })))
    const sound = await countOf(dir, folder)
    const { done, verified } = await repairDirectory(dir, { kind: 'salvage', to })
    t.same(await photograph(dir), photo, 'the source is untouched')
    t.ok(verified.sound, JSON.stringify(verified.partitions.flatMap(({ findings }) => findings)))
    t.equal(await countOf(to, folder), sound)
    const after = await readAll(to, folder)
    const lost = done.find(({ partition }) => partition === folder)?.lost ?? []
    t.same(
      after.holes.map(({ from, to }) => ({ fromOffset: from, toOffset: to })),
      lost
    )
    const isLost = (offset: number): boolean => after.holes.some(one => offset >= one.from && offset < one.to)
    t.same(
      after.offsets,
      before.offsets.filter(offset => !isLost(offset))
    )
    t.equal(after.end, before.end)
    await t.rejects(repairDirectory(dir, { kind: 'salvage', to }), { code: 'INVALID_REQUEST' })
  })
}

t.test('marks go with what they speak of: retention past them, a cut below them; what is appended is read', async t => {
  const dir = await ourDirectory(t)
  const file = await damage(dir, 'orders-0', 1)
  await repairDirectory(dir, { kind: 'quarantine', file })
  const [hole] = parseHoles(await readFile(join(dir, 'orders-0', 'heartwood-holes')))
  t.ok(hole)
  const { fromOffset = 0, toOffset = 0 } = hole ?? {}
  const store = await Store.open([dir])
  const log = await store.openLog('orders', 0)
  await t.rejects(log.read(fromOffset), {
    code: 'DATA_LOSS',
    details: { offset: fromOffset, from: fromOffset, to: toOffset }
  })
  t.equal((await log.read(toOffset)).baseOffset, toOffset)
  t.equal((await log.read(fromOffset - 1)).nextOffset, fromOffset, 'a read ends before the hole')
  t.ok(((await log.offsetForTimestamp(0))?.offset ?? -1) === 0)
  t.equal(await log.offsetForTimestamp(Date.now() + 3_600_000), undefined, 'a search by time passes over it')
  await log.truncateTo(fromOffset - 2)
  for (let i = 0; i < 40; i += 1) await log.append([{ value: `new ${i}` }])
  t.ok((await log.get(fromOffset + 1)) !== undefined)
  await store.close()
  t.same(parseHoles(await readFile(join(dir, 'orders-0', 'heartwood-holes'))), [])
  t.ok((await verifyDirectory(dir)).sound)
})

/** As a process that dies at its n-th change of a file or folder: that call and all after it fail. */
function dyingAt(n: number): { fs: FileSystem; died: () => boolean } {
  let count = 0
  const check = (): void => {
    count += 1
    if (count >= n) throw Object.assign(new Error('EIO: the process is dead'), { code: 'EIO' })
  }
  const changes = new Set(['rename', 'unlink', 'makeDirectory', 'removeDirectory', 'link', 'syncDirectory'])
  const fs = new Proxy(nodeFileSystem, {
    get(target, name, receiver) {
      const value = Reflect.get(target, name, receiver) as unknown
      if (typeof value !== 'function') return value
      if (name !== 'open' && !changes.has(String(name))) return value.bind(target) as unknown
      return async (...args: unknown[]) => {
        if (name !== 'open' || args[1] !== 'read') check()
        return (value as (...given: unknown[]) => unknown).apply(target, args)
      }
    }
  })
  return { fs, died: () => count >= n }
}

t.test('a quarantine that is cut short at any call is finished by the same command', { timeout: 240_000 }, async t => {
  const pristine = await ourDirectory(t)
  const before = await readAll(pristine, 'orders-0')
  const files = [await damage(pristine, 'orders-0', 1), `orders-0/${(await logsOf(pristine, 'orders-0')).at(-1)}`]
  for (const file of files) {
    let isDone = false
    for (let n = 1; !isDone && n < 60; n += n < 24 ? 1 : 5) {
      const dir = join(await tempDir(t), 'data')
      await cp(pristine, dir, { recursive: true })
      const { fs, died } = dyingAt(n)
      await repairDirectory(dir, { kind: 'quarantine', file }, { fs }).catch(() => undefined)
      isDone = !died()
      await verifyDirectory(dir)
      const { verified } = await repairDirectory(dir, { kind: 'quarantine', file })
      const graves = verified.partitions
        .flatMap(({ findings }) => findings)
        .filter(({ severity }) => severity === 'corrupt')
      // The other damage stays, where the last segment is taken.
      t.ok(
        graves.every(finding => finding.file === files[0] && file !== files[0]),
        `${n}: ${JSON.stringify(graves)}`
      )
      if (file !== files[0]) continue
      const after = await readAll(dir, 'orders-0')
      t.equal(after.end, before.end, `${n}: no offset is given twice`)
      t.equal(after.holes.length, 1)
    }
  }
})

t.test('a file of holes with any byte changed, or cut anywhere, is refused', async t => {
  const bytes = formatHoles([{ fromOffset: 5, toOffset: 9, markedMs: 1, reason: 'why "not"' }])
  t.same(parseHoles(bytes), [{ fromOffset: 5, toOffset: 9, markedMs: 1, reason: 'why "not"' }])
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] as number) ^ 1
    t.throws(() => parseHoles(changed), { code: 'CORRUPT_FILE' })
    t.throws(() => parseHoles(bytes.subarray(0, at)), { code: 'CORRUPT_FILE' })
  }
})

t.test('nothing is done without --yes, beside a writer, or to what is not there', async t => {
  const dir = await ourDirectory(t)
  const file = await damage(dir, 'orders-0', 1)
  const photo = await photograph(dir)
  const planned = await run(['verify', dir, '--repair', 'plan', '--json'])
  t.equal(planned.status, 0, planned.stderr)
  t.same(
    planned.json().map(({ remedy }) => remedy),
    ['quarantine', 'truncate-after', 'salvage']
  )
  t.match((await run(['verify', dir, '--repair'])).stdout, /--repair quarantine=orders-0\/\d+\.log\n/)
  const told = await run(['verify', dir, '--repair', `quarantine=${file}`])
  t.equal(told.status, 0)
  t.match(told.stderr, /Nothing was changed/)
  t.same(await photograph(dir), photo)
  for (const remedy of ['nonsense', 'truncate-after=orders-0', 'quarantine=']) {
    t.equal((await run(['verify', dir, '--repair', remedy, '--yes'])).status, 2, remedy)
  }
  t.equal((await run(['verify', dir, '--yes'])).status, 2)
  t.equal((await run(['verify', dir, '--repair', 'quarantine=nope-0/x.log', '--yes'])).status, 1)
  t.equal((await run(['verify', dir, '--repair', 'quarantine=orders-0/x.log', '--yes'])).status, 1)
  const store = await Store.open([dir])
  await t.rejects(repairDirectory(dir, { kind: 'rebuild' }), { code: 'LOCKED' })
  await store.close()
  await mkdir(`${dir}/sub`, { recursive: true })
  await t.rejects(repairDirectory(dir, { kind: 'salvage', to: join(dir, 'new') }), { code: 'INVALID_REQUEST' })
  const done = await run(['verify', dir, '--repair', `quarantine=${file}`, '--yes', '--json'])
  t.equal(done.status, 0, done.stderr)
  const consumed = await run(['consume', 'orders', '--dir', dir])
  t.equal(consumed.status, 1)
  t.match(consumed.stderr, /DATA_LOSS: orders-0: the records from offset \d+ up to \d+ are lost/)
  t.ok((await stat(join(dir, 'orders-0', 'quarantine'))).isDirectory())
})
