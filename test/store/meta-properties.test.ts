import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  createMetaProperties,
  formatMetaProperties,
  parseMetaProperties,
  parseProperties
} from '../../lib/store/meta-properties.ts'
import { isKafkaUuid, isTopicUuid, randomHex32, randomKafkaUuid } from '../../lib/store/uuid.ts'
import { fixture } from '../helpers/paths.ts'

const parse = (text: string) => parseMetaProperties(Buffer.from(text), 'meta.properties')

t.test('what a broker wrote is read, its comments left out', async t => {
  const bytes = readFileSync(fixture('golden', 'kafka-4.3.1', 'clean', 'meta.properties'))
  t.same(parseMetaProperties(bytes, 'meta.properties'), {
    version: 1,
    clusterId: 'MkU3OEVBNTcwNTJENDM2Qk',
    nodeId: 1,
    directoryId: 'q1AVZFFP-YJMErGkNo5xZw'
  })
})

t.test('a broker of the ZooKeeper days has broker.id', async t => {
  const meta = parse('#\n#Mon Jan 01 00:00:00 UTC 2024\ncluster.id=abc\nversion=0\nbroker.id=17\n')
  t.same(meta, { version: 0, clusterId: 'abc', nodeId: 17, directoryId: undefined })
})

t.test('what we make is read back, with ids as Kafka prints them', async t => {
  const made = createMetaProperties()
  t.same(parseMetaProperties(formatMetaProperties(made), 'meta.properties'), made)
  t.equal(made.nodeId, 1)
  t.ok(isTopicUuid(made.clusterId ?? ''))
  t.ok(isTopicUuid(made.directoryId ?? ''))
  t.not(made.clusterId, made.directoryId)
})

t.test('ids with characters that properties escape survive', async t => {
  const made = { version: 1 as const, clusterId: 'a=b:c #d\\e!', nodeId: 3, directoryId: undefined }
  t.same(parseMetaProperties(formatMetaProperties(made), 'meta.properties'), made)
})

t.test('escapes, continued lines and other separators are those of Java', async t => {
  const properties = parseProperties('! a comment\n a : b\\\n   c\nd\\=e=f\\u0041\\n\nempty\n\\#x = y z \nlast=1\\')
  t.same(
    [...properties],
    [
      ['a', 'bc'],
      ['d=e', 'fA\n'],
      ['empty', ''],
      ['#x', 'y z '],
      ['last', '1']
    ]
  )
})

t.test('a file without a version, with another one, or with a node that is no number is refused', async t => {
  t.throws(() => parse(''), { code: 'CORRUPT_FILE' })
  t.throws(() => parse('node.id=1\n'), { code: 'CORRUPT_FILE' })
  t.throws(() => parse('version=one\n'), { code: 'CORRUPT_FILE' })
  t.throws(() => parse('version=2\n'), { code: 'UNSUPPORTED_VERSION' })
  t.throws(() => parse('version=1\nnode.id=first\n'), { code: 'CORRUPT_FILE' })
  t.throws(() => parseMetaProperties(Buffer.from([0xff, 0, 1, 2]), 'meta.properties'), { code: 'CORRUPT_FILE' })
})

t.test('random ids never look like an option and are exact base64url', async t => {
  for (let i = 0; i < 2000; i += 1) {
    const id = randomKafkaUuid()
    if (id.startsWith('-') || !isTopicUuid(id)) t.fail(id)
  }
  t.ok(isKafkaUuid('AAAAAAAAAAAAAAAAAAAAAQ'))
  t.notOk(isTopicUuid('AAAAAAAAAAAAAAAAAAAAAQ'), 'the metadata topic has this one')
  t.notOk(isTopicUuid('AAAAAAAAAAAAAAAAAAAAAA'), 'no id')
  t.notOk(isKafkaUuid('AAAAAAAAAAAAAAAAAAAAAB'), 'bits beyond the sixteenth byte')
  t.notOk(isKafkaUuid('short'))
  t.match(randomHex32(), /^[0-9a-f]{32}$/)
})
