import { readFileSync } from 'node:fs'
import t from 'tap'
import { findSoundBatch, searchFrom } from '../../lib/log/recovery-damage.ts'
import { type ByteSource, type ScanOptions, scanLogFile } from '../../lib/log/recovery-scan.ts'
import { MiB } from '../../lib/util/sizes.ts'
import { batch, batches } from '../helpers/partition-folder.ts'
import { fixture } from '../helpers/paths.ts'

function source(bytes: Buffer): ByteSource & { reads: number } {
  return {
    reads: 0,
    async read(target, position) {
      this.reads += 1
      return bytes.copy(target, 0, position, Math.min(bytes.length, position + target.length))
    }
  }
}

function scan(bytes: Buffer, options: Partial<ScanOptions> = {}) {
  return scanLogFile(source(bytes), { baseOffset: 0, from: 0, to: bytes.length, nextOffset: 0, ...options })
}

t.test('a scan counts what is sound and gives the place and the checksum of the last batch', async t => {
  const written = batches(0, 4, { count: 3 }).map((_, i) => batch(i * 3, { count: 3 }))
  const bytes = Buffer.concat(written)
  const seen: number[] = []
  const mark = (written[0]?.length ?? 0) + (written[1]?.length ?? 0)
  const outcome = await scan(bytes, { mark, visit: (view, position) => seen.push(view.baseOffset, position) })
  t.same(outcome.damage, undefined)
  t.same([outcome.soundEnd, outcome.nextOffset, outcome.batches], [bytes.length, 12, 4])
  t.equal(outcome.lastCrc, written[3]?.readUInt32BE(17))
  t.same(outcome.atMark, { nextOffset: 6, crc: written[1]?.readUInt32BE(17) })
  t.same(seen.slice(0, 4), [0, 0, 3, written[0]?.length])
})

t.test('batches larger than a chunk, and batches across its border, are read whole', async t => {
  const written = [
    batch(0, { valueBytes: 700_000 }),
    batch(1, { valueBytes: 700_000 }),
    batch(2, { valueBytes: 3 * MiB }),
    batch(3)
  ]
  const outcome = await scan(Buffer.concat(written))
  t.same([outcome.nextOffset, outcome.damage], [4, undefined])
})

t.test('the next piece is being read while the present one is checked, and nothing is left under way', async t => {
  const bytes = Buffer.concat(batches(0, 30, { valueBytes: 100_000 }))
  bytes[100_500] = (bytes[100_500] as number) ^ 1
  let begun = 0
  let ended = 0
  const slow: ByteSource = {
    async read(target, position) {
      begun += 1
      await new Promise(resolve => setImmediate(resolve))
      ended += 1
      return bytes.copy(target, 0, position)
    }
  }
  const seen: number[] = []
  const options = { baseOffset: 0, from: 0, to: bytes.length, nextOffset: 0 }
  const damaged = await scanLogFile(slow, { ...options, visit: () => seen.push(begun - ended) })
  t.same(seen, [1])
  t.match(damaged, { nextOffset: 1, damage: { kind: 'corrupt' } })
  t.same([begun, ended], [2, 2])
})

