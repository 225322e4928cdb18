import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nodeFileSystem as fs } from '../../lib/fs/node-file-system.ts'
import {
  CLEAN_SHUTDOWN_MARKER,
  formatCleanShutdownMarker,
  putMarkerAside,
  putMarkerBack,
  readCleanShutdownMarker,
  readMarkerAside,
  removeCleanShutdownMarker,
  writeCleanShutdownMarker
} from '../../lib/store/clean-shutdown.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

t.test("a broker's marker names its epoch, which goes into ours", async t => {
  const marker = await readCleanShutdownMarker(fs, fixture('golden', 'kafka-4.3.1', 'clean'))
  t.equal(marker?.brokerEpoch, 158n)
  t.equal(formatCleanShutdownMarker(marker?.brokerEpoch).toString(), '{"version":0,"brokerEpoch":158}')
})

t.test('without an epoch found, ours says -1', async t => {
  t.equal(formatCleanShutdownMarker(undefined).toString(), '{"version":0,"brokerEpoch":-1}')
})

t.test('an empty marker of Kafka before 3.7, or a garbled one, counts as a marker without an epoch', async t => {
  const dir = await tempDir(t)
  for (const content of ['', '{"version":0,', 'garbage', '{"version":0,"brokerEpoch":"x"}']) {
    await writeFile(join(dir, CLEAN_SHUTDOWN_MARKER), content)
    const marker = await readCleanShutdownMarker(fs, dir)
    t.ok(marker)
    t.equal(marker?.brokerEpoch, undefined)
  }
})

t.test('an epoch beyond 2^53 is carried over exactly', async t => {
  const dir = await tempDir(t)
  await writeFile(join(dir, CLEAN_SHUTDOWN_MARKER), '{"version":0,"brokerEpoch":9223372036854775807}')
  t.equal((await readCleanShutdownMarker(fs, dir))?.brokerEpoch, 9223372036854775807n)
})

t.test('written, read, removed; removing none is no error', async t => {
  const dir = await tempDir(t)
  t.equal(await readCleanShutdownMarker(fs, dir), undefined)
  await writeCleanShutdownMarker(fs, dir, formatCleanShutdownMarker(7n), { permissions: 0o640 })
  t.equal(await readFile(join(dir, CLEAN_SHUTDOWN_MARKER), 'utf8'), '{"version":0,"brokerEpoch":7}')
  await removeCleanShutdownMarker(fs, dir)
  await removeCleanShutdownMarker(fs, dir)
  t.same(await readdir(dir), [])
})

t.test('put aside and back, in one step each; removing takes both', async t => {
  const dir = await tempDir(t)
  const marker = formatCleanShutdownMarker(7n)
  await writeCleanShutdownMarker(fs, dir, marker, { permissions: 0o640 })
  t.equal(await readMarkerAside(fs, dir), undefined)
  await putMarkerAside(fs, dir)
  t.equal(await readCleanShutdownMarker(fs, dir), undefined)
  t.same(await readMarkerAside(fs, dir), marker)
  await putMarkerBack(fs, dir)
  t.same((await readCleanShutdownMarker(fs, dir))?.bytes, marker)
  await putMarkerAside(fs, dir)
  await writeCleanShutdownMarker(fs, dir, marker, { permissions: 0o640 })
  await removeCleanShutdownMarker(fs, dir)
  t.same(await readdir(dir), [])
})

t.test('a folder of that name is no marker and is told', async t => {
  const dir = await tempDir(t)
  await mkdir(join(dir, CLEAN_SHUTDOWN_MARKER))
  await t.rejects(readCleanShutdownMarker(fs, dir), { code: 'CORRUPT_FILE' })
})
