import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { LEADER_EPOCH_FILE, LeaderEpochs } from '../../lib/log/leader-epochs.ts'
import { goldenPartitions } from '../helpers/golden.ts'

const DIR = '/p'

async function folder(text?: string): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem()
  await fs.makeDirectory(DIR)
  await fs.syncDirectory('/')
  if (text !== undefined) {
    const handle = await fs.open(join(DIR, LEADER_EPOCH_FILE), 'create')
    await handle.write(Buffer.from(text), 0)
    await handle.close()
  }
  return fs
}

async function content(fs: MemoryFileSystem): Promise<string> {
  const handle = await fs.open(join(DIR, LEADER_EPOCH_FILE), 'read')
  const bytes = Buffer.alloc((await handle.stat()).size)
  await handle.read(bytes, 0)
  return bytes.toString()
}

function epochsWith(...entries: [epoch: number, startOffset: number][]): LeaderEpochs {
  const epochs = new LeaderEpochs(new MemoryFileSystem(), DIR)
  for (const [epoch, startOffset] of entries) epochs.assign(epoch, startOffset)
  return epochs
}

const list = (epochs: LeaderEpochs): [number, number][] => epochs.entries.map(e => [e.epoch, e.startOffset])

test('an epoch begins at its first batch; later batches of it change nothing', async t => {
  const epochs = epochsWith()
  t.equal(epochs.latestEpoch, undefined)
  t.equal(epochs.assign(0, 0), true)
  t.equal(epochs.assign(0, 0), false)
  t.equal(epochs.assign(0, 17), false)
  t.equal(epochs.assign(3, 20), true)
  t.strictSame(list(epochs), [
    [0, 0],
    [3, 20]
  ])
  t.equal(epochs.latestEpoch, 3)
  t.equal(epochs.assign(-1, 30), false, 'an unknown epoch says nothing')
})

test('what contradicts a new entry goes', async t => {
  const start = (): LeaderEpochs => epochsWith([0, 0], [2, 20], [4, 40])
  const cases: [epoch: number, offset: number, expected: [number, number][]][] = [
    [
      5,
      40,
      [
        [0, 0],
        [2, 20],
        [5, 40]
      ]
    ],
    [
      5,
      30,
      [
        [0, 0],
        [2, 20],
        [5, 30]
      ]
    ],
    [
      3,
      50,
      [
        [0, 0],
        [2, 20],
        [3, 50]
      ]
    ],
    [
      2,
      50,
      [
        [0, 0],
        [2, 50]
      ]
    ],
    [
      4,
      35,
      [
        [0, 0],
        [2, 20],
        [4, 35]
      ]
    ],
    [
      1,
      10,
      [
        [0, 0],
        [1, 10]
      ]
    ],
    [0, 0, [[0, 0]]]
  ]
  for (const [epoch, offset, expected] of cases) {
    const epochs = start()
    epochs.assign(epoch, offset)
    t.strictSame(list(epochs), expected, `${epoch} at ${offset}`)
  }
})

test('the end of an epoch is where the next one begins, and of the latest the end of the log', async t => {
  const epochs = epochsWith([1, 10], [3, 30], [4, 40])
  const end = (epoch: number): unknown => epochs.endOffsetFor(epoch, 99)
  t.strictSame(end(4), { epoch: 4, endOffset: 99 })
  t.strictSame(end(3), { epoch: 3, endOffset: 40 })
  t.strictSame(end(2), { epoch: 1, endOffset: 30 }, 'the largest one not above it')
  t.strictSame(end(0), { epoch: 0, endOffset: 10 }, 'below the first: nothing of it is here')
  t.equal(end(5), undefined)
  t.equal(end(-1), undefined)
  t.equal(epochsWith().endOffsetFor(0, 99), undefined)
})

test('the epoch of an offset is that of the entry that covers it', async t => {
  const epochs = epochsWith([1, 10], [3, 30])
  t.strictSame(
    [9, 10, 29, 30, 99].map(offset => epochs.epochAt(offset)),
    [undefined, 1, 1, 3, 3]
  )
})

test('truncation drops the epochs that have lost all their offsets', async t => {
  const epochs = epochsWith([1, 10], [3, 30], [4, 40])
  epochs.truncateFromEnd(41)
  t.equal(epochs.latestEpoch, 4)
  epochs.truncateFromEnd(40)
  t.equal(epochs.latestEpoch, 3)
  epochs.truncateFromEnd(0)
  t.strictSame(list(epochs), [])
  epochs.truncateFromEnd(0)
  epochs.clear()
})

test('a raised log start offset cuts the epoch that covers it', async t => {
  const epochs = epochsWith([1, 10], [3, 30], [4, 40])
  epochs.truncateFromStart(5)
  t.strictSame(list(epochs)[0], [1, 10], 'nothing begins below')
  epochs.truncateFromStart(10)
  t.strictSame(list(epochs)[0], [1, 10])
  epochs.truncateFromStart(35)
  t.strictSame(list(epochs), [
    [3, 35],
    [4, 40]
  ])
  epochs.truncateFromStart(40)
  t.strictSame(list(epochs), [[4, 40]])
  epochs.truncateFromStart(99)
  t.strictSame(list(epochs), [[4, 99]])
})

