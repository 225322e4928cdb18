import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nodeFileSystem as fs } from '../../lib/fs/node-file-system.ts'
import {
  formatPartitionMetadata,
  parsePartitionMetadata,
  readPartitionMetadata,
  writePartitionMetadata
} from '../../lib/store/partition-metadata.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

t.test("a broker's file is read, and written again it is the same to the byte", async t => {
  const folder = fixture('golden', 'kafka-4.3.1', 'clean', 'plain-0')
  const topicId = await readPartitionMetadata(fs, folder)
  t.equal(topicId, 'y_mn-2b7Tj6IMvDF4VYovg')
  t.same(formatPartitionMetadata(topicId ?? ''), await readFile(join(folder, 'partition.metadata')))
})

t.test('a folder without one has no topic id', async t => {
  const folder = await tempDir(t)
  t.equal(await readPartitionMetadata(fs, folder), undefined)
  await writePartitionMetadata(fs, folder, 'y_mn-2b7Tj6IMvDF4VYovg', {})
  t.equal(await readPartitionMetadata(fs, folder), 'y_mn-2b7Tj6IMvDF4VYovg')
})

t.test('what is not such a file is refused by its code', async t => {
  const parse = (text: string) => parsePartitionMetadata(Buffer.from(text), 'partition.metadata')
  for (const text of [
    '',
    'version: 0',
    'version: 0\ntopic_id: ',
    'version: 0\ntopic_id: short',
    'version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA',
    'topic_id: y_mn-2b7Tj6IMvDF4VYovg\nversion: 0',
    'version: 0\ntopic_id: y_mn-2b7Tj6IMvDF4VYovg\nmore'
  ]) {
    t.throws(() => parse(text), { code: 'CORRUPT_FILE' }, JSON.stringify(text))
  }
  t.throws(() => parse('version: 1\ntopic_id: y_mn-2b7Tj6IMvDF4VYovg'), { code: 'UNSUPPORTED_VERSION' })
  t.equal(
    parse('version: 0\ntopic_id: y_mn-2b7Tj6IMvDF4VYovg\n'),
    'y_mn-2b7Tj6IMvDF4VYovg',
    'a newline at the end is no harm'
  )
})

t.test('one that is too large, or a folder, is refused before it is read', async t => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'partition.metadata'), Buffer.alloc(5000))
  await t.rejects(readPartitionMetadata(fs, folder), { code: 'CORRUPT_FILE' })
  const other = await tempDir(t)
  await mkdir(join(other, 'partition.metadata'))
  await t.rejects(readPartitionMetadata(fs, other), { code: 'CORRUPT_FILE' })
})
