/**
 * Mutual exclusion among heartwoods on one machine, by unix-domain sockets in the directory itself.
 *
 * A socket listens while its process lives, and the kernel closes it however the process ends; so a name that
 * accepts connections is a live claim, and one that refuses them is a dead one.
 *
 * Protocol:
 *
 *     1. bind and listen under `.heartwood-lock-new-ID`, then rename to `.heartwood-lock-ID`: the claim.
 *        ID is random, 96 bits.
 *     2. list the directory and connect to every other claim. Dead ones are unlinked.
 *     3. no other claim is alive: the lock is held, until its name is unlinked or its process ends.
 *        Else: a holder among them, give up; only claimants, the lowest ID asks again and the rest step back.
 *
 * Invariants:
 *   L1  A claim's name is never used twice. So one found dead stays dead, and may be unlinked at any later time:
 *       the race of every scheme with one fixed name (somebody takes it over between look and unlink) cannot occur.
 *   L2  A claim listens before it has its name, so a live claim is never taken for dead.
 *   L3  At most one holder: of two, one has made its claim first; the other listed the directory after its own
 *       claim, so it saw the first one alive and did not take the lock.
 *   L4  Who steps back decides progress only, never who holds.
 *
 * Processes of one machine only, containers included (the socket is found by its inode, not by network), and also
 * threads and second copies of this module, which a record lock cannot tell apart. Not across an NFS mount.
 */
import { createHash, randomBytes } from 'node:crypto'
import { lstat, mkdtemp, open, rename, rm, symlink, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeProcess, LOCK_FILE, type LockHolder, lockedError, recordLockHolder } from './lock-holder.ts'
import { nodeFileSystem } from './node-file-system.ts'
import { systemCode, toLogError } from './system-errors.ts'

const PREFIX = '.heartwood-lock-'
const CLAIM = /^\.heartwood-lock-[0-9a-f]{24}$/
const UNFINISHED = /^\.heartwood-lock-new-[0-9a-f]{24}$/
/** sun_path has 108 bytes with its zero; macOS has 104. Longer names are cut off without a word by some versions. */
const MAX_SOCKET_PATH_BYTES = 103
/** A holder whose event loop is busy does not answer in time; it is alive all the same. */
const ANSWER_TIMEOUT_MS = 500
const MAX_ANSWER_BYTES = 1024
/** Claimants step back for a few milliseconds each, so this is reached only when one of them hangs. */
const CONTENTION_TIMEOUT_MS = 10_000
/** Far longer than it takes from bind to listen, whatever the load. */
const UNFINISHED_MS = 60_000

type ClaimState = 'claiming' | 'holding'

interface Claim {
  readonly name: string
  readonly server: Server
  state: ClaimState
}

interface LiveClaim {
  readonly name: string
  readonly state: ClaimState
  readonly pid: number | undefined
}

export interface SocketLock {
  release(): Promise<void>
}

/**
 * @param directory - absolute, its symbolic links resolved.
 * @throws {LogError} LOCKED with the holder; PERMISSION_DENIED, NO_SPACE, STORAGE_FAILED when no socket can be made.
 */
export async function acquireSocketLock(directory: string): Promise<SocketLock> {
  if (process.platform === 'win32') return acquirePipeLock(directory)
  const deadline = performance.now() + CONTENTION_TIMEOUT_MS
  const door = await openDoor(directory)
  try {
    for (;;) {
      await refuseHolder(directory, await liveClaims(directory, door))
      const claim = await makeClaim(directory, door)
      if (claim === undefined) continue
      const won = await contend(directory, door, claim, deadline).catch(async error => {
        await withdraw(directory, claim)
        throw error
      })
      if (won) return { release: () => withdraw(directory, claim) }
      await withdraw(directory, claim)
      await pause(5 + Math.random() * 25)
    }
  } finally {
    await door.close()
  }
}

/** The heartwood that holds a directory, found without touching it; `undefined` when none does. */
export async function probeSocketLock(directory: string): Promise<LockHolder | undefined> {
  if (process.platform === 'win32') return undefined
  const door = await openDoor(directory)
  try {
    const claims = await liveClaims(directory, door, { cleanUp: false })
    const claim = claims.find(each => each.state === 'holding') ?? claims[0]
    return claim === undefined ? undefined : describeClaim(directory, claim)
  } finally {
    await door.close()
  }
}

