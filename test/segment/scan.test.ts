import fc from 'fast-check'
import t from 'tap'
import { BatchScanner, isZeroFilled, type ScanEnd, type ScanOptions, scanSegment } from '../../lib/segment/scan.ts'
import { batchOf, factsOf } from '../helpers/segments.ts'

function sourceOf(bytes: Buffer): { read(target: Buffer, position: number): Promise<number> } {
  return {
    async read(target, position) {
      return bytes.copy(target, 0, Math.min(position, bytes.length), Math.min(bytes.length, position + target.length))
    }
  }
}

async function scan(bytes: Buffer, options: Partial<ScanOptions> = {}): Promise<{ offsets: number[]; end: ScanEnd }> {
  const offsets: number[] = []
  const scanner = scanSegment(sourceOf(bytes), { to: bytes.length, ...options })
  for (;;) {
    const step = await scanner.next()
    if (step.done === true) return { offsets, end: step.value }
    offsets.push(step.value.batch.baseOffset)
  }
}

const log = Buffer.concat([0, 1, 2, 3, 4].map(baseOffset => batchOf({ baseOffset, valueBytes: 20 + baseOffset * 40 })))
const facts = factsOf(log)

t.test('every batch is found, however little is read at a time', async t => {
  for (const chunkBytes of [1, 17, 61, 100, 333, 1 << 20]) {
    for (const reuseBuffer of [false, true]) {
      t.same(await scan(log, { chunkBytes, reuseBuffer }), {
        offsets: [0, 1, 2, 3, 4],
        end: { kind: 'end', position: log.length }
      })
    }
  }
})

t.test('a file cut at any byte gives the batches before the cut and says where the rest begins', async t => {
  for (let length = 0; length <= log.length; length += 1) {
    const whole = facts.filter(fact => fact.position + fact.size <= length)
    const position = whole.reduce((sum, fact) => sum + fact.size, 0)
    const { offsets, end } = await scan(log.subarray(0, length), { chunkBytes: 64 })
    const expected = { kind: position === length ? 'end' : 'incomplete', position }
    if (offsets.length !== whole.length || end.kind !== expected.kind || end.position !== position) {
      t.fail(`cut at ${length}: ${JSON.stringify({ offsets, end })}`)
    }
  }
  t.pass()
})

t.test('one damaged byte anywhere under the CRC, or in a length or magic, ends the scan at its batch', async t => {
  for (let at = 0; at < log.length; at += 1) {
    const index = facts.findIndex(fact => at < fact.position + fact.size)
    const { position } = facts[index]!
    // No CRC covers the base offset and the leader epoch: the chain of offsets does, elsewhere.
    const field = at - position
    if (field < 8 || (field >= 12 && field < 16)) continue
    const bytes = Buffer.from(log)
    bytes[at] = bytes[at]! ^ 0x40
    const { offsets, end } = await scan(bytes)
    if (end.kind === 'end' || end.position !== position || offsets.length !== index) t.fail(`byte ${at}: ${end.kind}`)
  }
  t.pass()
})

t.test('a header that claims gigabytes makes nobody read more than the file has', async t => {
  const bytes = Buffer.from(log)
  bytes.writeInt32BE(2 ** 31 - 100, facts[1]!.position + 8)
  let largest = 0
  const source = sourceOf(bytes)
  const scanner = new BatchScanner(
    {
      read: (target, position) => {
        largest = Math.max(largest, target.length)
        return source.read(target, position)
      }
    },
    { to: bytes.length, chunkBytes: 100 }
  )
  while (await scanner.fill()) while (scanner.next() !== undefined);
  t.same(scanner.end, { kind: 'incomplete', position: facts[1]!.position })
  t.ok(largest <= bytes.length)
})

t.test('zeros, older formats and unknown ones are told by name', async t => {
  t.match((await scan(Buffer.concat([log, Buffer.alloc(5000)]))).end, {
    kind: 'corrupt',
    position: log.length,
    reason: 'zeros'
  })
  for (const magic of [0, 1, 3]) {
    const bytes = Buffer.from(log)
    bytes[facts[2]!.position + 16] = magic
    t.match((await scan(bytes)).end, { kind: 'corrupt', position: facts[2]!.position, reason: new RegExp(`${magic}`) })
  }
})

t.test('a scan may begin at any batch and end before any byte', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 4 }),
      fc.nat({ max: log.length }),
      fc.integer({ min: 1, max: 500 }),
      async (n, to, chunkBytes) => {
        const from = facts[n]!.position
        const { offsets } = await scan(log, { from, to, chunkBytes })
        t.same(
          offsets,
          facts.filter(f => f.position >= from && f.position + f.size <= to).map(f => f.baseOffset)
        )
      }
    )
  )
})

t.test('what a caller refuses ends the scan before it', async t => {
  const scanner = new BatchScanner(sourceOf(log), { to: log.length })
  await scanner.fill()
  scanner.next()
  scanner.next()
  scanner.refuse('not as I expected')
  t.equal(scanner.next(), undefined)
  t.equal(await scanner.fill(), false)
  t.same(scanner.end, { kind: 'corrupt', position: facts[1]!.position, reason: 'not as I expected' })
})

t.test('a file that is cut while it is scanned ends where it ends', async t => {
  const { offsets, end } = await scan(log.subarray(0, facts[2]!.position), { to: log.length, chunkBytes: 64 })
  t.same(offsets, [0, 1])
  t.same(end, { kind: 'end', position: facts[2]!.position })
})

t.test('zeros are told from data, to the last byte', async t => {
  const bytes = Buffer.alloc(3 << 20)
  t.ok(await isZeroFilled(sourceOf(bytes), 5, bytes.length))
  t.ok(await isZeroFilled(sourceOf(bytes), 5, 5))
  bytes[bytes.length - 1] = 1
  t.notOk(await isZeroFilled(sourceOf(bytes), 5, bytes.length))
  t.ok(await isZeroFilled(sourceOf(bytes), 5, bytes.length - 1))
})
