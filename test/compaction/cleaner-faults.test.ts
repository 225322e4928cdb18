import { join } from 'node:path'
import t from 'tap'
import { cleanLog } from '../../lib/compaction/cleaner.ts'
import { CleaningPace } from '../../lib/compaction/cleaning-pace.ts'
import type { CleanedGroup, CleaningInput } from '../../lib/compaction/cleaning-types.ts'
import type { FileSystemCall, MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { systemError } from '../../lib/fs/memory-tree.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { type TransactionIndex as Index, TransactionIndex } from '../../lib/segment/transaction-index.ts'
import { LogError } from '../../lib/util/errors.ts'
import { inputFor, sourcesIn } from '../helpers/cleaning.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { batch, DIR, file, imageOf, marker, memoryFolder, putFiles, readFile } from '../helpers/partition-folder.ts'

const transactional = { producerId: 9, producerEpoch: 0, baseSequence: 0, transactional: true }

function indexOfAbort(): Index {
  const index = new TransactionIndex(5)
  index.append({ producerId: 9, firstOffset: 5, lastOffset: 7, lastStableOffset: 8 })
  return index
}

/** Two groups: segments 0 and 5 and an active one; of every key there is a later record. */
async function build(): Promise<MemoryFileSystem> {
  return memoryFolder({
    [file(0)]: Buffer.concat([again(0), again(1), batch(2, { count: 2, compression: 'gzip' }), again(4)]),
    [file(5)]: Buffer.concat([batch(5, { count: 2, ...transactional }), marker('abort', 7, 9), again(8)]),
    [file(5, '.txnindex')]: indexOfAbort().bytes(),
    [file(9)]: again(9)
  })
}

function again(baseOffset: number): Buffer {
  const records = [{ key: 'k', value: `v${baseOffset}` }]
  return encodeBatch(records, { now: 1_700_000_000_000 + baseOffset, baseOffset })
}

function given(fs: MemoryFileSystem): Promise<CleaningInput> {
  return inputFor({ fs, settings: { segmentBytes: 1 } })
}

const ignore = (): void => undefined

function run(
  fs: MemoryFileSystem,
  input: CleaningInput,
  onGroup: (g: CleanedGroup) => void = ignore
): Promise<unknown> {
  return cleanLog(input, { fs, clock: new ManualClock(), onGroup })
}

function isCleaned(name: string): boolean {
  return name.endsWith('.cleaned')
}

async function sourcesOnly(fs: MemoryFileSystem): Promise<Record<string, string>> {
  return Object.fromEntries(Object.entries(await imageOf(fs)).filter(([name]) => !isCleaned(name)))
}

t.test('whatever byte of a source is changed, it is named, and all stays as it is (C1)', async t => {
  const sound = await readFile(await build(), join(DIR, file(0)))
  const starts: number[] = []
  for (let at = 0; at < sound.length; at = new BatchView(sound, at).end) starts.push(at)
  let named = 0
  for (let i = 0; i < sound.length; i += 1) {
    const fs = await build()
    const input = await given(fs)
    const damaged = Buffer.from(sound)
    damaged[i]! ^= 0x20
    await putFiles(fs, { [file(0)]: damaged })
    const before = await imageOf(fs)
    const start = starts.findLast(at => at <= i) as number
    // The leader epoch is under no checksum, and neither is a base offset that still fits.
    const mayPass = i - start < 8 || (i - start >= 12 && i - start < 16)
    const error = await run(fs, input).then(ignore, (error: unknown) => error as LogError)
    if (error === undefined) {
      if (!mayPass) t.fail(`byte ${i} was not missed`)
      continue
    }
    const { path, position, baseOffset } = error.details
    const isNamed = path === join(DIR, file(0)) && position === start && baseOffset === 0
    if (error.code === 'CORRUPT_LOG' && isNamed) named += 1
    else t.fail(`byte ${i}: ${error.code} ${error.message}`)
    const after = await imageOf(fs)
    if (JSON.stringify(after) !== JSON.stringify(before)) t.fail(`byte ${i} left ${Object.keys(after).join()}`)
  }
  t.ok(named > sound.length * 0.8, `${named} of ${sound.length}`)
})

t.test('a source that is cut short is named with the place where it ends', async t => {
  const fs = await build()
  const input = await given(fs)
  const sound = await readFile(fs, join(DIR, file(0)))
  await putFiles(fs, { [file(0)]: sound.subarray(0, 130) })
  await t.rejects(run(fs, input), { code: 'CORRUPT_LOG', details: { position: 130 } })
  await fs.unlink(join(DIR, file(0)))
  await t.rejects(run(fs, input), { code: 'STORAGE_FAILED', details: { path: join(DIR, file(0)) } })
})

t.test('bytes behind the end that the log knows of are none of the cleaning', async t => {
  const fs = await build()
  const input = await given(fs)
  const sound = await readFile(fs, join(DIR, file(0)))
  await putFiles(fs, { [file(0)]: Buffer.concat([sound, Buffer.from('later')]) })
  await t.resolves(run(fs, input))
})

t.test('an abort of which the transaction index knows nothing stops the cleaning: its records would count', async t => {
  const fs = await build()
  const input = await given(fs)
  await fs.unlink(join(DIR, file(5, '.txnindex')))
  const before = await imageOf(fs)
  const position = batch(5, { count: 2, ...transactional }).length
  await t.rejects(run(fs, input), { code: 'CORRUPT_FILE', details: { position, baseOffset: 5 } })
  t.same(await imageOf(fs), before)
  await putFiles(fs, { [file(5, '.txnindex')]: 'no index' })
  await t.rejects(run(fs, input), { code: 'CORRUPT_FILE' })
})

t.test('a group whose swap fails is taken back, those before it are not', async t => {
  const fs = await build()
  const input = await given(fs)
  const sources = await sourcesOnly(fs)
  const failing = run(fs, input, ({ sources }) => {
    if (sources[0] === 5) throw new LogError('STORAGE_FAILED', 'no swap today')
  })
  await t.rejects(failing, { message: 'no swap today' })
  const names = Object.keys(await imageOf(fs)).filter(isCleaned)
  t.same(names, [file(0, '.index.cleaned'), file(0, '.log.cleaned'), file(0, '.timeindex.cleaned')])
  t.same(await sourcesOnly(fs), sources)
})

/** How many calls a cleaning makes of the file system. */
async function callsOf(): Promise<number> {
  const fs = await build()
  const input = await given(fs)
  let calls = 0
  fs.onCall = () => {
    calls += 1
  }
  await run(fs, input)
  return calls
}

t.test('whichever call fails, it is a typed error, and no file of the group stays (W2)', async t => {
  const calls = await callsOf()
  t.ok(calls > 40, `${calls} calls`)
  for (let failing = 0; failing < calls; failing += 1) {
    const fs = await build()
    const input = await given(fs)
    const sources = await sourcesOnly(fs)
    let call = 0
    let failed: FileSystemCall | undefined
    fs.onCall = made => {
      if (call++ !== failing) return
      failed = made
      throw systemError('EIO', 'call', made.path)
    }
    const done: number[] = []
    const outcome = await run(fs, input, ({ sources }) => void done.push(...sources)).then(ignore, e => e as LogError)
    fs.onCall = undefined
    const what = `${failed?.operation} of ${failed?.path}`
    if (outcome === undefined) {
      // A descriptor that fails to close after a read has nothing left to lose.
      if (failed?.operation !== 'close') t.fail(`${what} failed and nobody said so`)
    } else if (!(outcome instanceof LogError)) t.fail(`${what}: ${outcome}`)
    const left = Object.keys(await imageOf(fs)).filter(isCleaned)
    if (left.some(name => !done.includes(Number(name.slice(0, 20))))) t.fail(`${what} left ${left.join()}`)
    t.same(await sourcesOnly(fs), sources)
  }
})

t.test('what is handed out survives a power cut, and a cut before leaves the sources alone (W1)', async t => {
  const calls = await callsOf()
  for (let last = 0; last <= calls; last += 1) {
    const fs = await build()
    const input = await given(fs)
    const sources = await sourcesOnly(fs)
    const whole = new Map<string, Buffer>()
    let call = 0
    fs.onCall = () => {
      if (call++ >= last) throw systemError('EIO', 'power', 'gone')
    }
    await run(fs, input, async ({ cleaned }) => {
      for (const { baseOffset } of cleaned) {
        for (const suffix of ['.log', '.index', '.timeindex']) {
          const hook = fs.onCall
          fs.onCall = undefined
          const path = join(DIR, file(baseOffset, `${suffix}.cleaned`))
          whole.set(path, await readFile(fs, path))
          fs.onCall = hook
        }
      }
    }).catch(ignore)
    fs.onCall = undefined
    // Names that were not synced may survive as well as not: here they do, so that the content is seen.
    fs.powerCut({ name: () => true })
    t.same(await sourcesOnly(fs), sources)
    for (const [path, bytes] of whole) t.ok((await readFile(fs, path)).equals(bytes), `${path} after ${last} calls`)
  }
})

t.test('a cancelled cleaning ends at the next piece, and takes its files along', async t => {
  const fs = await build()
  const input = await given(fs)
  const before = await imageOf(fs)
  const controller = new AbortController()
  const done: CleanedGroup[] = []
  const cleaning = cleanLog(input, {
    fs,
    clock: new ManualClock(),
    signal: controller.signal,
    onGroup: group => void done.push(group),
    onProgress: ({ phase }) => {
      if (phase === 'cleaning') controller.abort(new Error('enough'))
    }
  })
  await t.rejects(cleaning, { code: 'ABORTED', cause: { message: 'enough' } })
  t.same(done, [])
  t.same(await imageOf(fs), before)
  const late = cleanLog(input, { fs, clock: new ManualClock(), signal: AbortSignal.abort(), onGroup: ignore })
  await t.rejects(late, { code: 'ABORTED' })
})

t.test('a cleaning goes no faster than it is told, rests while paused, and hears of changes', async t => {
  const fs = await build()
  const input = await given(fs)
  const bytes = (await sourcesIn(fs)).slice(0, 2).reduce((sum, source) => sum + source.bytes, 0)
  const clock = new ManualClock()
  const pace = new CleaningPace(clock, bytes)
  let isDone = false
  const cleaning = cleanLog(input, { fs, clock, pace, onGroup: ignore }).then(() => {
    isDone = true
  })
  // Both phases read all of it: two seconds' worth, the last of which have a second of credit.
  await clock.advanceAsync(900)
  t.notOk(isDone)
  pace.pause()
  await clock.advanceAsync(10_000)
  t.notOk(isDone)
  t.ok(pace.isPaused)
  pace.resume()
  await clock.advanceAsync(2000)
  t.ok(isDone)
  await cleaning

  const slow = new CleaningPace(clock, 1)
  const other = cleanLog(await given(await build()), { fs: await build(), clock, pace: slow, onGroup: ignore })
  await clock.advanceAsync(5000)
  slow.bytesPerSecond = undefined
  await clock.advanceAsync(1)
  await t.resolves(other)
})

t.test('a paused cleaning can be cancelled', async t => {
  const fs = await build()
  const clock = new ManualClock()
  const pace = new CleaningPace(clock)
  pace.pause()
  const controller = new AbortController()
  const cleaning = cleanLog(await given(fs), { fs, clock, pace, signal: controller.signal, onGroup: ignore })
  await clock.advanceAsync(100)
  controller.abort()
  await t.rejects(cleaning, { code: 'ABORTED' })
})
