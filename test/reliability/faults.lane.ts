/**
 * What a machine does to a store while it is being written to: no room, no inodes, a file system that goes read-only,
 * limits, syncs that fail, a clock that jumps. The user sees typed errors, nothing acknowledged is lost, and appends go
 * on when the reason is gone, or are refused until the log is opened again, where the disk can no longer be believed.
 */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { isLogError, MiB, Store } from '../../lib/index.ts'
import { SEED } from '../helpers/seed.ts'
import { writeFigures } from './figures.ts'
import { Ledger } from './ledger.ts'
import type { Line } from './lines.ts'
import type { Ending } from './model.ts'
import { Disk, loopDevice, run, whyNoMounts } from './mounts.ts'
import { scratch } from './scratch.ts'
import { type StartOptions, startWriter, WRITER_DEFAULTS, type Writer } from './writer-process.ts'

t.setTimeout(600_000)

const began = performance.now()
const folder = scratch(t)
const noMounts = whyNoMounts('mkfs.ext4')
let scenarios = 0
let held = 0
let defects = 0

/** One writer, from before a fault to behind it. */
class Run {
  readonly ledger = new Ledger()
  readonly #dir: string
  #writer: Writer | undefined
  #isOver: string | undefined
  #hear: (line: Line) => void = line => this.ledger.tell(line)

  constructor(dir: string) {
    this.#dir = dir
  }