t.test('what comes quickly is read on the calling thread, and the event loop turns between two pieces', async t => {
  const bytes = Buffer.concat(batches(0, 30, { valueBytes: 100_000 }))
  let quick = 0
  let turns = 0
  let isOver = false
  const turn = (): void => {
    turns += 1
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  const source: ByteSource = {
    read: () => Promise.reject(new Error('nothing is left for the thread pool')),
    tryReadSync(target, position) {
      quick += 1
      return bytes.copy(target, 0, position)
    }
  }
  const outcome = await scanLogFile(source, { baseOffset: 0, from: 0, to: bytes.length, nextOffset: 0 })
  isOver = true
  t.match(outcome, { nextOffset: 30, damage: undefined })
  t.ok(quick >= 5 && turns >= quick, `${quick} pieces, ${turns} turns`)
})

t.test('where the calling thread should not read, the thread pool does, ahead', async t => {
  const bytes = Buffer.concat(batches(0, 30, { valueBytes: 100_000 }))
  const reads: string[] = []
  const source: ByteSource = {
    async read(target, position) {
      reads.push('pool')
      return bytes.copy(target, 0, position)
    },
    tryReadSync(target, position) {
      if (reads.length === 1 || reads.length === 2) return undefined
      reads.push('here')
      return bytes.copy(target, 0, position)
    }
  }
  const outcome = await scanLogFile(source, { baseOffset: 0, from: 0, to: bytes.length, nextOffset: 0 })
  t.match(outcome, { nextOffset: 30, damage: undefined })
  t.same(reads.slice(0, 5), ['here', 'pool', 'pool', 'here', 'here'])
})

t.test('an error of reading on counts only when the scan comes to it', async t => {
  const bytes = Buffer.concat(batches(0, 30, { valueBytes: 100_000 }))
  const failing: ByteSource = {
    async read(target, position) {
      if (position > 0) throw Object.assign(new Error('EIO'), { code: 'EIO' })
      return bytes.copy(target, 0, position)
    }
  }
  const options = { baseOffset: 0, from: 0, to: bytes.length, nextOffset: 0 }
  await t.rejects(scanLogFile(failing, options), { code: 'EIO' })
  bytes[100_500] = (bytes[100_500] as number) ^ 1
  t.match(await scanLogFile(failing, options), { nextOffset: 1, damage: { kind: 'corrupt' } })
})

t.test('a file that is shorter than it was when it was looked at ends there', async t => {
  const bytes = Buffer.concat(batches(0, 2))
  const outcome = await scan(bytes, { to: bytes.length + 100 })
  t.match(outcome, { nextOffset: 2, damage: { kind: 'incomplete', position: bytes.length } })
})

t.test('the header of a torn batch cannot make a scan ask for more memory than the file has', async t => {
  const huge = Buffer.from(batch(0))
  huge.writeInt32BE(2 ** 31 - 100, 8)
  t.match(await scan(huge), { soundEnd: 0, damage: { kind: 'incomplete', declaredEnd: undefined } })
})

t.test('gaps are told, and base offsets that go back are damage', async t => {
  const gap = await scan(Buffer.concat([batch(0), batch(5), batch(9)]))
  t.match(gap, {
    damage: undefined,
    gapCount: 2,
    gaps: [
      { fromOffset: 1, toOffset: 5 },
      { fromOffset: 6, toOffset: 9 }
    ]
  })
  const back = await scan(Buffer.concat([batch(3), batch(2)]))
  t.match(back, { nextOffset: 4, damage: { kind: 'corrupt', isWhole: true } })
})

t.test('offsets that do not fit into the segment are damage', async t => {
  const outcome = await scan(Buffer.concat([batch(0), batch(2 ** 31)]))
  t.match(outcome, { nextOffset: 1, damage: { isWhole: true } })
})

t.test(
  'real messages of before Kafka 0.11 are refused by name, and a batch that only looks like one is damaged',
  async t => {
    const look = Buffer.from(batch(0))
    look[16] = 0
    t.match(await scan(look), { damage: { kind: 'corrupt', reason: 'magic 0 and a wrong CRC' } })
    const message = Buffer.alloc(12 + 14)
    message.writeInt32BE(14, 8)
    message.writeInt32BE(-1, 18)
    message.writeInt32BE(-1, 22)
    const { crc32 } = await import('node:zlib')
    message.writeUInt32BE(crc32(message.subarray(16)), 12)
    await t.rejects(scan(message), { code: 'UNSUPPORTED_FOR_MESSAGE_FORMAT' })
  }
)

t.test('the damaged vectors end a scan where Kafka’s recovery ends it', async t => {
  const { vectors } = JSON.parse(readFileSync(fixture('vectors', 'corrupt.json'), 'utf8')) as {
    vectors: { id: string; file: string; expectedOnSegmentRecovery: string }[]
  }
  let compared = 0
  for (const { id, file, expectedOnSegmentRecovery: expected } of vectors) {
    const kept = /truncated to (\d+)|^(\d+) bytes kept/.exec(expected)
    if (kept === null) continue
    const bytes = Buffer.from(readFileSync(fixture('vectors', file), 'utf8').trim(), 'hex')
    const outcome = await scan(bytes).catch(error => error)
    if (outcome.code === 'UNSUPPORTED_FOR_MESSAGE_FORMAT') continue
    t.equal(outcome.soundEnd, Number(kept[1] ?? kept[2]), id)
    compared += 1
  }
  t.ok(compared >= 5, `${compared} vectors`)
})

t.test('a sound batch behind damage is found at any byte, if it is followed by another or by the end', async t => {
  const noise = Buffer.alloc(77, 0x5a)
  const found = (bytes: Buffer, from = 1) => findSoundBatch(source(bytes), { from, to: bytes.length, nextOffset: 3 })
  t.match(await found(Buffer.concat([noise, batch(7)])), { position: 77, baseOffset: 7, lastOffset: 7 })
  t.match(await found(Buffer.concat([noise, batch(7), batch(8), noise])), { position: 77 })
  t.match(await found(Buffer.concat([noise, batch(7), Buffer.alloc(5000)])), { position: 77 }, 'zeros are the end')
  t.equal(await found(Buffer.concat([noise, batch(7), noise])), undefined, 'inside something larger')
  t.equal(await found(Buffer.concat([noise, batch(2)])), undefined, 'an offset that is behind us')
  t.equal(await found(Buffer.concat([noise, batch(3 + 2 ** 31)])), undefined, 'an offset that is too far away')
  t.equal(await found(Buffer.concat([noise, batch(7)]), 78), undefined, 'begins before the search')
  const unsound = Buffer.from(batch(7))
  unsound[70] = (unsound[70] as number) ^ 1
  t.equal(await found(Buffer.concat([noise, unsound])), undefined)
})

t.test('the search crosses the borders of what it reads at a time', async t => {
  for (const at of [MiB - 61, MiB - 60, MiB - 17, MiB - 1, MiB, MiB + 1, 2 * MiB - 30]) {
    const bytes = Buffer.concat([Buffer.alloc(at, 0x02), batch(7)])
    t.match(await findSoundBatch(source(bytes), { from: 0, to: bytes.length, nextOffset: 0 }), { position: at })
  }
})

t.test('the search begins behind the damaged batch if its length can be believed, else one byte on', async t => {
  const first = Buffer.from(batch(0))
  first[65] = (first[65] as number) ^ 1
  const bytes = Buffer.concat([first, batch(1)])
  const crc = (await scan(bytes)).damage
  t.equal(crc === undefined ? undefined : searchFrom(crc), first.length)
  first.writeInt32BE(40, 8)
  const short = (await scan(Buffer.concat([first, batch(1)]))).damage
  t.equal(short === undefined ? undefined : searchFrom(short), 1)
})