/** Windows knows no sockets in folders, but pipes whose names are taken once and vanish with their process. */
async function acquirePipeLock(directory: string): Promise<SocketLock> {
  const id = createHash('sha256').update(directory.toLowerCase()).digest('hex')
  const server = createServer(socket => socket.destroy())
  try {
    await listen(server, `\\\\.\\pipe\\heartwood-${id}`)
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw toLogError(error, 'lock', directory)
    throw lockedError(directory, { pid: undefined, kind: 'heartwood', command: undefined })
  }
  server.unref()
  return { release: () => closeServer(server) }
}

/** True when `claim` holds the lock now; false when it has to step back. */
async function contend(directory: string, door: Door, claim: Claim, deadline: number): Promise<boolean> {
  for (;;) {
    const others = await liveClaims(directory, door, { except: claim.name })
    if (others.length === 0) {
      claim.state = 'holding'
      return true
    }
    await refuseHolder(directory, others)
    if (performance.now() > deadline) throw lockedError(directory, await describeClaim(directory, others[0]!))
    if (others.some(other => other.name < claim.name)) return false
    await pause(2 + Math.random() * 3)
  }
}

async function refuseHolder(directory: string, claims: readonly LiveClaim[]): Promise<void> {
  const holder = claims.find(claim => claim.state === 'holding')
  if (holder !== undefined) throw lockedError(directory, await describeClaim(directory, holder))
}

async function describeClaim(directory: string, claim: LiveClaim): Promise<LockHolder> {
  // One that is too busy to answer, or stopped, has Kafka's lock as well, which the kernel tells of.
  const pid = claim.pid ?? (await recordLockHolder(join(directory, LOCK_FILE)))
  if (pid === undefined) return { pid, kind: 'heartwood', command: undefined }
  return { ...(await describeProcess(pid)), kind: 'heartwood' }
}

/** `undefined` when somebody took it for half a claim of a dead process and cleared it away. */
async function makeClaim(directory: string, door: Door): Promise<Claim | undefined> {
  const id = randomBytes(12).toString('hex')
  const unfinished = `${PREFIX}new-${id}`
  const claim: Claim = { name: `${PREFIX}${id}`, server: createServer(), state: 'claiming' }
  claim.server.on('connection', socket => {
    socket.on('error', () => socket.destroy())
    // What is written stays readable for the other side; its slowness shall not keep us from closing.
    socket.end(JSON.stringify({ pid: process.pid, state: claim.state }), () => socket.destroy())
  })
  let listened = false
  try {
    await listen(claim.server, door.pathOf(unfinished))
    listened = true
    await rename(join(directory, unfinished), join(directory, claim.name))
  } catch (error) {
    await closeServer(claim.server)
    if (listened && systemCode(error) === 'ENOENT') return undefined
    throw toLogError(error, 'make a lock socket in', directory)
  }
  claim.server.on('error', () => undefined)
  // Holding a lock is no reason for a process to go on.
  claim.server.unref()
  return claim
}

async function withdraw(directory: string, claim: Claim): Promise<void> {
  // The name first: from here on nobody can connect, and closing makes no difference to anybody.
  try {
    await unlink(join(directory, claim.name)).catch(ignoreMissing)
  } finally {
    await closeServer(claim.server)
  }
}

/** @param options.except - one's own claim: to ask oneself takes as long as all the rest of a lock nobody wants. */
async function liveClaims(
  directory: string,
  door: Door,
  { cleanUp = true, except = '' }: { readonly cleanUp?: boolean; readonly except?: string } = {}
): Promise<LiveClaim[]> {
  const entries = await nodeFileSystem.readDirectory(directory).catch(error => {
    throw toLogError(error, 'list', directory)
  })
  const names = entries.map(entry => entry.name).filter(name => name.startsWith(PREFIX) && name !== except)
  const asked = names.filter(name => CLAIM.test(name)).map(name => ask(directory, name, door.pathOf(name), cleanUp))
  if (cleanUp) for (const name of names) if (UNFINISHED.test(name)) asked.push(clearUnfinished(directory, name, door))
  return (await Promise.all(asked)).filter(claim => claim !== undefined)
}

