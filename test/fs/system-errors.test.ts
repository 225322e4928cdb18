import t from 'tap'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { isSystemError, toLogError } from '../../lib/fs/system-errors.ts'
import { assertSafeVolume, volumeKind } from '../../lib/fs/volume-kind.ts'
import { LogError } from '../../lib/util/errors.ts'

t.test("the system's errors become ours, with what was done, where, and what to do", async t => {
  const cases = {
    ENOSPC: 'NO_SPACE',
    EDQUOT: 'NO_SPACE',
    EACCES: 'PERMISSION_DENIED',
    EPERM: 'PERMISSION_DENIED',
    EROFS: 'PERMISSION_DENIED',
    EMFILE: 'TOO_MANY_OPEN_FILES',
    ENFILE: 'TOO_MANY_OPEN_FILES',
    EIO: 'STORAGE_FAILED',
    ENOENT: 'STORAGE_FAILED'
  }
  for (const [system, code] of Object.entries(cases)) {
    const cause = Object.assign(new Error(`${system}: reason`), { code: system })
    const error = toLogError(cause, 'append to', '/data/a-0')
    t.match(error, { name: 'LogError', code, details: { path: '/data/a-0', system } })
    t.match(error.message, `cannot append to /data/a-0: ${system}: reason`)
    t.equal(error.cause, cause)
  }
  t.equal(toLogError('nonsense', 'open', '/x').code, 'STORAGE_FAILED')
})

t.test('an error of ours passes as it is', async t => {
  const error = new LogError('LOCKED', 'x')
  t.equal(toLogError(error, 'open', '/x'), error)
  t.equal(isSystemError(error, 'LOCKED'), true)
  t.equal(isSystemError(error, 'ENOENT'), false)
  t.equal(isSystemError(undefined, 'ENOENT'), false)
})

t.test('network file systems are told by their number, signed or not', async t => {
  for (const [type, name] of [
    [0x6969, 'nfs'],
    [0x517b, 'smb'],
    [0xff534d42, 'cifs'],
    [0xff534d42 | 0, 'cifs'],
    [0xfe534d42, 'smb2'],
    [0x01021997, '9p']
  ] as const) {
    t.strictSame(volumeKind(type), { name, kind: 'network' })
  }
  t.strictSame(volumeKind(0xef53), { name: 'ext4', kind: 'local' })
  t.strictSame(volumeKind(0x58465342), { name: 'xfs', kind: 'local' })
  t.strictSame(volumeKind(0x01021994), { name: 'tmpfs', kind: 'memory' })
  t.strictSame(volumeKind(0x12345), { name: '0x12345', kind: 'unknown' })
})

t.test('writing on a network file system is refused unless forced', async t => {
  const fs = new MemoryFileSystem()
  t.match(await assertSafeVolume(fs, '/'), { kind: 'memory' })
  fs.volume = async () => ({ type: 0x6969, freeBytes: 1 })
  await t.rejects(assertSafeVolume(fs, '/'), { code: 'UNSAFE_FILE_SYSTEM', message: /nfs/, details: { path: '/' } })
  t.match(await assertSafeVolume(fs, '/', { force: true }), { name: 'nfs' })
})
