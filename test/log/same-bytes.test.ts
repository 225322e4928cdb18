/**
 * Fed the batches of a log that Kafka wrote, one by one and with that topic's settings, a log here has the same files,
 * byte for byte: at the same segment boundaries `.log`, `.index`, `.timeindex`, `.txnindex` and the leader epochs, and
 * snapshots equal but for the order of their entries.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LogConfig } from '../../lib/log/log-config.ts'
import type { ProducerEntry } from '../../lib/log/producer-entry.ts'
import { parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { KiB, MiB } from '../../lib/util/sizes.ts'
import { openLog } from '../helpers/logs.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

/** What differs from the defaults: README.md of the fixtures. */
const SETTINGS: Readonly<Record<string, Partial<LogConfig>>> = {
  headers: { maxMessageBytes: 4 * MiB },
  segments: { segmentBytes: 16 * KiB, indexIntervalBytes: 1024 },
  'dense-index': { indexIntervalBytes: 0 },
  'out-of-order-time': { segmentBytes: 16 * KiB, indexIntervalBytes: 512 },
  trimmed: { segmentBytes: 16 * KiB },
  'log-append-time': { messageTimestampType: 'LogAppendTime' },
  compacted: { segmentBytes: 16 * KiB, cleanupPolicy: ['compact'] },
  'compacted-codecs': { segmentBytes: 16 * KiB, cleanupPolicy: ['compact'] },
  'compacted-tombstones': { segmentBytes: 16 * KiB, cleanupPolicy: ['compact'] },
  'compacted-transactions': { segmentBytes: 16 * KiB, cleanupPolicy: ['compact'] }
}

/** Topics with idempotent producers whose recovery by the broker retook the snapshots. */
const CRASHED_ONCE = new Set(['compacted', 'compacted-codecs', 'compacted-tombstones', 'compacted-transactions'])

for (const version of ['kafka-3.9.2', 'kafka-4.3.1']) {
  t.test(version, async t => {
    const clean = fixture('golden', version, 'clean')
    for (const folder of (await readdir(clean)).filter(name => /-0$/.test(name)).sort()) {
      await t.test(folder, async t => checkTopic(t, join(clean, folder), folder.slice(0, -2), await tempDir(t)))
    }
  })
}

async function checkTopic(t: Test, theirs: string, topic: string, dir: string): Promise<void> {
  const logs = (await readdir(theirs)).filter(name => name.endsWith('.log')).sort()
  const log = await openLog(dir, { config: { durability: 'none', ...SETTINGS[topic] } })
  const first = Number.parseInt(logs[0] ?? '0', 10)
  if (first > 0) await log.startAt(first)
  for (const name of logs) {
    const bytes = await readFile(join(theirs, name))
    for (let at = 0; at < bytes.length; ) {
      const batch = new BatchView(bytes, at)
      await log.appendAsFollower(batch.payload())
      at = batch.end
    }
  }
  // The one topic of which records were deleted, before 217.
  if (topic === 'trimmed') await log.deleteRecordsBefore(217)
  await log.close()
  const ours = join(dir, 't-0')
  const compared = (names: string[]): string[] =>
    names.filter(name => /\.(log|index|timeindex|txnindex)$/.test(name)).sort()
  t.same(compared(await readdir(ours)), compared(await readdir(theirs)), 'the same files')
  for (const name of [
    ...compared(await readdir(theirs)),
    ...(log.logEndOffset === 0 ? [] : ['leader-epoch-checkpoint'])
  ]) {
    const [mine, wanted] = [await readFile(join(ours, name)), await wantedBytes(theirs, name, log.logEndOffset)]
    t.ok(mine.equals(wanted), `${name}: ${mine.length} bytes, ${wanted.length} wanted`)
  }
  for (const name of (await readdir(theirs)).filter(
    name => name.endsWith('.snapshot') && Number.parseInt(name, 10) !== first
  )) {
    const wanted = await snapshot(join(theirs, name))
    const found = await snapshot(join(ours, name))
    // A broker that was killed drops expired producer ids when it loads (these gave timestamps of 2023), and takes its
    // snapshots after that; what is there must be the same.
    const dropped = new Set(
      found.map(({ producerId }) => producerId).filter(id => !wanted.some(entry => entry.producerId === id))
    )
    t.same(
      found.filter(({ producerId }) => !dropped.has(producerId)),
      wanted,
      name
    )
    t.ok(dropped.size === 0 || CRASHED_ONCE.has(topic), `${name}: no producer too many`)
  }
}

/** A restart gives a new leader epoch from the log's end on, which no batch shows. */
async function wantedBytes(theirs: string, name: string, logEndOffset: number): Promise<Buffer> {
  const bytes = await readFile(join(theirs, name))
  if (name !== 'leader-epoch-checkpoint') return bytes
  const lines = bytes
    .toString()
    .trimEnd()
    .split('\n')
    .slice(2)
    .filter(line => Number(line.split(' ')[1]) < logEndOffset)
  return Buffer.from(`0\n${lines.length}\n${lines.map(line => `${line}\n`).join('')}`)
}

async function snapshot(path: string): Promise<ProducerEntry[]> {
  const entries = parseProducerSnapshot(await readFile(path))
  return entries.sort((a, b) => Number(a.producerId) - Number(b.producerId))
}
