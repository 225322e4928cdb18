import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nodeFileSystem as fs } from '../../lib/fs/node-file-system.ts'
import { CHECKPOINT_FILES, OffsetCheckpoint } from '../../lib/store/offset-checkpoints.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

t.test("a broker's checkpoint is read and formatted to the same bytes, in its order", async t => {
  for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
    const dir = fixture('golden', version, 'clean')
    for (const kind of ['recoveryPoint', 'logStart', 'highWatermark'] as const) {
      const checkpoint = await OffsetCheckpoint.read(fs, dir, kind)
      t.same(checkpoint.bytes(), await readFile(join(dir, CHECKPOINT_FILES[kind])))
      t.notOk(checkpoint.dirty)
    }
  }
})

t.test('lines that nobody touched stay where they are', async t => {
  const dir = await tempDir(t)
  const path = join(dir, 'recovery-point-offset-checkpoint')
  await writeFile(path, '0\n3\nb 0 5\na-b 1 7\nc 2 9\n')
  const checkpoint = await OffsetCheckpoint.read(fs, dir, 'recoveryPoint')
  checkpoint.set('a-b-1', 8)
  checkpoint.set('d-0', 1)
  checkpoint.set('c-2', undefined)
  t.ok(checkpoint.dirty)
  t.equal(checkpoint.bytes().toString(), '0\n3\nb 0 5\na-b 1 8\nd 0 1\n')
  t.equal(checkpoint.get('b-0'), 5)
})

t.test('setting what is there already makes nothing dirty', async t => {
  const dir = await tempDir(t)
  const checkpoint = await OffsetCheckpoint.read(fs, dir, 'logStart')
  checkpoint.set('a-0', undefined)
  t.notOk(checkpoint.dirty)
  checkpoint.set('a-0', 3)
  t.ok(checkpoint.dirty)
  checkpoint.noteWriting('digest')
  checkpoint.set('a-0', 3)
  t.notOk(checkpoint.dirty)
  checkpoint.noteFailure()
  t.ok(checkpoint.dirty)
})

t.test('a malformed checkpoint counts as empty, with a warning that names it', async t => {
  const dir = await tempDir(t)
  for (const content of ['0\n2\na 0 1\n', '1\n0\n', 'garbage', '0\n1\na 0 -1\n', '0\n1\na b c\n']) {
    await writeFile(join(dir, 'replication-offset-checkpoint'), content)
    const checkpoint = await OffsetCheckpoint.read(fs, dir, 'highWatermark')
    t.match(checkpoint.warning, /replication-offset-checkpoint/)
    t.equal(checkpoint.get('a-0'), undefined)
    t.ok(checkpoint.digest, 'it is there, and not what we wrote')
  }
})

t.test('an empty file has no entries, as in Kafka', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, 'cleaner-offset-checkpoint'), '')
  const checkpoint = await OffsetCheckpoint.read(fs, dir, 'cleaner')
  t.equal(checkpoint.warning, undefined)
  t.equal(checkpoint.bytes().toString(), '0\n0\n')
})
