import { join } from 'node:path'
import t from 'tap'
import type { SectorOutcome } from '../../lib/fs/memory-file.ts'
import type { FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import type { LoadOptions } from '../../lib/log/loader-types.ts'
import { closeLoaded, load } from '../helpers/loading.ts'
import {
  batch,
  batches,
  DIR,
  file,
  markBehind,
  memoryFolder,
  putWatermark,
  readFile
} from '../helpers/partition-folder.ts'

const BLOCK = 4096
const LOG = join(DIR, file(5))
const head = Buffer.concat(batches(0, 5))
const active = Buffer.concat(batches(5, 4, { valueBytes: 1500 }))
const torn = batch(9, { valueBytes: 700 }).subarray(0, 500)
const CHANGES: readonly string[] = ['write', 'truncate', 'datasync', 'sync']

async function folder(tail: Buffer = Buffer.alloc(0), log: Buffer = active): Promise<MemoryFileSystem> {
  const fs = await memoryFolder({ [file(0)]: head, [file(5)]: Buffer.concat([log, tail]) })
  await putWatermark(fs, markBehind(0, batches(0, 5)))
  return fs
}

/** What changed or synced the log file of the active segment, in order: `write 6300+1892`. */
async function changes(fs: MemoryFileSystem, options: Partial<LoadOptions> = {}): Promise<string[]> {
  const seen: string[] = []
  fs.onCall = ({ operation, path, position, length }: FileSystemCall) => {
    if (path !== LOG || !CHANGES.includes(operation)) return
    if (operation === 'write') seen.push(`write ${position}+${length}`)
    else seen.push(operation === 'truncate' ? `truncate ${position}` : operation)
  }
  const log = await load({ fs, dir: DIR, ...options })
  fs.onCall = undefined
  await closeLoaded(log, false)
  return seen
}

const end = active.length
const cleared = [`write ${end}+${BLOCK - (end % BLOCK)}`, 'datasync', `truncate ${end}`, 'sync']

t.test('after an unclean end the rest of the last block is zeros on the disk before the log is served', async t => {
  t.not(end % BLOCK, 0)
  t.same(await changes(await folder()), ['datasync', ...cleared])
  t.same(await changes(await folder(torn)), [`truncate ${end}`, 'sync', 'datasync', ...cleared], 'after a cut')
  const preallocated = Buffer.alloc(3 * BLOCK)
  t.same(await changes(await folder(preallocated)), [`truncate ${end}`, 'sync', 'datasync', ...cleared], 'zeros')
})

t.test('what is written there are zeros, and the file keeps its length', async t => {
  const fs = await folder()
  let between: Buffer | undefined
  let datasyncs = 0
  fs.onCall = async ({ operation, path }: FileSystemCall) => {
    if (path !== LOG || operation !== 'datasync') return
    datasyncs += 1
    if (datasyncs === 2) between = await readFile(fs.clone(), LOG)
  }
  const log = await load({ fs, dir: DIR })
  fs.onCall = undefined
  t.equal(log.logEndOffset, 9)
  await closeLoaded(log, false)
  t.same(between, Buffer.concat([active, Buffer.alloc(BLOCK - (end % BLOCK))]))
  t.same(await readFile(fs, LOG), active)
})

t.test('nothing is written where a block ends, after a clean close, or by a reader', async t => {
  const room = 2 * BLOCK - end - batch(9, { valueBytes: 100 }).length
  const filled = Buffer.concat([active, batch(9, { valueBytes: 100 + room })])
  // The length of a value is a varint, so it may be some bytes more.
  const excess = filled.length - 2 * BLOCK
  const whole = Buffer.concat([active, batch(9, { valueBytes: 100 + room - excess })])
  t.equal(whole.length % BLOCK, 0)
  t.same(await changes(await folder(undefined, whole)), ['datasync'])
  t.same(await changes(await folder(), { clean: true, recoveryPoint: 9 }), [])
  t.same(await changes(await folder(), { readOnly: true }), [])
})

t.test('a full disk is no reason not to open', async t => {
  for (const written of [0, 100]) {
    const fs = await folder()
    let writes = 0
    fs.onCall = ({ operation, path }: FileSystemCall) => {
      if (path !== LOG || operation !== 'write') return undefined
      writes += 1
      if (writes === 1 && written > 0) return written
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    }
    const log = await load({ fs, dir: DIR })
    fs.onCall = undefined
    t.equal(log.logEndOffset, 9)
    t.ok(writes > 0)
    await closeLoaded(log, false)
    t.same(await readFile(fs, LOG), active, `${written} bytes of zeros were written`)
  }
})

t.test('any other failure ends the opening, and the next one comes to the same log', async t => {
  for (const [operation, nth, code] of [
    ['write', 1, 'STORAGE_FAILED'],
    ['datasync', 2, 'SYNC_FAILED'],
    ['truncate', 1, 'STORAGE_FAILED'],
    ['sync', 1, 'SYNC_FAILED']
  ] as const) {
    const fs = await folder()
    let calls = 0
    fs.onCall = (call: FileSystemCall) => {
      if (call.path !== LOG || call.operation !== operation) return
      calls += 1
      if (calls === nth) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    }
    await t.rejects(load({ fs, dir: DIR }), { code }, operation)
    fs.onCall = undefined
    const log = await load({ fs, dir: DIR })
    t.equal(log.logEndOffset, 9, operation)
    await closeLoaded(log, false)
    t.same(await readFile(fs, LOG), active, operation)
  }
})

const OUTCOMES: readonly SectorOutcome[] = ['drop', 'keep', 'older', 'zero', 'garble']

t.test('a power cut after any of the calls leaves what recovers to the same log', async t => {
  class PowerCut extends Error {}
  // The datasync before, of what was found, is the first call.
  for (let done = 1; done <= 1 + cleared.length; done += 1) {
    for (const outcome of OUTCOMES) {
      for (const keepsLength of [false, true]) {
        const fs = await folder()
        let calls = 0
        fs.onCall = ({ operation, path }: FileSystemCall) => {
          if (calls >= done) throw new PowerCut()
          if (path === LOG && CHANGES.includes(operation)) calls += 1
        }
        await load({ fs, dir: DIR }).then(
          () => t.fail('the power was not cut'),
          () => undefined
        )
        t.equal(calls, done)
        fs.onCall = undefined
        fs.powerCut({
          sector: () => outcome,
          length: ({ durable, present }) => (keepsLength ? present : durable)
        })
        const what = `${done} calls, ${outcome}, ${keepsLength ? 'new' : 'durable'} length`
        const log = await load({ fs, dir: DIR })
        t.equal(log.logEndOffset, 9, what)
        await closeLoaded(log, false)
        t.same(await readFile(fs, LOG), active, what)
      }
    }
  }
})
