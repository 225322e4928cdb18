import fc from 'fast-check'
import t from 'tap'
import {
  digestOf,
  emptyTopicsFile,
  formatTopicsFile,
  parseTopicsFile,
  type TopicsFile
} from '../../lib/store/topics-file.ts'

const PATH = 'heartwood-topics'

function sample(): TopicsFile {
  const file = emptyTopicsFile()
  file.topics.set('orders', {
    topicId: 'y_mn-2b7Tj6IMvDF4VYovg',
    partitions: 3,
    origin: 'created',
    configs: new Map([
      ['retention.ms', '-1'],
      ['segment.bytes', '1048576']
    ]),
    pending: undefined
  })
  file.topics.set('__proto__', {
    topicId: undefined,
    partitions: 1,
    origin: 'adopted',
    configs: new Map(),
    pending: 'delete'
  })
  file.topics.set('new', {
    topicId: 'y_mn-2b7Tj6IMvDF4VYovg',
    partitions: 2,
    origin: 'created',
    configs: new Map([['__proto__', 'x']]),
    pending: { create: [0, 1] }
  })
  file.trash.add('old-0.0123456789abcdef0123456789abcdef-delete')
  file.unseen.add('orders-1')
  file.brokerEpoch = 9223372036854775807n
  file.marker = { digest: 'ab', confirmed: true }
  file.checkpoints.set('recovery-point-offset-checkpoint', ['a', 'b'])
  return file
}

t.test('what is written is read back, names of object prototypes included', async t => {
  t.same(parseTopicsFile(formatTopicsFile(sample()), PATH), sample())
  t.same(parseTopicsFile(formatTopicsFile(emptyTopicsFile()), PATH), emptyTopicsFile())
})

t.test('the first line names format, version, length and checksum', async t => {
  const [head] = formatTopicsFile(emptyTopicsFile()).toString().split('\n')
  t.match(head, /^heartwood-topics 1 \d+ [0-9a-f]{8}$/)
})

t.test('a newer version is named as such, not as damage', async t => {
  const bytes = Buffer.from(formatTopicsFile(sample()).toString().replace('heartwood-topics 1 ', 'heartwood-topics 2 '))
  t.throws(() => parseTopicsFile(bytes, PATH), { code: 'UNSUPPORTED_VERSION' })
})

t.test('every changed bit and every cut is damage, and nothing else is thrown', async t => {
  const bytes = formatTopicsFile(sample())
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(bytes)
      changed[at] = changed[at]! ^ (1 << bit)
      try {
        parseTopicsFile(changed, PATH)
        t.fail(`bit ${bit} of byte ${at} went unnoticed`)
      } catch (error) {
        const { code } = error as { code?: string }
        if (code !== 'CORRUPT_FILE' && code !== 'UNSUPPORTED_VERSION') throw error
      }
    }
    t.throws(() => parseTopicsFile(bytes.subarray(0, at), PATH), { code: 'CORRUPT_FILE' })
  }
})

t.test('any bytes are refused with CORRUPT_FILE', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      try {
        parseTopicsFile(Buffer.from(bytes), PATH)
        return false
      } catch (error) {
        return (error as { code?: string }).code === 'CORRUPT_FILE'
      }
    })
  )
})

t.test('a sound checksum over names that lead out of the directory is refused all the same', async t => {
  // Folders of these names are created and removed, so a side-car that somebody made up must not name others.
  for (const name of ['../etc', 'a/b', '..', '']) {
    const file = emptyTopicsFile()
    file.topics.set(name, { topicId: undefined, partitions: 1, origin: 'created', configs: new Map() })
    t.throws(() => parseTopicsFile(formatTopicsFile(file), PATH), { code: 'CORRUPT_FILE' }, name)
  }
  for (const name of ['../x-delete', 'orders-0', 'a/b-delete']) {
    const file = emptyTopicsFile()
    file.trash.add(name)
    t.throws(() => parseTopicsFile(formatTopicsFile(file), PATH), { code: 'CORRUPT_FILE' }, name)
  }
})

t.test('digests tell contents apart', async t => {
  t.equal(digestOf(Buffer.from('a')), digestOf(Buffer.from('a')))
  t.not(digestOf(Buffer.from('a')), digestOf(Buffer.from('b')))
})
