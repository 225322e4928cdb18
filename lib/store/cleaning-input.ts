import { randomFillSync } from 'node:crypto'
import type { CleaningInput } from '../compaction/cleaning-types.ts'
import type { LogView } from '../log/maintenance.ts'
import type { PartitionLog } from '../log/partition-log.ts'

/** What a cleaning of this log needs to know whatever it is for. */
export async function cleaningInput(
  log: PartitionLog,
  view: LogView,
  task: Pick<
    CleaningInput,
    'firstDirtyOffset' | 'firstUncleanableOffset' | 'now' | 'mapBytes' | 'eraseKeys' | 'eraseOnly'
  >
): Promise<CleaningInput> {
  const { topic, partition, dir, maintenance } = log
  const { segmentBytes, indexBytes, indexIntervalBytes, deleteRetentionMs } = log.config
  return {
    ...task,
    dir,
    name: `${topic}-${partition}`,
    segments: view.segments.filter(({ active }) => !active),
    settings: { segmentBytes, indexBytes, indexIntervalBytes, deleteRetentionMs },
    producers: view.producers,
    abortedLater: await maintenance.abortedInActive(),
    hashSeeds: randomFillSync(new Uint32Array(4)),
    ...maintenance.attributes
  }
}
