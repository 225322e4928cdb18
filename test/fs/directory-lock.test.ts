import { type ChildProcess, spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { chmod, mkdir, readdir, readFile, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { lockDirectory, probeHolder } from '../../lib/fs/directory-lock.ts'
import { findLock, lockedError } from '../../lib/fs/lock-holder.ts'
import { tempDir } from '../helpers/paths.ts'

// The race takes its time on a busy machine.
t.setTimeout(115_000)

const here = fileURLToPath(import.meta.url)
const extension = extname(here)
const contender = join(here, '..', `lock-contender${extension}`)
const lockModule = new URL(`../../lib/fs/directory-lock${extension}`, import.meta.url).href

t.test('one holder, named to whoever comes second, until it lets go', async t => {
  const folder = await tempDir(t)
  t.equal(await probeHolder(folder), undefined)
  const lock = await lockDirectory(folder)
  t.match(await probeHolder(folder), { pid: process.pid, kind: 'heartwood' })
  await t.rejects(lockDirectory(folder), {
    code: 'LOCKED',
    message: /in this process already/,
    details: { pid: process.pid, kind: 'heartwood' }
  })
  await Promise.all([lock.release(), lock.release()])
  t.equal(await probeHolder(folder), undefined)
  const again = await lockDirectory(folder)
  await again.release()
  // `.lock` stays, because a broker may have opened it meanwhile; of ours nothing does.
  t.strictSame(await readdir(folder), ['.lock'])
  t.equal((await stat(join(folder, '.lock'))).size, 0)
  t.equal((await stat(join(folder, '.lock'))).mode & 0o777, 0o600)
})

t.test('a lock that nobody else wants is taken without a word to anybody', async t => {
  // To ask its own socket cost a new process more than all else that a lock takes.
  const folder = await tempDir(t)
  let connections = 0
  const count = (): void => {
    connections += 1
  }
  subscribe('net.client.socket', count)
  t.teardown(() => unsubscribe('net.client.socket', count))
  const lock = await lockDirectory(folder)
  t.equal(connections, 0)
  await t.rejects(lockDirectory(folder), { code: 'LOCKED' })
  t.equal(connections, 1, 'the second comer asks')
  await lock.release()
})

t.test('a second way to the same directory is the same directory', async t => {
  const folder = await tempDir(t)
  await mkdir(join(folder, 'data'))
  await symlink(join(folder, 'data'), join(folder, 'alias'))
  const lock = await lockDirectory(join(folder, 'alias'))
  await t.rejects(lockDirectory(join(folder, 'data')), { code: 'LOCKED' })
  await lock.release()
})

t.test('a second copy of the module is turned away too', async t => {
  const folder = await tempDir(t)
  const lock = await lockDirectory(folder)
  const copy: typeof import('../../lib/fs/directory-lock.ts') = await import(`${lockModule}?copy`)
  t.not(copy.lockDirectory, lockDirectory, 'really a second copy')
  await t.rejects(copy.lockDirectory(folder), { name: 'LogError', code: 'LOCKED' })
  await lock.release()
})

// From the sources, a worker of Node 20 cannot load TypeScript; what is built runs everywhere.
const workersLoad = extension === '.js' || Number.parseInt(process.versions.node, 10) >= 22

t.test('a worker thread is turned away too', { skip: !workersLoad && 'needs the built files' }, async t => {
  const folder = await tempDir(t)
  const lock = await lockDirectory(folder)
  const source = `
    const { parentPort } = require('node:worker_threads')
    import(${JSON.stringify(lockModule)})
      .then(({ lockDirectory }) => lockDirectory(${JSON.stringify(folder)}))
      .then(() => parentPort.postMessage('locked'), error => parentPort.postMessage(error.code))`
  const answer = await new Promise((resolve, reject) => {
    const worker = new Worker(source, { eval: true })
    worker.on('message', resolve)
    worker.on('error', reject)
  })
  t.equal(answer, 'LOCKED')
  await lock.release()
})

t.test('a path longer than a socket address is locked like any other', async t => {
  const folder = join(await tempDir(t), 'deep'.repeat(25), 'deeper'.repeat(20))
  await mkdir(folder, { recursive: true })
  const twin = `${folder.slice(0, -1)}x`
  await mkdir(twin)
  const lock = await lockDirectory(folder)
  await t.rejects(lockDirectory(folder), { code: 'LOCKED' })
  // Cut off at 107 bytes the two would be one.
  const other = await lockDirectory(twin)
  await Promise.all([lock.release(), other.release()])
  t.strictSame(await readdir(folder), ['.lock'])
})

t.test('what a killed holder leaves does not stop the next, which clears it away', async t => {
  const folder = await tempDir(t)
  const evidence = await tempDir(t)
  const child = contend({ folder, evidence, sections: 1, ending: 'kill', kinds: 'fcntl,sqlite,none' })
  t.equal(await ended(child), 'SIGKILL')
  t.equal((await readdir(folder)).filter(name => name.startsWith('.heartwood-lock-')).length, 1)
  t.equal(await probeHolder(folder), undefined)
  const lock = await lockDirectory(folder)
  t.equal((await readdir(folder)).filter(name => name.startsWith('.heartwood-lock-')).length, 1, 'its own')
  await lock.release()
})

t.test('half a claim of somebody killed in the middle is cleared away', async t => {
  const folder = await tempDir(t)
  const name = `.heartwood-lock-new-${'a'.repeat(24)}`
  await writeFile(join(folder, name), '')
  const fresh = await lockDirectory(folder)
  await fresh.release()
  t.strictSame((await readdir(folder)).sort(), [name, '.lock'], 'not while its maker may be at work')
  await utimes(join(folder, name), 1, 1)
  const lock = await lockDirectory(folder)
  await lock.release()
  t.strictSame(await readdir(folder), ['.lock'])
})

t.test('a holder too busy to answer is a holder all the same', async t => {
  const folder = await tempDir(t)
  const silent = createServer(() => undefined)
  await new Promise<void>(resolve => {
    silent.listen(join(folder, `.heartwood-lock-${'0'.repeat(24)}`), resolve)
  })
  t.teardown(() => silent.close())
  await t.rejects(lockDirectory(folder), { code: 'LOCKED' })
  t.match(await probeHolder(folder), { kind: 'heartwood' })
})

t.test('the lock does not keep its process running, and ends with it', async t => {
  const folder = await tempDir(t)
  const source = `import(${JSON.stringify(lockModule)}).then(({ lockDirectory }) => lockDirectory(${JSON.stringify(folder)}))`
  const child = spawn(process.execPath, [...process.execArgv, '-e', source], { stdio: 'inherit' })
  t.equal(await ended(child), 0)
  const lock = await lockDirectory(folder)
  await lock.release()
})

t.test('a symbolic link in place of .lock is refused, and nothing is written through it', async t => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'target'), 'precious')
  await symlink(join(folder, 'target'), join(folder, '.lock'))
  for (const kind of ['fcntl', 'sqlite'] as const) {
    const outcome = await lockDirectory(folder, { recordLocks: [kind, 'none'] }).then(
      lock => lock.release().then(() => lock.kind),
      error => error.code
    )
    t.ok(outcome === 'UNSAFE_PATH' || outcome === 'socket-only', outcome)
  }
  t.equal(await readFile(join(folder, 'target'), 'utf8'), 'precious')
})

