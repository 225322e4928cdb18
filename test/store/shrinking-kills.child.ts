/**
 * Kills a process that shrinks its logs, again and again, and looks each time at what is there. A process of its own,
 * because what a test runner notes of each promise takes longer than all of it.
 *
 *     node dist/test/store/shrinking-kills.child.js DIR SEED FEWEST MOST
 *
 * Prints `{"wrong":[…],"counts":{…}}`.
 */
import { spawn } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import type { LazyRecord } from '../../lib/record/lazy-record.ts'
import { parseSegmentFileName } from '../../lib/segment/file-names.ts'
import { Store } from '../../lib/store/store.ts'
import { random } from '../helpers/random.ts'
import { ShrinkingModel, TOPICS } from './shrinking.ts'

const program = fileURLToPath(new URL(`./shrinking.child${extname(import.meta.url)}`, import.meta.url))
const ENOUGH_MS = 40_000
const BLOCK = 4096

type Models = ReadonlyMap<string, ShrinkingModel>
type Line = Record<string, string> & { at: number; to: number; records: [string, string | null][] }

/**
 * Runs the child for so long after its first acknowledgement, or from when a cleaning has written something, and tells
 * the models what it said.
 *
 * @returns what was under way.
 */
async function killedAfter(
  ms: number,
  from: 'start' | 'cleaning',
  { dir, seed, models }: { dir: string; seed: number; models: Models }
): Promise<Set<string>> {
  const args = [...process.execArgv, program, dir, String(seed)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<unknown>(resolve => child.once('close', (_code, signal) => resolve(signal)))
  const underWay = new Set<string>()
  let isStarted = false
  let errors = ''
  child.stderr.on('data', chunk => {
    errors += String(chunk)
  })
  for await (const text of createInterface({ input: child.stdout })) {
    // The last line may have been cut off.
    if (!text.endsWith('}')) continue
    const line = JSON.parse(text) as Line
    if ('sent' in line) models.get(line['sent']!)!.sent(line.records)
    if ('acked' in line) models.get(line['acked']!)!.acknowledged(line.at)
    if ('trim' in line) models.get(line['trim']!)!.trim(line.to, false)
    if ('trimmed' in line) models.get(line['trimmed']!)!.trim(line.to, true)
    if ('begun' in line) underWay.add(line['begun']!)
    if ('ended' in line) underWay.delete(line['ended']!)
    if ('acked' in line && !isStarted) {
      isStarted = true
      const kill = (): void => void setTimeout(() => child.kill('SIGKILL'), ms)
      if (from === 'start') kill()
      else void cleaningIn(dir).then(kill)
    }
  }
  if ((await ended) !== 'SIGKILL') throw new Error(`the child ended by itself: ${errors}`)
  return underWay
}

/** Resolves when a cleaning has begun to write, or after a while all the same. */
async function cleaningIn(dir: string): Promise<void> {
  const giveUp = performance.now() + 3000
  for (;;) {
    const names = await readdir(dir, { recursive: true })
    if (names.some(name => name.endsWith('.cleaned')) || performance.now() > giveUp) return
    await sleep(1)
  }
}

/** The system may take a moment to close what the dead process had open. */
async function openWhenFree(dir: string): Promise<Store> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await Store.open(dir, { upkeep: { background: false } })
    } catch (error) {
      if ((error as { code?: string }).code !== 'LOCKED' || attempt === 50) throw error
      await sleep(20)
    }
  }
}

async function allRecords(log: PartitionLog): Promise<LazyRecord[]> {
  const records: LazyRecord[] = []
  for await (const record of log.records({ from: 'earliest' })) records.push(record)
  return records
}

/** Files that belong to no segment of the log, and room that no segment accounts for. */
async function leftOver(log: PartitionLog): Promise<string[]> {
  const segments = log.segments()
  const bases = new Set(segments.map(({ baseOffset }) => baseOffset))
  const wrong: string[] = []
  let used = 0
  let others = 0
  for (const entry of await readdir(log.dir, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const { offset, suffix } = parseSegmentFileName(entry.name) ?? { offset: -1, suffix: '' }
    const isOfLog = suffix === '.snapshot' ? offset >= segments[0]!.baseOffset : bases.has(offset)
    if (/\.(cleaned|swap|deleted)$/.test(entry.name) || (offset >= 0 && !isOfLog)) wrong.push(entry.name)
    if (suffix !== '.log') others += 1
    used += 512 * (await stat(join(log.dir, entry.name))).blocks
  }
  // Each of the other files, all of them small, has a block at most.
  const allowed = segments.reduce((sum, { bytes }) => sum + BLOCK * Math.ceil(bytes / BLOCK), BLOCK * others)
  if (used > allowed) wrong.push(`${used} bytes are in use, ${allowed} accounted for`)
  return wrong
}

async function main(dir: string, [seed, fewest, most]: readonly number[]): Promise<void> {
  const next = random(seed!)
  const models: Models = new Map(Object.entries(TOPICS).map(([topic, rules]) => [topic, new ShrinkingModel(rules)]))
  const made = await Store.open(dir)
  for (const [topic, { configs }] of Object.entries(TOPICS)) await made.createTopic(topic, { configs })
  await made.close()
  const wrong: string[] = []
  const counts: Record<string, number> = { kills: 0, compact: 0, retain: 0, interrupted: 0, deletedFiles: 0 }
  const giveUp = performance.now() + ENOUGH_MS
  for (let kill = 0; kill < most! && (kill < fewest! || performance.now() < giveUp); kill += 1) {
    const childSeed = next(1_000_000)
    const from = kill % 2 === 0 ? 'cleaning' : 'start'
    // In the middle of the first cleaning, or when some are over.
    const ms = next(next(2) === 0 ? 30 : 1000)
    const underWay = await killedAfter(ms, from, { dir, seed: childSeed, models })
    const store = await openWhenFree(dir)
    for (const [topic, model] of models) {
      const log = await store.openLog(topic, 0)
      const { recovery, logStartOffset, logEndOffset } = log
      const found = model.check({ logStartOffset, logEndOffset, records: await allRecords(log) })
      const at = `kill ${kill}, seed ${childSeed}, ${ms} ms from ${from}: ${topic}`
      wrong.push(...[...found, ...(await leftOver(log))].map(each => `${at}: ${each}`))
      counts['interrupted']! += recovery.notes.filter(({ code }) => code === 'INTERRUPTED_COMPACTION').length
      counts['deletedFiles']! += recovery.deletedFiles.length
    }
    for (const what of ['kills', ...underWay]) counts[what]! += 1
    await store.close()
  }
  counts['superseded'] = [...models.values()].reduce((sum, { superseded }) => sum + superseded, 0)
  console.log(JSON.stringify({ wrong, counts }))
}

await main(process.argv[2]!, process.argv.slice(3).map(Number))
