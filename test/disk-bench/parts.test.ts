/** The pieces that a run is made of, each alone. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { BlockDevice } from '../../lib/disk-bench/block-device.ts'
import { coldCopy } from '../../lib/disk-bench/cold-copy.ts'
import { DeviceReads } from '../../lib/disk-bench/device-reads.ts'
import { Content, planned } from '../../lib/disk-bench/disk-writes.ts'
import { Latencies } from '../../lib/disk-bench/latencies.ts'
import type { DeviceFacts } from '../../lib/disk-bench/machine-facts.ts'
import { Pace } from '../../lib/disk-bench/pace.ts'
import type { CacheState } from '../../lib/disk-bench/report.ts'
import { row, withLimit } from '../../lib/disk-bench/rows.ts'
import { otherScratchFolders, requireSpace, withScratch } from '../../lib/disk-bench/scratch.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { tempDir } from '../helpers/paths.ts'

type Facts = Pick<DeviceFacts, 'kind' | 'device'>

t.test('the median and the slowest in a hundred are samples, by nearest rank', async t => {
  const latencies = new Latencies()
  t.equal(latencies.summary(), undefined)
  for (let i = 200; i >= 1; i -= 1) latencies.add(i / 1000)
  t.same(latencies.summary(), { p50Us: 100, p99Us: 198, maxUs: 200 })
  const one = new Latencies()
  one.add(0.0123)
  t.same(one.summary(), { p50Us: 12.3, p99Us: 12.3, maxUs: 12.3 })
})

t.test('what is planned fits the time, in whole pieces, at least one', async t => {
  t.equal(planned(100 * MiB, 1e12, 1000), 100 * MiB)
  t.equal(planned(100 * MiB, 10 * MiB, 2500), 25 * MiB)
  t.equal(planned(100 * MiB, 1000, 1000), MiB)
})

t.test('a read is cold or warm as the kernel counted, whatever it was meant to be', async t => {
  const device: BlockDevice = { name: 'sda', isVirtual: false, parts: [] }
  const disk: Facts = { kind: 'local', device }
  const loop: Facts = { kind: 'local', device: { ...device, backingFile: '/image', isCachedBelow: true } }
  const cases: [Facts, fetched: number | undefined, CacheState][] = [
    [disk, 1000, 'cold'],
    [disk, 960, 'cold'],
    [disk, 500, 'mixed'],
    [disk, 30, 'warm'],
    [disk, undefined, 'unknown'],
    [loop, 1000, 'unknown'],
    [loop, 0, 'warm'],
    [{ kind: 'local', device: { ...device, isVirtual: true } }, 1000, 'cold'],
    [{ kind: 'local' }, 0, 'unknown'],
    [{ kind: 'network' }, 1000, 'cold'],
    [{ kind: 'memory' }, 0, 'warm']
  ]
  for (const [facts, fetched, cache] of cases) {
    let count = 7
    const reads = new DeviceReads(facts, () => (fetched === undefined ? undefined : count))
    const counting = reads.begin('cold')
    count += fetched ?? 0
    t.equal(counting.end(1000).cache, cache, `${facts.kind} ${fetched}`)
  }
  let count = 0
  const cold = new DeviceReads(disk, () => (count += 1000)).begin('warm').end(1000)
  t.match(cold, { cache: 'cold', note: /not memory enough/ })
})

t.test('pieces of content differ, and blocks in them too', async t => {
  const bytes = Buffer.from(Array.from({ length: 3 * MiB }, (_, i) => (i * 2654435761) >>> 24))
  const content = new Content(bytes)
  const [one, other] = [content.piece(4096), content.piece(4096)]
  t.equal(one.length, 4096)
  t.notOk(one.equals(other))
})

t.test('a rate is held against the right one of its limit', async t => {
  const disk = row('sync-append-4k', { operations: 100, bytes: 409_600, seconds: 1, cut: false })
  const engine = row('durable-64', { operations: 3200, bytes: 9, seconds: 1, cut: false })
  t.equal(withLimit(engine, disk, { name: '', by: 'perSecond', times: 64 }).limit?.ratio, 0.5)
  const read = row('scan-cold', { operations: 1, bytes: 900_000, seconds: 1, cut: false, cache: 'cold' })
  const above = withLimit(read, disk, { name: '', by: 'bytesPerSecond' })
  t.match(above, { limit: { ratio: 2.1973 }, note: /the kernel reads ahead/ }, 'above the limit is explained')
  t.equal(withLimit(engine, undefined, { name: '', by: 'perSecond' }).limit, undefined)
})

t.test('a copy has the bytes of the original, to the last one, and lacks what it shall', async t => {
  const dir = await tempDir(t)
  await mkdir(join(dir, 'from', 'bench-0'), { recursive: true })
  const log = Buffer.from(Array.from({ length: MiB + 4097 }, (_, i) => (i * 31) & 0xff))
  await writeFile(join(dir, 'from', 'bench-0', '0.log'), log)
  await writeFile(join(dir, 'from', 'bench-0', 'empty.log'), '')
  await writeFile(join(dir, 'from', 'bench-0', '0.index'), 'index')
  await writeFile(join(dir, 'from', 'marker'), '')
  await coldCopy(join(dir, 'from'), join(dir, 'to'), new Set(['marker']), new Pace(new AbortController().signal))
  t.same(await readdir(join(dir, 'to')), ['bench-0'])
  t.ok((await readFile(join(dir, 'to', 'bench-0', '0.log'))).equals(log))
  t.equal((await readFile(join(dir, 'to', 'bench-0', 'empty.log'))).length, 0)
  t.equal(await readFile(join(dir, 'to', 'bench-0', '0.index'), 'utf8'), 'index')
})

t.test('the scratch folder is gone after success, failure and a full disk, and nothing else is', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'mine'), '')
  await mkdir(join(dir, 'heartwood-bench-results'))
  const folder = await withScratch(dir, MiB, async folder => {
    await writeFile(join(folder, 'file'), '')
    t.same(
      otherScratchFolders(dir).map(name => join(dir, name)),
      [folder],
      'a run beside would see it'
    )
    return folder
  })
  t.match(folder, /heartwood-bench-.{6}$/)
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  await t.rejects(
    withScratch(dir, MiB, async folder => {
      await writeFile(join(folder, 'file'), '')
      throw full
    }),
    { name: 'LogError', code: 'NO_SPACE' }
  )
  const defect = new TypeError('a defect')
  await t.rejects(
    withScratch(dir, MiB, () => Promise.reject(defect)),
    defect
  )
  t.same((await readdir(dir)).sort(), ['heartwood-bench-results', 'mine'])
})

t.test('too little space is said with both numbers, before anything is written', async t => {
  t.doesNotThrow(() => requireSpace('/data', 160 * MiB, 128 * MiB))
  t.throws(() => requireSpace('/data', 159 * MiB, 128 * MiB), {
    code: 'NO_SPACE',
    message: /\/data has 159 MiB free and 160 MiB are needed: .*--size/
  })
})

t.test('an interruption is met at the next breath', async t => {
  const stop = new AbortController()
  const pace = new Pace(stop.signal)
  await pace.breathe()
  pace.check()
  stop.abort()
  await t.rejects(pace.breathe(), { code: 'ABORTED' })
  t.throws(() => pace.check(), { code: 'ABORTED' })
})
