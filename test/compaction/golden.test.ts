/** What Kafka's own cleaner left of a log, and what ours leaves of the same log. */
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { LiveProducer } from '../../lib/compaction/cleaning-types.ts'
import { nodeFileSystem } from '../../lib/fs/node-file-system.ts'
import { parseProducerSnapshot } from '../../lib/log/producer-snapshot.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { cleanAndSwap, inputFor } from '../helpers/cleaning.ts'
import { GOLDEN_VERSIONS } from '../helpers/golden.ts'
import { fixture, tempDir } from '../helpers/paths.ts'

/** Of the topics, as the README of the golden directories has them. */
const RETENTION: Readonly<Record<string, number>> = {
  compacted: 2 ** 50,
  'compacted-codecs': 2 ** 50,
  'compacted-tombstones': 0,
  'compacted-transactions': 0
}
const COMPARED = /^\d{20}\.(log|index|timeindex|txnindex)$/

function* batchesOf(bytes: Buffer): Generator<BatchView> {
  for (let at = 0; at < bytes.length; ) {
    const batch = new BatchView(bytes, at)
    yield batch
    at = batch.end
  }
}

function filesOf(dir: string): Map<string, Buffer> {
  const names = readdirSync(dir).filter(name => COMPARED.test(name))
  return new Map(names.sort().map(name => [name, readFileSync(join(dir, name))]))
}

/** The moment at which Kafka's cleaner worked: it is in every delete horizon that it set. */
function momentOf(files: ReadonlyMap<string, Buffer>, retention: number): number {
  for (const [name, bytes] of files) {
    if (!name.endsWith('.log')) continue
    for (const { deleteHorizonMs } of batchesOf(bytes)) {
      if (deleteHorizonMs !== undefined) return deleteHorizonMs - retention
    }
  }
  throw new Error('no delete horizon in any batch')
}

/** Those that the broker remembered when it cleaned: the newest snapshot's. */
function producersIn(dir: string): LiveProducer[] {
  const newest = readdirSync(dir)
    .filter(name => name.endsWith('.snapshot'))
    .sort()
    .at(-1) as string
  return parseProducerSnapshot(readFileSync(join(dir, newest))).map(({ producerId, epoch, lastBatch }) => ({
    producerId: Number(producerId),
    producerEpoch: epoch,
    lastDataOffset: lastBatch?.lastOffset
  }))
}

function describe(batch: BatchView): object {
  const { attributes, baseOffset, lastOffset, partitionLeaderEpoch, baseTimestamp, maxTimestamp } = batch
  const { producerIdExact, producerEpoch, baseSequence, recordCount } = batch
  const cursor = batch.records()
  const records: unknown[] = []
  while (cursor.next()) records.push(cursor.toRecord())
  return {
    ...{ attributes, baseOffset, lastOffset, partitionLeaderEpoch, baseTimestamp, maxTimestamp },
    ...{ producerIdExact, producerEpoch, baseSequence, recordCount, records }
  }
}

for (const version of GOLDEN_VERSIONS) {
  for (const [topic, retention] of Object.entries(RETENTION)) {
    t.test(`what is left of ${topic} is what Kafka's cleaner left (${version})`, async t => {
      const dir = join(await tempDir(t), `${topic}-0`)
      cpSync(fixture('golden', version, 'clean', `${topic}-0`), dir, { recursive: true })
      const expected = filesOf(fixture('golden', version, 'compacted', `${topic}-0`))
      const input = await inputFor({
        fs: nodeFileSystem,
        dir,
        name: `${topic}-0`,
        now: momentOf(expected, retention),
        producers: producersIn(dir),
        settings: { segmentBytes: 16_384, deleteRetentionMs: retention }
      })
      const result = await cleanAndSwap(nodeFileSystem, input)
      t.equal(result.endOffset, input.firstUncleanableOffset)
      t.notOk(result.isPartial)
      const found = filesOf(dir)
      t.same([...found.keys()], [...expected.keys()])
      for (const [name, bytes] of expected) {
        const ours = found.get(name) as Buffer
        if (topic !== 'compacted-codecs') {
          t.ok(ours.equals(bytes), name)
          continue
        }
        // What a codec makes of the same records is its own affair, and index entries follow from it.
        if (name.endsWith('.log')) t.same([...batchesOf(ours)].map(describe), [...batchesOf(bytes)].map(describe), name)
      }
    })
  }
}
