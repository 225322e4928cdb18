import fc from 'fast-check'
import t from 'tap'
import { type Crc32cKind, crc32c, crc32cImplementation, makeCrc32c } from '../../lib/util/crc32c.ts'

const KINDS: Crc32cKind[] = ['native', 'wasm', 'js']

/** Bit by bit, from the definition alone. */
function byDefinition(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1))
  }
  return (crc ^ 0xffffffff) >>> 0
}

/** RFC 3720, appendix B.4. */
const KNOWN: [string, Buffer, number][] = [
  ['32 zeros', Buffer.alloc(32), 0x8a9136aa],
  ['32 ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
  ['32 up', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
  ['32 down', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
  ['the check value', Buffer.from('123456789'), 0xe3069283],
  ['nothing', Buffer.alloc(0), 0]
]

for (const kind of KINDS) {
  const compute = makeCrc32c(kind)!

  t.test(`${kind}: the known values`, async t => {
    for (const [name, bytes, value] of KNOWN) t.equal(compute(bytes, 0, bytes.length), value, name)
  })

  t.test(`${kind}: every length and alignment around the steps gives what the definition gives`, async t => {
    const bytes = Buffer.from(Array.from({ length: 400 }, (_, i) => (i * 167 + (i >> 3)) & 0xff))
    for (let start = 0; start < 20; start++) {
      for (let end = start; end < start + 70; end++) {
        const expected = byDefinition(bytes.subarray(start, end))
        if (compute(bytes, start, end) !== expected) t.fail(`[${start}, ${end})`)
      }
    }
  })
}

t.test('all implementations agree, and the chosen ones with them', async t => {
  const all = [crc32c, ...KINDS.map(kind => makeCrc32c(kind)!)]
  const property = fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(3000), fc.nat(3000), (bytes, a, b) => {
    const start = Math.min(a, b, bytes.length)
    const end = Math.min(Math.max(a, b), bytes.length)
    const expected = byDefinition(bytes.subarray(start, end))
    return all.every(compute => compute(bytes, start, end) === expected)
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('they agree on more than fits into one piece of WebAssembly memory', async t => {
  const bytes = Buffer.alloc(1_000_003)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761) >>> 24
  const expected = byDefinition(bytes.subarray(1))
  for (const kind of KINDS) t.equal(makeCrc32c(kind)!(bytes, 1, bytes.length), expected, kind)
  for (const size of [114687, 114688, 114689, 229376]) {
    const sums = new Set(KINDS.map(kind => makeCrc32c(kind)!(bytes, 7, 7 + size)))
    t.equal(sums.size, 1, `${size}`)
  }
})

t.test('the binary is used where it loads', async t => {
  t.equal(crc32cImplementation(), 'native')
})
