/** `verifyDirectory`: what is damaged is found and told of, and what is sound is left in peace. */
import { execFile } from 'node:child_process'
import {
  appendFile,
  copyFile,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile
} from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { updateCrc } from '../../lib/record/batch-edit.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { Store } from '../../lib/store/store.ts'
import type { Finding, FindingCode, Severity } from '../../lib/verify/findings.ts'
import { type VerifyReport, verifyDirectory } from '../../lib/verify/verify.ts'
import { run } from '../helpers/cli.ts'
import { GOLDEN_VERSIONS } from '../helpers/golden.ts'
import { fixture, tempDir } from '../helpers/paths.ts'
import { SEED } from '../helpers/seed.ts'
import { photograph } from '../store/helpers.ts'
import { brokersDirectory, ourDirectory } from './directories.ts'

const findingsOf = (report: VerifyReport): Finding[] => report.partitions.flatMap(({ findings }) => [...findings])
const brief = ({ severity, code, file }: Finding): string => `${severity} ${code} ${file}`
const isGrave = ({ severity }: Finding): boolean => severity !== 'note'

async function flip(path: string, at: number, mask = 0x10): Promise<void> {
  const bytes = await readFile(path)
  bytes[at] = (bytes[at] as number) ^ mask
  await writeFile(path, bytes)
}

/** The file of a partition with this suffix, counted from the first (negative: from the last). */
async function fileOf(dir: string, folder: string, suffix: string, which = 0): Promise<string> {
  const names = (await readdir(join(dir, folder))).filter(name => name.endsWith(suffix)).sort()
  return join(dir, folder, names.at(which) as string)
}

for (const version of GOLDEN_VERSIONS) {
  for (const folder of ['clean', 'compacted']) {
    t.test(`${version}: a directory that a broker left (${folder}) has nothing but notes`, async t => {
      const report = await verifyDirectory(fixture('golden', version, folder))
      t.same(findingsOf(report).filter(isGrave).map(brief), [])
      t.ok(report.sound)
      t.ok(report.partitions.length > 3)
    })
  }

  t.test(`${version}: neither has one of a broker that was killed`, async t => {
    const dir = await tempDir(t)
    await promisify(execFile)('tar', ['xzf', fixture('golden', version, 'crashed.tar.gz'), '-C', dir])
    t.same(
      findingsOf(await verifyDirectory(dir))
        .filter(isGrave)
        .map(brief),
      []
    )
  })
}

t.test('our own directory is sound, closed and crashed, and every record of it is counted', async t => {
  for (const crash of [false, true]) {
    const report = await verifyDirectory(await ourDirectory(t, { crash }))
    t.same(findingsOf(report).map(brief), [])
    const orders = report.partitions.find(({ partition }) => partition === 'orders-0')
    t.match(orders, { records: 102, batches: 64, logStartOffset: 0, logEndOffset: 104 })
  }
})

t.test('a check changes no byte and no time of a file', async t => {
  const dir = await ourDirectory(t)
  await flip(await fileOf(dir, 'orders-0', '.log'), 100)
  const before = await photograph(dir)
  await verifyDirectory(dir)
  t.same(await photograph(dir), before)
})

interface Damage {
  readonly name: string
  readonly on?: 'ours' | 'crash' | (typeof GOLDEN_VERSIONS)[number]
  readonly do: (dir: string) => Promise<void>
  readonly severity: Severity
  readonly code: FindingCode
  readonly says: RegExp
}

const orders =
  (suffix: string, which = 0) =>
  (dir: string) =>
    fileOf(dir, 'orders-0', suffix, which)
const segments =
  (suffix: string, which = 0) =>
  (dir: string) =>
    fileOf(dir, 'segments-0', suffix, which)
