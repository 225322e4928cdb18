import type { Mutant } from './mutants.ts'

/** What was asked of the simulator after the first ones: what is under way, derived data, recovery, closing. */
export const FURTHER_MUTANTS: readonly Mutant[] = [
  {
    name: 'failed-sync-believed',
    breaks: 'a sync that failed counts as one that did not',
    file: 'segment/log-file',
    find: `this.#syncFailed ??= new LogError('SYNC_FAILED', cause.message, cause.details, error);
            throw this.#syncFailed;`,
    replace: 'void cause;'
  },
  {
    name: 'poison-ignored',
    breaks: 'a log whose sync failed takes further appends',
    file: 'log/writer',
    find: "state.condition = 'poisoned';",
    replace: ''
  },
  {
    name: 'ack-when-written',
    breaks: 'whoever asked for synced is told when it is written',
    file: 'log/writer',
    find: 'this.writtenAcks.passed(state.writtenOffset);',
    replace: `this.writtenAcks.passed(state.writtenOffset);
        this.syncedAcks.passed(state.writtenOffset);`
  },
  {
    name: 'sealed-without-sync',
    breaks: 'a segment that is full counts as durable without a sync',
    file: 'segment/segment',
    find: `await this.#log.trim();
        await this.#log.sync();`,
    replace: 'await this.#log.trim();'
  },
  {
    name: 'index-not-cut',
    breaks: 'a cut leaves the entries of what went in the indexes',
    file: 'segment/segment',
    find: 'await this.#indexes.truncateTo(offset); // G2',
    replace: ''
  },
  {
    name: 'cut-segments-stay',
    breaks: 'segments behind a cut stay in the folder',
    file: 'log/segment-keeper',
    find: `for (const segment of gone.reverse())
                await segment.delete();`,
    replace: 'gone.reverse();'
  },
  {
    name: 'recovery-takes-gaps',
    breaks: 'recovery takes batches of offsets that were given already',
    file: 'log/recovery-scan',
    find: 'if (baseOffset < this.#nextOffset)',
    replace: 'if (baseOffset < 0)'
  },
  {
    name: 'recovery-drops-last-batch',
    breaks: 'recovery cuts a sound last batch off',
    file: 'log/recovery-scan',
    find: 'this.#position += batch.size;',
    replace: `this.#position += batch.size;
        if (this.#position === this.#options.to && this.#batches > 1) this.#position -= batch.size, this.#options.to = this.#position;`
  },
  {
    name: 'offset-index-off-by-one',
    breaks: 'the offset index leads behind the batch that is looked for',
    file: 'segment/segment-lookup',
    find: 'const from = count === 0 ? 0 : index.positionAt(count - 1);',
    replace: 'const from = count === 0 ? 0 : index.positionAt(Math.min(count, index.entryCount - 1));'
  },
  {
    name: 'largest-time-not-kept',
    breaks: 'the time index keeps the newest timestamp, not the largest',
    file: 'segment/index-builder',
    find: 'timestamp <= this.#largest.timestamp',
    replace: 'timestamp < 0'
  },
  {
    name: 'time-of-last-record',
    breaks: 'the time index names the first record of the next batch',
    file: 'segment/index-builder',
    find: 'this.#largest = { timestamp, offset };',
    replace: 'this.#largest = { timestamp, offset: offset + 1 };'
  },
  {
    name: 'retention-one-too-many',
    breaks: 'retention keeps one offset less than it is told to',
    file: 'log/retention',
    find: 'behind(index) >= retentionRecords',
    replace: 'behind(index) >= retentionRecords - 8'
  },
  {
    name: 'aborts-forgotten',
    breaks: 'an aborted transaction is told as a committed one',
    file: 'log/producer-state',
    find: `if (!completed.aborted)
            return undefined;`,
    replace: 'return undefined;'
  },
  {
    name: 'snapshot-at-close-missing',
    breaks: "closing takes the producers' state for saved",
    file: 'log/segment-keeper',
    find: 'await snapshots.take(state.logEndOffset, state.producers);',
    replace: ''
  },
  {
    name: 'closes-before-the-sync',
    breaks: 'the active segment is not synced at closing',
    file: 'log/segment-keeper',
    find: 'await this.#poisoning(() => state.active.seal());',
    replace: ''
  },
  {
    name: 'checkpoint-ahead',
    breaks: 'closing a directory leaves the mark of a clean close whatever failed',
    file: 'store/store',
    find: 'clean && whole ? directory.closeCleanly()',
    replace: 'true ? directory.closeCleanly()'
  },
  {
    name: 'position-of-neighbour',
    breaks: 'a batch is noted at the place of the one in front of it',
    file: 'log/writer',
    find: 'batch.position = segment.size + size;',
    replace: 'batch.position = segment.size;'
  },
  {
    name: 'commits-taken-for-aborts',
    breaks: 'a committed transaction is told as an aborted one',
    file: 'log/producer-state',
    find: 'if (!completed.aborted)\n            return undefined;',
    replace: ''
  },
  {
    name: 'stable-offset-behind-marker',
    breaks: 'a transaction that was ended holds readers of committed data back',
    file: 'log/producer-state',
    find: 'this.#undecided.onHighWatermark(highWatermark);',
    replace: ''
  },
  {
    name: 'shown-one-short',
    breaks: 'the last record that was written is not counted as written',
    file: 'log/writer',
    find: 'this.#state.writtenOffset = batch.lastOffset + 1;',
    replace: 'this.#state.writtenOffset = batch.lastOffset;'
  },
  {
    name: 'offsets-of-failed-appends-kept',
    breaks: 'the offsets of an append that failed are not given to the next one',
    file: 'log/writer',
    find: 'this.#state.takeBackTo(end);',
    replace: ''
  }
]