  /** @param rounds - of appends, until the store is closed and opened again; 0: never. */
  begin(start: StartOptions = {}, rounds = 40): void {
    const options = { ...WRITER_DEFAULTS, dir: this.#dir, seed: SEED + scenarios, keepGoing: true, rounds }
    this.#writer = startWriter(options, line => this.#hear(line), start)
    void this.#writer.ended.then(({ errors }) => {
      this.#isOver = errors
    })
  }

  /** Waits for so many more acknowledgements. */
  async acked(more: number): Promise<void> {
    const from = this.ledger.counts['acked']!
    await this.#until(() => this.ledger.counts['acked']! >= from + more, `${more} more acknowledgements`)
  }

  /** Waits until so much was refused with one of the codes. */
  async refused(codes: readonly string[], times: number): Promise<void> {
    const refusals = (): number => codes.reduce((sum, code) => sum + (this.ledger.codes[code] ?? 0), 0)
    await this.#until(() => refusals() >= times, `${times} refusals with ${codes.join(' or ')}`)
  }

  /** As a user's `prlimit` does. Node itself takes more descriptors to begin than it is left with here. */
  mayOpen(files: number): void {
    run('prlimit', '--pid', String(this.#writer!.child.pid), `--nofile=${files}:`)
  }

  async #until(isSo: () => boolean, what: string): Promise<void> {
    const giveUp = performance.now() + 60_000
    while (!isSo()) {
      if (this.ledger.wrong.length > 0) throw new Error(this.ledger.wrong.join('\n'))
      if (this.#isOver !== undefined) throw new Error(`the writer ended: ${this.#isOver}`)
      if (performance.now() > giveUp)
        throw new Error(`there were no ${what}; ${JSON.stringify([this.ledger.counts, this.ledger.codes])}`)
      await sleep(5)
    }
  }

  /** Acknowledgements from now on prove nothing: their disk may be gone already. */
  distrust(): void {
    this.#hear = line => this.ledger.tell('acked' in line ? { refused: line.acked, code: 'UNKNOWN' } : line)
  }

  async kill(): Promise<void> {
    this.#writer?.child.kill('SIGKILL')
    await this.#writer?.ended
  }

  /** @returns what is wrong; typed errors that are not among those allowed are. */
  async judge(ending: Ending, allowed: readonly string[]): Promise<string[]> {
    await this.ledger.recover(this.#dir, ending)
    this.ledger.keep(this.#dir)
    const others = Object.keys(this.ledger.codes).filter(code => ![...allowed, 'UNKNOWN'].includes(code))
    scenarios += 1
    held += this.ledger.counts['held']!
    const wrong = [...this.ledger.wrong, ...others.map(code => `something was refused with ${code}`)]
    defects += wrong.length
    return wrong
  }
}

/** Takes all the room that is left. */
function fill(path: string): void {
  const fd = openSync(path, 'w')
  try {
    for (let size = MiB; size > 0; ) {
      try {
        if (writeSync(fd, Buffer.alloc(size, 1)) < size) size = Math.floor(size / 2)
      } catch {
        size = Math.floor(size / 2)
      }
    }
  } finally {
    closeSync(fd)
  }
}

/** Takes all the names that are left. */
function useUpInodes(dir: string): void {
  mkdirSync(dir)
  try {
    for (let i = 0; ; i += 1) writeFileSync(join(dir, String(i)), '')
  } catch {
    // There are none any more.
  }
}

function tmpfs(name: string, options: string): string {
  const point = join(folder, name)
  mkdirSync(point)
  run('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', point)
  return point
}

async function withoutRoom(
  t: { same(found: unknown, wanted: unknown): boolean; comment(text: string): void },
  point: string,
  take: () => void,
  giveBack: () => void
): Promise<void> {
  const each = new Run(join(point, 'data'))
  each.begin()
  await each.acked(40)
  take()
  await each.refused(['NO_SPACE'], 20)
  giveBack()
  await each.acked(100)
  await each.kill()
  // A cut that the fault meets half-way leaves files that only an opening can make sense of: that log is shut until then.
  t.same(await each.judge('kill', ['NO_SPACE', 'SEGMENTS_CHANGED', 'LOG_POISONED']), [])
  t.comment(JSON.stringify(each.ledger.codes))
  run('umount', point)
}

t.test('a full tmpfs: NO_SPACE, nothing lost, and on it goes when there is room', { skip: noMounts }, async t => {
  const point = tmpfs('tmpfs', 'size=8m')
  const filler = join(point, 'filler')
  await withoutRoom(
    t,
    point,
    () => fill(filler),
    () => rmSync(filler)
  )
})

t.test('a full ext4: NO_SPACE, nothing lost, and on it goes when there is room', { skip: noMounts }, async t => {
  const disk = new Disk(join(folder, 'full'), 'ext4', 16 * MiB)
  disk.mount()
  const filler = join(disk.mountPoint, 'filler')
  await withoutRoom(
    t,
    disk.mountPoint,
    () => fill(filler),
    () => rmSync(filler)
  )
})

t.test('no inodes: NO_SPACE, nothing lost, and on it goes when there are some', { skip: noMounts }, async t => {
  const point = tmpfs('inodes', 'size=16m,nr_inodes=600')
  const names = join(point, 'names')
  await withoutRoom(
    t,
    point,
    () => useUpInodes(names),
    () => rmSync(names, { recursive: true })
  )
})

t.test('a file system that turns read-only under a writer', { skip: noMounts }, async t => {
  const disk = new Disk(join(folder, 'read-only'), 'ext4')
  disk.mount('errors=remount-ro')
  const device = basename(loopDevice(disk.mountPoint))
  const trigger = `/sys/fs/ext4/${device}/trigger_fs_error`
  const dir = join(disk.mountPoint, 'data')
  const each = new Run(dir)
  each.begin()
  await each.acked(60)
  each.distrust()
  // As the kernel does by itself when it finds the file system damaged.
  writeFileSync(trigger, '1')
  await each.refused(['STORAGE_FAILED', 'LOG_POISONED', 'SYNC_FAILED', 'READ_ONLY', 'PERMISSION_DENIED'], 20)
  await each.kill()
  // The journal is played back, as after every crash.
  disk.remount()
  run('mount', '-o', 'remount,ro', disk.mountPoint)
  const error = await Store.open(dir).then(
    () => undefined,
    error => error
  )
  t.ok(isLogError(error), `opening it for writing is refused: ${error?.code}`)
  await each.ledger.look(dir, 'power')
  disk.remount()
  const allowed = ['STORAGE_FAILED', 'LOG_POISONED', 'SYNC_FAILED', 'READ_ONLY', 'PERMISSION_DENIED', 'LOCKED']
  t.same(await each.judge('power', [...allowed, 'SEGMENTS_CHANGED', 'LOG_CLOSED']), [])
  t.comment(JSON.stringify(each.ledger.codes))
  disk.unmount()
})

t.test('a sync that fails: the log takes nothing more until it is opened again', { skip: noMounts }, async t => {
  // The image promises more than the memory under it has: writes go well, syncs do not.
  const outer = tmpfs('over-committed', 'size=40m')
  const disk = new Disk(join(outer, 'disk'), 'ext4', 200 * MiB)
  disk.mount()
  const dir = join(disk.mountPoint, 'data')
  const each = new Run(dir)
  each.begin()
  await each.acked(60)
  fill(join(outer, 'filler'))
  await each.refused(['SYNC_FAILED', 'LOG_POISONED'], 20)
  await each.kill()
  rmSync(join(outer, 'filler'))
  disk.remount()
  const allowed = [
    'SYNC_FAILED',
    'LOG_POISONED',
    'PERMISSION_DENIED',
    'STORAGE_FAILED',
    'NO_SPACE',
    'LOG_CLOSED',
    'SEGMENTS_CHANGED'
  ]
  t.same(await each.judge('power', allowed), [])
  t.comment(JSON.stringify(each.ledger.codes))
  disk.unmount()
  run('umount', outer)
})

const BASH = existsSync('/bin/bash') ? false : 'there is no bash'

const limited = (limit: string) => (command: readonly string[]) => [
  '/bin/bash',
  '-c',
  `ulimit ${limit}; exec "$0" "$@"`,
  ...command
]

const noLimits = existsSync('/usr/bin/prlimit') ? false : 'there is no prlimit'

t.test('64 descriptors are enough', { skip: noLimits }, async t => {
  const each = new Run(join(folder, 'descriptors', 'data'))
  mkdirSync(join(folder, 'descriptors'))
  each.begin({}, 5)
  await each.acked(20)
  each.mayOpen(64)
  await each.acked(300)
  await each.kill()
  t.same(await each.judge('kill', ['SEGMENTS_CHANGED']), [])
})

t.test('too few descriptors: TOO_MANY_OPEN_FILES, nothing lost', { skip: noLimits }, async t => {
  const each = new Run(join(folder, 'few', 'data'))
  mkdirSync(join(folder, 'few'))
  each.begin({}, 5)
  await each.acked(60)
  each.mayOpen(22)
  await each.refused(['TOO_MANY_OPEN_FILES'], 10)
  each.mayOpen(1024)
  await each.acked(60)
  await each.kill()
  t.same(await each.judge('kill', ['TOO_MANY_OPEN_FILES', 'SEGMENTS_CHANGED', 'LOG_POISONED']), [])
  t.comment(JSON.stringify([each.ledger.codes, each.ledger.counts]))
})

t.test('files that may not grow: a typed error, nothing lost', { skip: BASH }, async t => {
  const each = new Run(join(folder, 'small', 'data'))
  mkdirSync(join(folder, 'small'))
  // Of 1,024 bytes each: less than a segment is to have.
  each.begin({ through: limited('-f 2') })
  await each.refused(['NO_SPACE', 'STORAGE_FAILED'], 10)
  await each.kill()
  t.same(await each.judge('kill', ['NO_SPACE', 'STORAGE_FAILED', 'SEGMENTS_CHANGED']), [])
  t.comment(JSON.stringify([each.ledger.codes, each.ledger.counts]))
})

t.test('a clock that jumps a year ahead, and two back, takes no record', { skip: whyNoFakeTime() }, async t => {
  const now = join(folder, 'now')
  writeFileSync(now, '+0')
  const each = new Run(join(folder, 'clock', 'data'))
  mkdirSync(join(folder, 'clock'))
  const env = {
    LD_PRELOAD: fakeTime()!,
    FAKETIME_TIMESTAMP_FILE: now,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1'
  }
  // To a store that is opened while the clock is wrong, nothing tells so.
  each.begin({ env }, 0)
  await each.acked(150)
  writeFileSync(now, '+365d')
  await each.acked(150)
  writeFileSync(now, '-365d')
  await each.acked(150)
  await each.kill()
  t.same(await each.judge('kill', ['SEGMENTS_CHANGED']), [])
})

function fakeTime(): string | undefined {
  const lib = '/usr/lib'
  const folders = existsSync(lib) ? [lib, ...readdirSync(lib).map(name => join(lib, name))] : []
  return folders.map(each => join(each, 'faketime', 'libfaketime.so.1')).find(path => existsSync(path))
}

function whyNoFakeTime(): string | false {
  return fakeTime() === undefined && 'libfaketime is not installed'
}

t.teardown(() => {
  writeFigures({
    lane: 'faults',
    seconds: Math.round((performance.now() - began) / 1000),
    seed: SEED,
    figures: [
      {
        name: 'faults of the machine under a writer',
        goal: 9,
        found: scenarios,
        unit: '',
        meaning:
          'Full tmpfs and ext4, no inodes, a file system that turns read-only, a sync that fails, two limits of descriptors, one of file sizes, a clock that jumps: typed errors alone, and nothing acknowledged is lost.'
      },
      {
        name: 'acknowledgements held against the logs after such a fault',
        goal: null,
        found: held,
        unit: '',
        meaning: 'Each was looked for by its offset and content after the recovery.'
      }
    ],
    defects
  })
})