t.test("Kafka's lock is taken, in the way that is there, and seen by every other way", async t => {
  for (const kind of ['fcntl', 'sqlite'] as const) {
    const folder = await tempDir(t)
    const lock = await lockDirectory(folder, { recordLocks: [kind, 'none'] })
    if (lock.kind === 'socket-only') {
      await lock.release()
      t.comment(`${kind} is not to be had here`)
      continue
    }
    t.equal(lock.kind, kind)
    t.strictSame(
      (await readdir(folder)).filter(name => !name.startsWith('.heartwood')),
      ['.lock'],
      'no journal'
    )
    const outcome = await fromAnotherProcess(folder)
    t.strictSame(outcome, { code: 'LOCKED', pid: process.pid })
    await lock.release()
    t.strictSame(await fromAnotherProcess(folder), { code: 'none' })
    t.equal((await stat(join(folder, '.lock'))).size, 0)
  }
})

t.test('where a later broker cannot be kept out, that is refused unless allowed, and said', async t => {
  const folder = await tempDir(t)
  await t.rejects(lockDirectory(folder, { recordLocks: ['none'], allowOneSided: false }), { code: 'LOCKED' })
  const lock = await lockDirectory(folder, { recordLocks: ['none'] })
  t.equal(lock.kind, 'socket-only')
  await lock.release()
})

t.test('a .lock that goes away while it is locked is made and locked again', async t => {
  // A broker removes its lock file on a clean stop; a lock on the file without a name would exclude nobody.
  const folder = await tempDir(t)
  const path = join(folder, '.lock')
  await writeFile(path, '')
  const [lock] = await Promise.all([lockDirectory(folder), unlink(path)])
  t.equal((await stat(path)).isFile(), true)
  if (lock.kind !== 'socket-only') t.match(await fromAnotherProcess(folder), { code: 'LOCKED' })
  await lock.release()
})