const own = (name: string) => async (dir: string) => join(dir, name)
const flipped = (path: (dir: string) => Promise<string>, at: number) => async (dir: string) => flip(await path(dir), at)
const cut = (path: (dir: string) => Promise<string>, to: number) => async (dir: string) => truncate(await path(dir), to)
const gone = (path: (dir: string) => Promise<string>) => async (dir: string) => unlink(await path(dir))

const DAMAGES: readonly Damage[] = [
  {
    name: 'a flipped bit in a record',
    do: flipped(orders('.log'), 100),
    severity: 'corrupt',
    code: 'BATCH_DAMAGED',
    says: /Bytes 0 to \d+ cannot be read .*CRC.*Records from offset 0 up to 1 are lost/
  },
  {
    name: 'a length that leads nowhere',
    do: flipped(orders('.log'), 9),
    severity: 'corrupt',
    code: 'BATCH_DAMAGED',
    says: /Records from offset 0 up to 1 are lost/
  },
  {
    name: 'a base offset that lies, upwards',
    do: flipped(orders('.log'), 6),
    severity: 'corrupt',
    code: 'BASE_OFFSET_WRONG',
    says: /begins at offset 4096; by its neighbours it is 0/
  },
  {
    name: 'a leader epoch that lies',
    do: flipped(orders('.log'), 14),
    severity: 'corrupt',
    code: 'LEADER_EPOCH_WRONG',
    says: /leader epoch 4096, where leader-epoch-checkpoint says 0/
  },
  {
    name: 'a segment that ends too early',
    do: cut(orders('.log', 1), 0),
    severity: 'corrupt',
    code: 'ENDS_TOO_EARLY',
    says: /indexes know of more/
  },
  {
    name: 'a segment whose log is gone',
    do: gone(orders('.log', 1)),
    severity: 'corrupt',
    code: 'SEGMENT_MISSING',
    says: /This file is gone: .*Records from offset \d+ up to \d+ are lost/
  },
  {
    name: 'two segments in each other’s place',
    do: async dir => {
      const [one, other] = [await orders('.log', 0)(dir), await orders('.log', 1)(dir)]
      await rename(one, `${one}.x`)
      await rename(other, one)
      await rename(`${one}.x`, other)
    },
    severity: 'corrupt',
    code: 'BASE_OFFSET_WRONG',
    says: /Its records are whole/
  },
  {
    name: 'the end of the log cut off at a batch, after a clean close',
    do: cut(orders('.log', -1), 0),
    severity: 'corrupt',
    code: 'ENDS_TOO_EARLY',
    says: /everything up to 103 was synced once: \d+ offsets that were acknowledged are lost/
  },
  {
    name: 'the last batch exchanged for another, both sound',
    do: async dir => {
      const path = await orders('.log', -1)(dir)
      const bytes = await readFile(path)
      let last = new BatchView(bytes)
      while (last.end < bytes.length) last = new BatchView(bytes, last.end)
      bytes[last.end - 2] = 0x2a
      updateCrc(bytes, last.start)
      await writeFile(path, bytes)
    },
    severity: 'corrupt',
    code: 'NOT_WHAT_WAS_SYNCED',
    says: /does not hold what was synced there/
  },
  {
    name: 'half a batch behind the end, after a crash',
    on: 'crash',
    do: async dir => appendFile(await orders('.log', -1)(dir), Buffer.alloc(70, 1)),
    severity: 'torn-tail',
    code: 'TORN_TAIL',
    says: /ends here with 70 bytes of a write that was not finished.*Nothing has to be done/
  },
  {
    name: 'the same under a clean-shutdown marker',
    do: async dir => appendFile(await orders('.log', -1)(dir), Buffer.alloc(70, 1)),
    severity: 'corrupt',
    code: 'BATCH_DAMAGED',
    says: /Records from offset 104 on are lost/
  },
  {
    name: 'an offset index',
    do: flipped(orders('.index'), 7),
    severity: 'derived',
    code: 'OFFSET_INDEX',
    says: /does not fit its log/
  },
  { name: 'no offset index', do: gone(orders('.index')), severity: 'derived', code: 'OFFSET_INDEX', says: /missing/ },
  {
    name: 'a time index',
    do: flipped(orders('.timeindex'), 6),
    severity: 'derived',
    code: 'TIME_INDEX',
    says: /not in order|largest timestamp/
  },
  {
    name: 'a time index without its last entry',
    do: async dir => {
      const path = await orders('.timeindex')(dir)
      await truncate(path, (await readFile(path)).length - 12)
    },
    severity: 'derived',
    code: 'TIME_INDEX',
    says: /lacks the entry of its largest timestamp/
  },
  {
    name: 'a transaction index',
    do: flipped(orders('.txnindex'), 17),
    severity: 'derived',
    code: 'TRANSACTION_INDEX',
    says: /the log says/
  },
  {
    name: 'no transaction index',
    do: gone(orders('.txnindex')),
    severity: 'derived',
    code: 'TRANSACTION_INDEX',
    says: /lacks the transaction of producer 7/
  },
  {
    name: 'a snapshot',
    do: flipped(orders('.snapshot', -1), 20),
    severity: 'derived',
    code: 'PRODUCER_SNAPSHOT',
    says: /wrong CRC/
  },
  {
    name: 'a snapshot from the future',
    do: async dir =>
      copyFile(await orders('.snapshot', -1)(dir), join(dir, 'orders-0', '00000000000000009999.snapshot')),
    severity: 'derived',
    code: 'PRODUCER_SNAPSHOT',
    says: /the log ends at 104/
  },
  {
    name: 'an old snapshot under a newer name',
    do: async dir => {
      const last = await orders('.snapshot', -1)(dir)
      await flip(last, 19)
    },
    severity: 'derived',
    code: 'PRODUCER_SNAPSHOT',
    says: /./
  },
  {
    name: 'leader epochs',
    do: cut(orders('leader-epoch-checkpoint'), 3),
    severity: 'derived',
    code: 'LEADER_EPOCHS',
    says: /cannot be read/
  },
  {
    name: 'no leader epochs',
    do: gone(orders('leader-epoch-checkpoint')),
    severity: 'derived',
    code: 'LEADER_EPOCHS',
    says: /missing/
  },
  {
    name: 'a watermark',
    do: flipped(orders('heartwood-watermark'), 30),
    severity: 'derived',
    code: 'WATERMARK',
    says: /the other one serves/
  },
  {
    name: 'holds',
    do: flipped(orders('heartwood-holds'), 30),
    severity: 'corrupt',
    code: 'HOLDS',
    says: /no record is.*retention takes nothing/
  },
  {
    name: 'a manifest',
    do: async dir => writeFile(join(dir, 'orders-0', 'heartwood-manifest'), 'x'),
    severity: 'derived',
    code: 'MANIFEST',
    says: /the next opening for writing makes it anew/
  },
  {
    name: 'a partition.metadata',
    do: flipped(orders('partition.metadata'), 2),
    severity: 'corrupt',
    code: 'PARTITION_METADATA',
    says: /cannot be opened/
  },
  {
    name: 'the partition.metadata of another topic',
    do: async dir => copyFile(join(dir, 'packed-0', 'partition.metadata'), join(dir, 'orders-0', 'partition.metadata')),
    severity: 'corrupt',
    code: 'PARTITION_METADATA',
    says: /heartwood-topics says/
  },
  {
    name: 'meta.properties',
    do: flipped(own('meta.properties'), 2),
    severity: 'corrupt',
    code: 'META_PROPERTIES',
    says: /cannot be opened/
  },
  {
    name: 'heartwood-topics',
    do: flipped(own('heartwood-topics'), 90),
    severity: 'corrupt',
    code: 'TOPICS_FILE',
    says: /settings of topics are lost/
  },
  {
    name: 'a recovery point',
    do: flipped(own('recovery-point-offset-checkpoint'), 2),
    severity: 'derived',
    code: 'CHECKPOINT',
    says: /cannot be read/
  },
  {
    name: 'a start behind the end',
    do: dir => writeFile(join(dir, 'log-start-offset-checkpoint'), '0\n1\norders 0 5000\n'),
    severity: 'corrupt',
    code: 'LOG_START_BEYOND_END',
    says: /begins at offset 5000, but it ends at 104/
  },
  {
    name: 'a foreign file',
    do: dir => writeFile(join(dir, 'orders-0', 'todo.txt'), 'x'),
    severity: 'note',
    code: 'UNKNOWN_FILE',
    says: /todo\.txt is none/
  },
  {
    name: 'a symbolic link',
    do: dir => symlink('/dev/null', join(dir, 'orders-0', 'x.log')),
    severity: 'corrupt',
    code: 'UNSAFE_PATH',
    says: /symbolic link/
  },
  {
    name: 'what compaction left',
    do: dir => writeFile(join(dir, 'orders-0', '00000000000000000000.log.cleaned'), ''),
    severity: 'note',
    code: 'INTERRUPTED',
    says: /left of a compaction/
  },
  ...GOLDEN_VERSIONS.flatMap((on): Damage[] => [
    {
      name: 'a record',
      on,
      do: flipped(segments('.log', 1), 300),
      severity: 'corrupt',
      code: 'BATCH_DAMAGED',
      says: /cannot be read/
    },
    {
      name: 'no log',
      on,
      do: gone(segments('.log', 1)),
      severity: 'corrupt',
      code: 'SEGMENT_MISSING',
      says: /This file is gone/
    },
    {
      name: 'a shorter end',
      on,
      do: cut(segments('.log', -1), 0),
      severity: 'corrupt',
      code: 'ENDS_TOO_EARLY',
      says: /was on the disk/
    },
    {
      name: 'an offset index',
      on,
      do: flipped(segments('.index', 1), 7),
      severity: 'derived',
      code: 'OFFSET_INDEX',
      says: /fit its log/
    },
    {
      name: 'a time index',
      on,
      do: flipped(segments('.timeindex', 1), 5),
      severity: 'derived',
      code: 'TIME_INDEX',
      says: /fit its log/
    },
    {
      name: 'a transaction index',
      on,
      do: async dir => flip(await fileOf(dir, 'transactions-0', '.txnindex'), 8),
      severity: 'derived',
      code: 'TRANSACTION_INDEX',
      says: /aborted transaction/
    },
    {
      name: 'a snapshot',
      on,
      do: async dir => flip(await fileOf(dir, 'idempotent-0', '.snapshot', -1), 30),
      severity: 'derived',
      code: 'PRODUCER_SNAPSHOT',
      says: /CRC/
    }
  ])
]

