import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { diskUsage } from '../../bench/harness/disk-usage.ts'
import { ioCount, statusBytes } from '../../bench/harness/process-facts.ts'
import { tempDir } from '../helpers/paths.ts'

t.test('figures of /proc are found by their names', t => {
  const status = 'Name:\tnode\nVmPeak:\t  900 kB\nVmHWM:\t   52640 kB\nVmRSS:\t   50000 kB\n'
  t.equal(statusBytes(status, 'VmHWM'), 52640 * 1024)
  t.equal(statusBytes(status, 'VmRSS'), 50000 * 1024)
  t.throws(() => statusBytes('Name:\tnode\n', 'VmRSS'), /VmRSS/)
  const io = 'rchar: 1948\nwchar: 7\nsyscr: 7\nsyscw: 1\nread_bytes: 0\n'
  t.equal(ioCount(io, 'rchar'), 1948)
  t.equal(ioCount(io, 'syscr'), 7)
  t.throws(() => ioCount('', 'rchar'), /rchar/)
  t.end()
})

t.test('the size of a folder is that of all its files, below it too', async t => {
  const dir = await tempDir(t)
  writeFileSync(join(dir, 'a'), Buffer.alloc(5000, 1))
  mkdirSync(join(dir, 'below'))
  writeFileSync(join(dir, 'below', 'b'), 'xyz')
  const { bytes, allocatedBytes, files } = diskUsage(dir)
  t.match({ bytes, files }, { bytes: 5003, files: 2 })
  t.ok(allocatedBytes >= 0 && allocatedBytes % 512 === 0, `${allocatedBytes} allocated`)
})