test('the file is written when something changed, whole and durable, and read back', async t => {
  const fs = await folder()
  const epochs = await LeaderEpochs.load(fs, DIR)
  t.equal(epochs.dirty, false)
  await epochs.persist()
  t.equal(await fs.stat(join(DIR, LEADER_EPOCH_FILE)), undefined, 'nothing to say, no file')
  epochs.assign(0, 0)
  epochs.assign(2, 15)
  t.equal(epochs.dirty, true)
  await epochs.persist()
  t.equal(epochs.dirty, false)
  t.equal(await content(fs), '0\n2\n0 0\n2 15\n')
  fs.powerCut()
  const again = await LeaderEpochs.load(fs, DIR)
  t.strictSame(list(again), list(epochs))
  t.equal(again.dirty, false)
  let writes = 0
  fs.onCall = ({ operation }) => {
    if (operation === 'write') writes += 1
  }
  again.truncateFromStart(0)
  again.truncateFromEnd(16)
  await again.persist()
  t.equal(writes, 0, 'nothing has changed')
  again.clear()
  await Promise.all([again.persist(), again.persist()])
  t.equal(writes, 1)
  t.equal(await content(fs), '0\n0\n')
})

test('a change during a write is not taken for written', async t => {
  const fs = await folder()
  const epochs = await LeaderEpochs.load(fs, DIR)
  epochs.assign(0, 0)
  fs.onCall = ({ operation }) => {
    if (operation === 'rename') epochs.assign(1, 10)
  }
  await epochs.persist()
  t.equal(epochs.dirty, true)
  fs.onCall = undefined
  await epochs.persist()
  t.strictSame(list(await LeaderEpochs.load(fs, DIR)), [
    [0, 0],
    [1, 10]
  ])
})

test('a failed write leaves the old file, and the next one tries again', async t => {
  const fs = await folder('0\n1\n0 0\n')
  const epochs = await LeaderEpochs.load(fs, DIR)
  epochs.assign(1, 10)
  fs.onCall = ({ operation }) => {
    if (operation === 'write') throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  }
  await t.rejects(epochs.persist(), { code: 'ENOSPC' })
  fs.onCall = undefined
  t.equal(await content(fs), '0\n1\n0 0\n')
  t.equal(epochs.dirty, true)
  await epochs.persist()
  t.equal(await content(fs), '0\n2\n0 0\n1 10\n')
})

test('files by Kafka are read; a damaged one is refused; one out of order is put right', async t => {
  for (const { dir } of goldenPartitions()) {
    const text = readFileSync(join(dir, LEADER_EPOCH_FILE), 'utf8')
    const fs = await folder(text)
    const epochs = await LeaderEpochs.load(fs, DIR)
    t.equal(epochs.dirty, false)
    t.equal(
      `0\n${epochs.entries.length}\n${list(epochs)
        .map(pair => `${pair.join(' ')}\n`)
        .join('')}`,
      text
    )
  }
  for (const text of ['0\n2\n0 0\n', '0\n1\n0\n', '0\n1\n0 0 0\n', '0\n1\n-1 0\n', '0\n1\n0 x\n']) {
    await t.rejects(LeaderEpochs.load(await folder(text), DIR), { code: 'CORRUPT_FILE' }, JSON.stringify(text))
  }
  const repaired = await LeaderEpochs.load(await folder('0\n3\n0 0\n2 20\n1 30\n'), DIR)
  t.strictSame(list(repaired), [
    [0, 0],
    [1, 30]
  ])
  t.equal(repaired.dirty, true)
})

test('entries stay in order, and each answers as the list of batches would', async t => {
  const batches = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 5 })), { maxLength: 30 })
  fc.assert(
    fc.property(batches, fc.nat(40), (steps, epoch) => {
      // A log by its batches: epochs never go back, as leaders never do.
      const epochs = epochsWith()
      const written: { epoch: number; offset: number }[] = []
      let now = 0
      let end = 0
      for (const [newer, count] of steps) {
        now += newer
        epochs.assign(now, end)
        for (let i = 0; i < count; i += 1) written.push({ epoch: now, offset: end + i })
        end += count
      }
      for (const { epoch: by, offset } of written) t.equal(epochs.epochAt(offset), by)
      if (written.length === 0) return
      const found = epochs.endOffsetFor(epoch, end)
      if (epoch > now) {
        t.equal(found, undefined)
        return
      }
      const above = written.find(record => record.epoch > epoch)
      const floor = written.findLast(record => record.epoch <= epoch)
      t.strictSame(found, { epoch: floor?.epoch ?? epoch, endOffset: above?.offset ?? end })
    }),
    { numRuns: 100 }
  )
})
