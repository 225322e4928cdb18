/** Small data directories to be damaged: heartwood's own, in three states, and Kafka's. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { FileSystem } from '../../lib/fs/file-system.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { writeFully } from '../../lib/fs/write-fully.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { Store } from '../../lib/store/store.ts'
import { goldenPartitions } from '../helpers/golden.ts'
import { numbered } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { readFile } from '../helpers/partition-folder.ts'

/** Content by path below the data directory. */
export type Image = ReadonlyMap<string, Buffer>

export interface Subject {
  readonly name: string
  /** `clean`: closed cleanly by whoever wrote it. `killed`: everything is on the disk, and nobody closed it. */
  readonly state: 'clean' | 'killed'
  readonly topic: string
  readonly partition: number
  readonly image: Image
}

export const DATA = '/data'

export async function subjects(): Promise<Subject[]> {
  return [...(await ours()), ...kafkas()]
}

/** Files that are of the same kind in all subjects: damaged in these alone. */
export function hasOwn({ topic }: Subject, path: string): boolean {
  const isCommon = !path.includes('/') || path.endsWith('heartwood-watermark') || path.endsWith('partition.metadata')
  return !isCommon || topic === 'plain' || topic === 'idempotent'
}

async function ours(): Promise<Subject[]> {
  const made: Subject[] = []
  for (const topic of Object.keys(WRITERS)) {
    const clock = new ManualClock()
    const fs = new MemoryFileSystem({ now: () => clock.now() })
    const store = await Store.open(DATA, { fs, clock, upkeep: { background: false } })
    const isKeyed = topic === 'compacted'
    const configs = {
      'segment.bytes': '900',
      'index.interval.bytes': '200',
      'segment.index.bytes': '400',
      'cleanup.policy': isKeyed ? 'compact' : 'delete'
    }
    await store.createTopic(topic, { configs })
    const log = await store.openLog(topic, 0)
    await (WRITERS[topic] as (log: PartitionLog, store: Store) => Promise<unknown>)(log, store)
    await log.sync()
    // Then the watermark file follows.
    await clock.advanceAsync(2000)
    // Files as they lie there while the log is in use, all of it synced.
    made.push({ name: `${topic}, killed`, state: 'killed', topic, partition: 0, image: await takeImage(fs) })
    await store.close()
    made.push({ name: `${topic}, closed`, state: 'clean', topic, partition: 0, image: await takeImage(fs) })
  }
  return made
}

const WRITERS: Readonly<Record<string, (log: PartitionLog, store: Store) => Promise<unknown>>> = {
  plain: async log => {
    for (let i = 0; i < 12; i += 1) {
      const options = { producerId: 7, producerEpoch: 0, baseSequence: 3 * i, ownBatch: true }
      await log.append(numbered(3, 3 * i), options)
    }
    for (const offset of [2, 4]) await log.deleteRecordsBefore(offset)
    await log.hold('reader', 6)
  },
  packed: async log => {
    for (const [i, compression] of (['gzip', 'snappy', 'lz4', 'zstd', 'gzip', 'zstd'] as const).entries()) {
      await log.append(numbered(6, 6 * i), { compression, ownBatch: true })
    }
  },
  transacted: async log => {
    const sequences = new Map<number, number>()
    for (let i = 0; i < 8; i += 1) {
      const producerId = 10 + (i % 2)
      const baseSequence = sequences.get(producerId) ?? 0
      sequences.set(producerId, baseSequence + 2)
      await log.append(numbered(2, 2 * i), { producerId, producerEpoch: 0, baseSequence, transactional: true })
      if (i % 3 > 0) {
        const type = i % 3 === 1 ? 'abort' : 'commit'
        await log.appendEndTransaction({ type, producerId, producerEpoch: 0 })
      }
    }
  },
  compacted: async (log, store) => {
    for (let i = 0; i < 16; i += 1) {
      const records = [0, 1, 2].map(j => ({ key: `key-${(5 * i + j) % 11}`, value: `value ${i}.${j}` }))
      await log.append(records, { ownBatch: true })
    }
    await log.roll()
    await store.compact({ topics: ['compacted'], force: true })
    await log.maintenance.removeDeleted({ all: true })
    await log.append(numbered(3))
  }
}

const KAFKAS = ['idempotent-0', 'open-transaction-0']

function kafkas(): Subject[] {
  return goldenPartitions()
    .filter(({ name, version }) => version === 'kafka-4.3.1' && KAFKAS.includes(name))
    .map(({ name, dir, version }) => {
      const image = new Map<string, Buffer>()
      const root = dirname(dir)
      for (const file of readdirSync(root))
        if (statSync(join(root, file)).isFile()) image.set(file, readFileSync(join(root, file)))
      for (const file of readdirSync(dir)) image.set(`${name}/${file}`, readFileSync(join(dir, file)))
      const topic = name.slice(0, -2)
      return { name: `${version} ${name}`, state: 'clean', topic, partition: 0, image }
    })
}

async function takeImage(fs: FileSystem): Promise<Image> {
  const image = new Map<string, Buffer>()
  const visit = async (prefix: string): Promise<void> => {
    for (const { name, kind } of await fs.readDirectory(join(DATA, prefix))) {
      const path = join(prefix, name)
      if (kind === 'directory') await visit(path)
      // Zeros, of which nobody reads one.
      else if (name !== 'heartwood-reserve') image.set(path, await readFile(fs, join(DATA, path)))
    }
  }
  await visit('')
  return image
}

/** A file system in memory with this image, all of it durable. */
export async function put(image: Image): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem({ now: () => 1_700_000_000_000 })
  await fs.makeDirectory(DATA)
  const folders = new Set([DATA])
  for (const [path, bytes] of image) {
    const full = join(DATA, path)
    if (!folders.has(dirname(full))) await fs.makeDirectory(dirname(full))
    folders.add(dirname(full))
    const handle = await fs.open(full, 'truncate')
    await writeFully(handle, bytes, 0)
    await handle.sync()
    await handle.close()
  }
  for (const folder of [...folders, '/']) await fs.syncDirectory(folder)
  return fs
}
