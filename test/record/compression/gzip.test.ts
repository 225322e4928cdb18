import { gzipSync } from 'node:zlib'
import t from 'tap'
import { compress } from '../../../lib/record/compression/index.ts'
import { LIMITS, lines, noise, WAYS } from './samples.ts'

t.test('one member is written, without name or time', async t => {
  t.equal(compress('gzip', lines(100)).subarray(0, 8).toString('hex'), '1f8b080000000000')
})

t.test('members that follow each other are read as one, as Java does', async t => {
  const parts = [lines(100), Buffer.alloc(0), noise(70000), lines(50000)]
  const payload = Buffer.concat(parts.map(part => gzipSync(part)))
  for (const [way, run] of WAYS) {
    t.ok(run('gzip', payload, LIMITS).equals(Buffer.concat(parts)), way)
    t.ok(run('gzip', Buffer.concat([payload, payload]), LIMITS).length === 2 * (100 + 70000 + 50000), way)
  }
})

t.test('many empty members take no time worth speaking of', async t => {
  const empty = gzipSync(Buffer.alloc(0))
  const payload = Buffer.concat(Array.from({ length: 20000 }, () => empty))
  for (const [way, run] of WAYS) t.equal(run('gzip', payload, LIMITS).length, 0, way)
})

t.test('zeros behind the last member are refused, though node:zlib takes them for padding', async t => {
  const payload = Buffer.concat([gzipSync(lines(100)), Buffer.alloc(8)])
  for (const [way, run] of WAYS) {
    t.throws(() => run('gzip', payload, LIMITS), { code: 'INVALID_RECORD', message: /8 bytes follow/ }, way)
  }
})

t.test('a wrong checksum or size is refused', async t => {
  for (const back of [1, 4, 5, 8]) {
    const payload = gzipSync(lines(1000))
    payload[payload.length - back]! ^= 1
    for (const [way, run] of WAYS) {
      const code = /INVALID_RECORD|DECOMPRESSION_LIMIT/
      t.throws(() => run('gzip', payload, LIMITS), { code }, `${way}, ${back} from the end`)
    }
  }
})

t.test('a raw deflate or zlib stream is no gzip', async t => {
  for (const [way, run] of WAYS) {
    t.throws(
      () => run('gzip', Buffer.concat([Buffer.from([0x78, 0x9c]), noise(50)]), LIMITS),
      { code: 'INVALID_RECORD' },
      way
    )
  }
})