/** A claim's answer; `undefined` when it is dead. */
async function ask(directory: string, name: string, path: string, cleanUp: boolean): Promise<LiveClaim | undefined> {
  let answer = await converse(path)
  for (let again = 0; answer === 'cut off' && again < 5; again += 1) {
    await pause(2)
    answer = await converse(path)
  }
  if (answer === 'dead') {
    // L1: nobody else can have this name since.
    if (cleanUp) await unlink(join(directory, name)).catch(() => undefined)
    return undefined
  }
  if (answer === 'gone') return undefined
  const { pid, state } = parseAnswer(answer)
  return { name, pid, state }
}

/**
 * Half a claim of a process that was killed in the middle. Between bind and listen a live one looks just like it, and
 * on a busy machine that can last; so only an old one goes. A live one that loses its name all the same makes another.
 */
async function clearUnfinished(directory: string, name: string, door: Door): Promise<undefined> {
  const path = join(directory, name)
  const made = await lstat(path).then(
    stats => stats.mtimeMs,
    () => undefined
  )
  if (made === undefined || Math.abs(Date.now() - made) < UNFINISHED_MS) return
  if ((await converse(door.pathOf(name))) === 'dead') await unlink(path).catch(() => undefined)
}

/**
 * What the socket says: `dead` when nobody listens, `gone` when it has no name any more, `cut off` when it was closed
 * while we waited (it withdraws or dies, and a next look tells which), nothing when it does not answer in time.
 */
function converse(path: string): Promise<string> {
  return new Promise(resolve => {
    let text = ''
    const socket = connect({ path })
    const settle = (answer: string): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => settle(text), ANSWER_TIMEOUT_MS)
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > MAX_ANSWER_BYTES) settle('')
    })
    socket.on('end', () => settle(text === '' ? 'cut off' : text))
    socket.on('error', error => {
      const code = systemCode(error)
      if (code === 'ENOENT') settle('gone')
      else if (code === 'ECONNREFUSED') settle('dead')
      else if (code === 'ECONNRESET' || code === 'EPIPE') settle('cut off')
      // EAGAIN: too many wait at its door; EACCES: another user's. Alive for all we know.
      else settle(text)
    })
  })
}

/** Who does not answer, or nonsense, is taken for a holder: that is the safe side. */
function parseAnswer(text: string): { pid: number | undefined; state: ClaimState } {
  try {
    const answer: unknown = JSON.parse(text)
    if (typeof answer !== 'object' || answer === null) return { pid: undefined, state: 'holding' }
    const { pid, state } = answer as { pid?: unknown; state?: unknown }
    return {
      pid: Number.isSafeInteger(pid) ? (pid as number) : undefined,
      state: state === 'claiming' ? 'claiming' : 'holding'
    }
  } catch {
    return { pid: undefined, state: 'holding' }
  }
}

/** A short way into the directory, for sockets, whose paths must be short. */
interface Door {
  pathOf(name: string): string
  close(): Promise<void>
}

async function openDoor(directory: string): Promise<Door> {
  const longest = join(directory, `${PREFIX}new-${'0'.repeat(24)}`)
  if (Buffer.byteLength(longest) <= MAX_SOCKET_PATH_BYTES) {
    return { pathOf: name => join(directory, name), close: async () => undefined }
  }
  if (process.platform === 'linux') {
    const handle = await open(directory, 'r').catch(error => {
      throw toLogError(error, 'open', directory)
    })
    return { pathOf: name => `/proc/self/fd/${handle.fd}/${name}`, close: () => handle.close() }
  }
  const folder = await mkdtemp(join(tmpdir(), 'hw-'))
  await symlink(directory, join(folder, 'd'))
  return { pathOf: name => join(folder, 'd', name), close: () => rm(folder, { recursive: true, force: true }) }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // Exclusive: in a cluster's worker the primary process would listen otherwise, and outlive the holder.
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
  })
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, milliseconds)
  })
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error
}
