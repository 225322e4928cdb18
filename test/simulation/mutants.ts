/**
 * Mutants of the engine: each breaks one rule that durability rests on, by one change of text in a compiled file. The
 * simulator has to notice every one of them, by the seed in the table (`mutants.lane.ts` says how it is found anew).
 */
import { FURTHER_MUTANTS } from './further-mutants.ts'

export interface Mutant {
  readonly name: string
  /** What it breaks. */
  readonly breaks: string
  /** Below `lib/`, without `.ts`. */
  readonly file: string
  /** Occurs once in the compiled file. */
  readonly find: string
  readonly replace: string
}

const MUTANTS_BY_RULE: readonly Mutant[] = [
  {
    name: 'ack-before-sync',
    breaks: 'an append is acknowledged while its fdatasync is under way',
    file: 'log/writer',
    find: `            await this.syncSegments();
        }`,
    replace: `            void this.syncSegments().catch(() => undefined);
        }`
  },
  {
    name: 'sync-of-active-only',
    breaks: 'of two segments written since the last sync only the newer one is synced',
    file: 'log/writer',
    find: 'while (first > 0 && segments[first - 1].isDirty)',
    replace: 'while (false)'
  },
  {
    name: 'sync-retried',
    breaks: 'a failed fdatasync is tried again, and believed',
    file: 'segment/log-file',
    find: 'await lease.handle[call]();',
    replace: 'await lease.handle[call]().catch(() => lease.handle[call]());'
  },
  {
    name: 'durable-when-written',
    breaks: 'the durable offset moves with the write',
    file: 'log/writer',
    find: 'this.#state.writtenOffset = batch.lastOffset + 1;',
    replace: 'this.#state.durableOffset = this.#state.writtenOffset = batch.lastOffset + 1;'
  },
  {
    name: 'watermark-when-written',
    breaks: 'the watermark speaks of what is not synced yet',
    file: 'log/writer',
    find: '            lastBatchCrc: batch.chunk.buffer.readUInt32BE(batch.start + CRC_AT)\n        };',
    replace:
      '            lastBatchCrc: batch.chunk.buffer.readUInt32BE(batch.start + CRC_AT)\n        };\n        this.#hooks.synced(this.#lastWritten, 0);'
  },
  {
    name: 'failed-write-kept',
    breaks: 'half of a batch that failed stays in the file',
    file: 'segment/log-file',
    find: 'await this.#takeBack(lease, position);',
    replace: ''
  },
  {
    name: 'short-write-believed',
    breaks: 'a write that wrote less than it was given is taken for whole',
    file: 'fs/write-fully',
    find: 'while (written < bytes.byteLength) {\n        const more = handle.writeSync',
    replace: 'while (false) {\n        const more = handle.writeSync'
  },
  {
    name: 'aborts-not-indexed',
    breaks: 'an aborted transaction is not in the transaction index',
    file: 'log/writer',
    find: 'for (const transaction of aborted)\n            await segment.appendAborted(transaction);',
    replace: ''
  },
  {
    name: 'new-segment-without-name',
    breaks: 'the folder is not synced after a segment was created',
    file: 'log/segment-keeper',
    find: 'segment = await Segment.create(env, dir, baseOffset);\n            await fs.syncDirectory(dir);',
    replace: 'segment = await Segment.create(env, dir, baseOffset);'
  },
  {
    name: 'rolled-without-trim',
    breaks: 'preallocated zeros stay in front of the next segment, and nothing gives them back',
    file: 'segment/log-file',
    find: 'if (this.#length > this.#size)\n            await this.cutTo(this.#size);',
    replace: ''
  },
  {
    name: 'recovery-point-before-seal',
    breaks: 'the recovery point passes a segment that was not synced',
    file: 'log/segment-keeper',
    find: 'await this.#poisoning(() => segment.seal());\n            const transactions',
    replace: 'const transactions'
  },
  {
    name: 'cut-above-watermark',
    breaks: 'the log is cut while the watermark still speaks of what goes',
    file: 'log/segment-keeper',
    find: 'await this.#moveWatermark(keep.baseOffset);',
    replace: ''
  },
  {
    name: 'cut-oldest-first',
    breaks: 'a cut removes segments from the oldest on',
    file: 'log/segment-keeper',
    find: 'for (const segment of gone.reverse())',
    replace: 'for (const segment of gone)'
  },
  {
    name: 'cut-not-synced',
    breaks: 'what was cut comes back after a power cut',
    file: 'segment/segment',
    find: 'await this.#log.cutTo(batch.position);\n        await this.#log.sync();',
    replace: 'await this.#log.cutTo(batch.position);'
  },
  {
    name: 'log-start-not-durable',
    breaks: 'files go before the new log start offset is on the disk',
    file: 'log/segment-keeper',
    find: 'await persistLogStart(offset);\n            state.logStartOffset = offset;',
    replace: 'void persistLogStart(offset).catch(() => undefined);\n            state.logStartOffset = offset;'
  },
  {
    name: 'producers-not-cut',
    breaks: 'after a cut the producers are remembered as before it',
    file: 'log/segment-keeper',
    find: 'state.producers = producers;',
    replace: ''
  },
  {
    name: 'deletes-one-segment-more',
    breaks: 'a segment goes that holds records above the log start',
    file: 'log/segment-keeper',
    find: 'segments[count + 1].baseOffset <= state.logStartOffset',
    replace: 'segments[count].baseOffset <= state.logStartOffset'
  },
  {
    name: 'watermark-lowered-later',
    breaks: 'a lowered watermark is not written',
    file: 'log/watermark-keeper',
    find: 'this.#last = mark;\n        await this.#file.lowerTo(mark);',
    replace: 'this.#last = mark;'
  },
  {
    name: 'failed-sync-not-noted',
    breaks: 'recovery is not told that the page cache cannot be believed',
    file: 'log/watermark-keeper',
    find: 'this.#doubt = { ...durable, syncFailed: true };',
    replace: ''
  },
  {
    name: 'watermark-ignored',
    breaks: 'recovery does not go by the watermark, so that any damage is a torn tail',
    file: 'log/loader',
    find: 'const watermark = report.foreign ? undefined : found;',
    replace: 'const watermark = undefined;'
  },
  {
    name: 'end-below-watermark',
    breaks: 'a log that ends below its watermark opens',
    file: 'log/loader-plan',
    find: 'if (watermark !== undefined && this.#next < watermark.offset)\n            throw this.#endsBelow(watermark);',
    replace: ''
  },
  {
    name: 'torn-tail-accepted',
    breaks: 'recovery takes a batch whose CRC is wrong',
    file: 'log/recovery-scan',
    find: '!head.hasRightCrc()',
    replace: 'false'
  },
  {
    name: 'torn-tail-not-cut',
    breaks: 'recovery leaves a torn tail in the file',
    file: 'log/recovery-apply',
    find: 'await handle.truncate(length);',
    replace: ''
  },
  {
    name: 'recovered-tail-not-written-again',
    breaks: 'recovery believes what a failed sync, which nobody lived to note, left in the page cache',
    file: 'log/recovery-sync',
    find: 'await writeAgain(handle, from, validBytes);',
    replace: ''
  },
  {
    name: 'recovery-believes-time-index',
    breaks: 'a recovery goes on behind a time index that nobody has held against the log',
    file: 'log/loader-start',
    find: 'if (!(await isLargest(',
    replace: 'if (false && !(await isLargest('
  },
  {
    name: 'segments-behind-tail-kept',
    breaks: 'segments behind a torn one stay in the folder',
    file: 'log/recovery-apply',
    find: 'await removeSegments(context, plan.dropped);',
    replace: ''
  },
  {
    name: 'only-last-segment-scanned',
    breaks: 'recovery believes every segment but the last',
    file: 'log/loader-plan',
    find: 'const from = Math.max(recoveryPoint, logStartOffset);',
    replace: 'const from = Number.MAX_SAFE_INTEGER;'
  },
  {
    name: 'recovery-point-survives-cut',
    breaks: 'the checkpoint still has a recovery point from before a cut',
    file: 'store/log-table',
    find: 'if ((checkpoint.get(folder.name) ?? 0) <= offset)',
    replace: 'if (offset >= 0)'
  },
  {
    name: 'snapshot-of-the-future',
    breaks: 'a producer snapshot above the offset asked for is used',
    file: 'log/producer-snapshots',
    find: 'const offsets = (known ?? (await this.offsets())).filter(offset => offset <= atMost);',
    replace: 'const offsets = await this.offsets();'
  },
  {
    name: 'snapshots-survive-cut',
    breaks: 'snapshots of records that were cut stay',
    file: 'log/producer-snapshots',
    find: 'const gone = (await this.offsets()).filter(other => other > offset);',
    replace: 'const gone = [];'
  },
  {
    name: 'sequence-off-by-one',
    breaks: 'the sequence that is expected next is one too high',
    file: 'log/producer-entry',
    find: 'addToSequence(lastSequence, 1)',
    replace: 'addToSequence(lastSequence, 2)'
  },
  {
    name: 'duplicates-not-known',
    breaks: 'a repeated batch is not recognised',
    file: 'log/producer-entry',
    find: 'if (batch.producerEpoch !== this.#epoch)\n            return undefined;',
    replace: 'return undefined;'
  },
  {
    name: 'sequence-not-checked',
    breaks: 'any sequence is taken, and nothing known as repeated',
    file: 'log/producer-state',
    find: 'checkSequence(entry, batch.producerEpoch, batch.baseSequence);',
    replace: ''
  },
  {
    name: 'duplicate-of-other-length',
    breaks: 'a batch of another length counts as a repetition',
    file: 'log/producer-entry',
    find: 'this.#numbers[at] === lastSequence && this.#numbers[at + 2] === lastOffsetDelta',
    replace: 'this.#numbers[at] >= lastSequence'
  },
  {
    name: 'producers-not-replayed',
    breaks: 'recovery forgets what batches tell of producers',
    file: 'log/loader-plan',
    find: 'const isNew = batch.baseOffset >= producers.mapEndOffset;',
    replace: 'const isNew = false;'
  },
  {
    name: 'stable-offset-ignored',
    breaks: 'readers of committed data see open transactions',
    file: 'log/producer-state',
    find: 'return first !== undefined && first < highWatermark ? first : highWatermark;',
    replace: 'return highWatermark;'
  },
  {
    name: 'readers-ahead-of-sync',
    breaks: 'readers are shown what is not synced',
    file: 'log/log-state',
    find: "case 'synced':\n                return this.durableOffset;",
    replace: "case 'synced':\n                return this.writtenOffset;"
  },
  {
    name: 'checkpoint-not-synced',
    breaks: 'a file is put in place of another before its content is durable',
    file: 'fs/replace-file',
    find: 'await handle.sync();\n        }\n        finally {\n            await handle.close();\n        }\n        await fs.rename',
    replace: '}\n        finally {\n            await handle.close();\n        }\n        await fs.rename'
  },
  {
    name: 'checkpoint-name-not-synced',
    breaks: 'a file that was replaced may come back as it was',
    file: 'fs/replace-file',
    find: 'await fs.syncDirectory(dirname(path));',
    replace: ''
  },
  {
    name: 'swap-without-sync',
    breaks: 'old segments go before the new ones have durable names',
    file: 'log/segment-swap',
    find: 'await segment.renameTo(SWAP_SUFFIX);\n                await fs.syncDirectory(dir);',
    replace: 'await segment.renameTo(SWAP_SUFFIX);'
  },
  {
    name: 'swap-below-watermark',
    breaks: 'the watermark speaks of a batch that compaction took away',
    file: 'log/segment-swap',
    find: 'if (watermark === undefined || mark === undefined || mark.segmentBaseOffset >= end)\n            return;',
    replace: 'if (end !== undefined)\n            return;'
  },
  {
    name: 'swap-not-seen-by-tail',
    breaks: 'readers of the tail still get what compaction took away',
    file: 'log/segment-swap',
    find: 'state.tail.dropBelow(state.segments[at + fresh.length].baseOffset);',
    replace: ''
  },
  {
    name: 'cleaned-not-synced',
    breaks: 'cleaned segments are put in place before they are durable',
    file: 'compaction/cleaned-writer',
    find: 'await handle.sync();',
    replace: ''
  },
  {
    name: 'cleaner-keeps-oldest',
    breaks: 'of the records of a key the cleaner keeps an old one',
    file: 'compaction/batch-cleaner',
    find: 'if (offsets[j] >= this.#lastOffsets[j]) {',
    replace: 'if (offsets[j] <= this.#lastOffsets[j]) {'
  },
  {
    name: 'tombstones-too-early',
    breaks: 'a tombstone goes before its time',
    file: 'compaction/batch-cleaner',
    find: 'if (own === VALUE || keepsTombstones) {',
    replace: 'if (own === VALUE) {'
  },
  {
    name: 'cleaner-above-stable',
    breaks: 'the cleaner takes records of transactions that are not decided',
    file: 'compaction/cleanable',
    find: 'if (lastStableOffset < bound) {',
    replace: 'if (lastStableOffset < 0) {'
  },
  {
    name: 'cleaner-ignores-holds',
    breaks: 'the cleaner takes what a reader holds',
    file: 'compaction/cleanable',
    find: 'if (firstHeldOffset !== undefined && firstHeldOffset < bound) {',
    replace: 'if (firstHeldOffset === -1) {'
  },
  {
    name: 'retention-ignores-holds',
    breaks: 'records before a hold can be deleted',
    file: 'log/partition-log',
    find: 'this.#engine.parts.holds.assertFree(offset, this.#engine.parts.name);',
    replace: ''
  },
  {
    name: 'marker-over-unclean-logs',
    breaks: 'a directory is called clean though a log is not',
    file: 'store/store',
    find: 'slot.directory !== directory || slot.clean',
    replace: 'true'
  },
  {
    name: 'marker-not-taken-away',
    breaks: 'the mark of a clean close stays while logs change',
    file: 'store/data-directory',
    find: 'await putMarkerAside(this.#fs, this.path);\n',
    replace: ''
  },
  {
    name: 'topic-entry-after-folders',
    breaks: 'folders of a topic that is being made are not in the side-car first',
    file: 'store/topics',
    find: 'for (const directory of affected)\n                await directory.saveTopicsFile();',
    replace: ''
  },
  {
    name: 'deletion-not-noted',
    breaks: 'a topic is deleted without a note that it is to go',
    file: 'store/topic-removal',
    find: "await translated('sync', directory.path, () => this.#fs.syncDirectory(directory.path));\n    }\n    async #emptyTrash",
    replace: '}\n    async #emptyTrash'
  }
]

export const MUTANTS: readonly Mutant[] = [...MUTANTS_BY_RULE, ...FURTHER_MUTANTS]