for (const { name, on = 'ours', do: damage, severity, code, says } of DAMAGES) {
  t.test(`${on}: ${name} is found, and called ${severity}`, async t => {
    const isOurs = on === 'ours' || on === 'crash'
    const dir = isOurs ? await ourDirectory(t, { crash: on === 'crash' }) : await brokersDirectory(t, on)
    await damage(dir)
    const report = await verifyDirectory(dir)
    const found = findingsOf(report)
    const match = found.find(one => one.severity === severity && one.code === code)
    t.ok(match, found.map(brief).join('; '))
    t.match(match?.message, says)
    t.equal(report.sound, !found.some(one => one.severity === 'corrupt'))
    if (severity !== 'corrupt')
      t.same(found.filter(one => one.severity === 'corrupt').map(brief), [], 'nothing worse is said')
  })
}

t.test('whatever bit of a log is flipped, it is found', async t => {
  const dir = await ourDirectory(t)
  let state = SEED
  const below = (bound: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
  const logs = (await readdir(join(dir, 'orders-0'))).filter(name => name.endsWith('.log'))
  for (let i = 0; i < 60; i += 1) {
    const path = join(dir, 'orders-0', logs[below(logs.length)] as string)
    const bytes = await readFile(path)
    const [at, bit] = [below(bytes.length), below(8)]
    await flip(path, at, 1 << bit)
    const report = await verifyDirectory(dir, { topics: ['orders'] })
    t.notOk(report.sound, `seed ${SEED}: bit ${bit} of byte ${at} of ${path}`)
    await writeFile(path, bytes)
  }
  t.ok((await verifyDirectory(dir)).sound)
})

t.test('beside a live writer an unfinished end is no finding, and only then', async t => {
  const dir = join(await tempDir(t), 'data')
  const store = await Store.open([dir])
  await store.createTopic('orders', {})
  const log = await store.openLog('orders', 0)
  await log.append([{ value: 'one' }])
  const path = await fileOf(dir, 'orders-0', '.log')
  await appendFile(path, Buffer.alloc(70, 1))
  const report = await verifyDirectory(dir)
  t.ok(report.live)
  t.same(findingsOf(report).map(brief), [])
  await truncate(path, (await readFile(path)).length - 70)
  let stop = false
  const writing = (async () => {
    while (!stop) await log.append([{ value: 'more '.repeat(20) }])
  })()
  for (let i = 0; i < 5; i += 1) t.same(findingsOf(await verifyDirectory(dir)).map(brief), [])
  stop = true
  await writing
  await store.close()
})

t.test('a topic that is not there, and a folder that is no data directory, are refused', async t => {
  const dir = await ourDirectory(t)
  await t.rejects(verifyDirectory(dir, { topics: ['nope'] }), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await t.rejects(verifyDirectory(join(dir, 'nope')), { code: 'NOT_A_DATA_DIRECTORY' })
  await t.rejects(verifyDirectory(dir, { signal: AbortSignal.abort() }), { code: 'ABORTED' })
})

t.test('the command: status, one line a partition, fields in their order', async t => {
  const dir = await ourDirectory(t)
  const sound = await run(['verify', dir, '--json'])
  t.equal(sound.status, 0, sound.stderr)
  t.same(
    sound.json().map(({ partition }) => partition),
    ['orders-0', 'packed-0']
  )
  const fields = ['partition', 'segments', 'batches', 'records', 'bytes', 'logStartOffset', 'logEndOffset', 'findings']
  t.same(Object.keys(sound.json()[0] ?? {}), fields)
  t.match(
    (await run(['verify', dir])).stdout,
    /^orders-0 {2}sound: offsets 0 up to 104, \d segment\(s\), 64 batches, 102 records/
  )
  await rm(await fileOf(dir, 'orders-0', '.index'))
  t.equal((await run(['verify', dir, '--json'])).status, 0, 'derived data is no failure')
  await flip(await fileOf(dir, 'orders-0', '.log'), 100)
  const corrupt = await run(['verify', dir, 'orders', '--json'])
  t.equal(corrupt.status, 1)
  t.match(corrupt.stderr, /^heartwood: .* is corrupt: orders-0\. .*\n$/)
  const [line] = corrupt.json()
  const [first] = (line?.['findings'] ?? []) as Finding[]
  t.same(Object.keys(first as object), ['severity', 'file', 'position', 'offset', 'code', 'message'])
  t.match(first, {
    severity: 'corrupt',
    file: 'orders-0/00000000000000000000.log',
    position: 0,
    offset: 0,
    code: 'BATCH_DAMAGED'
  })
  t.match((await run(['verify', dir])).stdout, /CORRUPT BATCH_DAMAGED: orders-0\/0+\.log \(byte 0, offset 0\)\n/)
  t.equal((await run(['verify', dir, 'nope'])).status, 1)
  t.equal((await run(['verify'])).status, 2)
  t.match((await run(['verify'])).stderr, /the data directory is missing \(see heartwood verify --help\)/)
})
