import { join } from 'node:path'
import t from 'tap'
import { CountingFileSystem } from '../../bench/harness/counting-file-system.ts'
import { nodeFileSystem } from '../../lib/fs/index.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('calls of a file system and of its handles are counted, and do what they do', async t => {
  const counted = new CountingFileSystem(nodeFileSystem)
  const { fs } = counted
  t.equal(fs.name, 'node')
  const path = join(await tempDir(t), 'file')
  const file = await fs.open(path, 'create')
  await file.write(Buffer.from('some bytes'), 0)
  file.writeSync(Buffer.from('more'), 10)
  await file.datasync()
  await file.close()
  const again = fs.openSync(path, 'read')
  const bytes = Buffer.alloc(14)
  t.equal(again.readSync(bytes, 0), 14)
  t.equal(bytes.toString(), 'some bytesmore')
  again.closeSync()
  t.equal(counted.calls('write', 'writeSync'), 2)
  t.equal(counted.calls('readSync'), 1)
  t.equal(counted.calls('open', 'openSync', 'datasync', 'close', 'closeSync'), 5)
  t.equal(counted.calls(), 8)
  counted.reset()
  t.equal(counted.calls(), 0)
})