t.test('failures say what and where', async t => {
  const folder = await tempDir(t)
  await t.rejects(lockDirectory(join(folder, 'missing')), { code: 'STORAGE_FAILED', message: /missing/ })
  if (process.getuid?.() !== 0) {
    await chmod(folder, 0o500)
    await t.rejects(lockDirectory(folder), { code: 'PERMISSION_DENIED' })
    await chmod(folder, 0o700)
  }
})

t.test('the table of locks is read by device and inode', async t => {
  const table = [
    '1: POSIX  ADVISORY  READ  10 fe:00:77 0 EOF',
    '2: FLOCK  ADVISORY  WRITE 11 fe:00:77 0 EOF',
    '3: POSIX  ADVISORY  WRITE 12 fe:01:77 0 EOF',
    '4: POSIX  ADVISORY  WRITE 13 fe:00:77 0 EOF',
    '4: -> POSIX  ADVISORY  WRITE 14 fe:00:77 0 EOF',
    '5: OFDLCK ADVISORY  WRITE -1 08:10:9 0 EOF'
  ].join('\n')
  t.equal(findLock(table, { dev: 0xfe00n, ino: 77n }), 13)
  t.equal(findLock(table, { dev: 0x0810n, ino: 9n }), 0)
  t.equal(findLock(table, { dev: 0xfe00n, ino: 78n }), undefined)
})

t.test('the message names the broker and what to do', async t => {
  const error = lockedError('/data', { pid: 7, kind: 'kafka', command: 'kafka.Kafka' })
  t.equal(error.message, '/data is in use by a Kafka broker (pid 7): stop the broker first, or open read-only')
  t.match(lockedError('/data', { pid: undefined, kind: 'unknown', command: undefined }).message, /does not tell/)
})

t.test(
  'twelve processes race for one directory, some die inside, and never two are in it',
  { timeout: 110_000 },
  async t => {
    // The first sketch of such a lock had 18 overlaps in 120 sections; only a race shows that.
    const folder = await tempDir(t)
    const evidence = await tempDir(t)
    const runs: Promise<unknown>[] = []
    for (let index = 0; index < 12; index += 1) runs.push(race(folder, evidence, index))
    await Promise.all(runs)
    const notes = (await readFile(join(evidence, 'notes'), 'utf8')).trim().split('\n')
    const sections = notes.filter(note => note === 'section').length
    t.strictSame(
      notes.filter(note => note !== 'section'),
      []
    )
    t.equal(sections, 12 * 18)
    t.comment(`${sections} critical sections, 0 overlaps, ${12 * 2} holders killed`)
    const lock = await lockDirectory(folder)
    await lock.release()
    t.strictSame(await readdir(folder), ['.lock'])
  }
)

/** One contender: killed inside three times, then at its leisure. Half of them use the record lock as well. */
async function race(folder: string, evidence: string, index: number): Promise<void> {
  const kinds = index % 2 === 0 ? 'none' : 'fcntl,none'
  for (const ending of ['kill', 'kill', 'release'] as const) {
    const sections = ending === 'kill' ? 4 : 10
    await ended(contend({ folder, evidence, sections, ending, kinds }))
  }
}

function contend(options: {
  folder: string
  evidence: string
  sections: number
  ending: 'release' | 'kill'
  kinds: string
}): ChildProcess {
  const { folder, evidence, sections, ending, kinds } = options
  const args = [...process.execArgv, contender, folder, evidence, String(sections), ending, kinds]
  return spawn(process.execPath, args, { stdio: 'inherit' })
}

function ended(child: ChildProcess): Promise<number | string | null> {
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal ?? code))
  })
}

/** What Kafka's lock looks like from outside: tried without the socket lock, which would answer first. */
function fromAnotherProcess(folder: string): Promise<unknown> {
  const module = new URL(`../../lib/fs/record-lock${extension}`, import.meta.url).href
  const source = `import(${JSON.stringify(module)})
    .then(({ acquireRecordLock }) => acquireRecordLock(${JSON.stringify(folder)}, { kinds: ['none'] }))
    .then(lock => ({ code: lock.kind }), error => ({ code: error.code, pid: error.details.pid }))
    .then(outcome => process.stdout.write(JSON.stringify(outcome)))`
  const child = spawn(process.execPath, [...process.execArgv, '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', chunk => {
    text += String(chunk)
  })
  return ended(child).then(() => JSON.parse(text))
}
