/** Appends that are made only if the log ends where the caller says. */
import t from 'tap'
import { sharedParts } from '../../lib/log/open-log.ts'
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { BatchView } from '../../lib/record/batch-view.ts'
import { encodeBatch } from '../../lib/record/encode-batch.ts'
import { isLogError } from '../../lib/util/errors.ts'
import { openLog } from '../helpers/logs.ts'
import { ManualClock } from '../helpers/manual-clock.ts'
import { memoryFolder } from '../helpers/partition-folder.ts'

async function made() {
  const fs = await memoryFolder({})
  const log = await openLog('/data', { shared: sharedParts({ fs, clock: new ManualClock() }) })
  return { fs, log }
}

async function values(log: PartitionLog): Promise<string[]> {
  const found: string[] = []
  for await (const record of log.records()) found.push(String(record.value))
  return found
}

const wrong = (expectedEndOffset: number, logEndOffset: number) => ({
  code: 'WRONG_EXPECTED_OFFSET',
  details: { expectedEndOffset, logEndOffset }
})

t.test('at the end it says, or not at all', async t => {
  const { log } = await made()
  await log.append([{ value: 'a' }, { value: 'b' }], { expectedEndOffset: 0 })
  await t.rejects(log.append([{ value: 'x' }], { expectedEndOffset: 0 }), wrong(0, 2))
  await t.rejects(log.append([{ value: 'x' }], { expectedEndOffset: 3 }), wrong(3, 2))
  await t.rejects(log.append([{ value: 'x' }], { expectedEndOffset: 3, compression: 'gzip' }), wrong(3, 2))
  t.equal(log.logEndOffset, 2)
  await log.append([{ value: 'c' }], { expectedEndOffset: 2, compression: 'gzip' })
  const batch = encodeBatch([{ value: 'd' }], { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', now: 0 })
  await t.rejects(log.appendBatch(batch, { expectedEndOffset: 2 }), wrong(2, 3))
  await log.appendBatch(batch, { expectedEndOffset: 3 })
  t.same(await values(log), ['a', 'b', 'c', 'd'])
  await log.close()
})

t.test('of many who expect the same end, one succeeds', async t => {
  const { log } = await made()
  for (let round = 0; round < 20; round += 1) {
    const { logEndOffset } = log
    const appends = Array.from({ length: 1 + round }, (_, i) =>
      log.append([{ value: `${round}.${i}` }], { expectedEndOffset: logEndOffset })
    )
    const settled = await Promise.allSettled(appends)
    t.same(
      settled.map(({ status }) => status),
      ['fulfilled', ...Array.from({ length: round }, () => 'rejected')]
    )
  }
  t.equal(log.logEndOffset, 20)
  await log.close()
})

t.test('counters that are read, raised and appended by many come out right', async t => {
  const { log } = await made()
  const raise = async (): Promise<void> => {
    for (;;) {
      // What it has read, and no more: others may have appended what readers do not see yet.
      const seen = await values(log)
      try {
        await log.append([{ value: String(Number(seen.at(-1) ?? 0) + 1) }], { expectedEndOffset: seen.length })
        return
      } catch (error) {
        if (!isLogError(error, 'WRONG_EXPECTED_OFFSET')) throw error
      }
    }
  }
  await Promise.all(Array.from({ length: 12 }, raise))
  t.same(
    await values(log),
    Array.from({ length: 12 }, (_, i) => String(i + 1))
  )
  await log.close()
})

t.test('what a failed write took back is not expected', async t => {
  const { fs, log } = await made()
  await log.append([{ value: 'a' }])
  fs.onCall = ({ operation }) => {
    if (operation === 'write') throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
  }
  const lost = [
    log.append([{ value: 'b' }], { expectedEndOffset: 1, ownBatch: true }),
    log.append([{ value: 'c' }], { expectedEndOffset: 2, ownBatch: true })
  ]
  for (const append of lost) await t.rejects(append, { code: 'NO_SPACE' })
  fs.onCall = undefined
  await log.append([{ value: 'd' }], { expectedEndOffset: 1 })
  t.same(await values(log), ['a', 'd'])
  await log.close()
})

t.test('a repeated idempotent batch is answered, whatever has come since', async t => {
  const { log } = await made()
  const producer = { producerId: 7, producerEpoch: 0, baseSequence: 0, expectedEndOffset: 0 }
  await log.append([{ value: 'a' }], producer)
  await log.append([{ value: 'b' }])
  t.match(await log.append([{ value: 'a' }], producer), { duplicate: true, baseOffset: 0 })
  const next = { ...producer, baseSequence: 1 }
  await t.rejects(log.append([{ value: 'c' }], next), wrong(0, 2))
  // Nothing of the refused one is remembered: its sequence is free.
  t.match(await log.append([{ value: 'c' }], { ...next, expectedEndOffset: 2 }), { duplicate: false, baseOffset: 2 })
  await log.close()
})

t.test('what is no offset, and what has offsets of its own', async t => {
  const { log } = await made()
  for (const expectedEndOffset of [-1, 0.5, Number.NaN, '0' as unknown as number]) {
    await t.rejects(log.append([{ value: 'x' }], { expectedEndOffset }), { code: 'INVALID_REQUEST' })
  }
  const batch = encodeBatch([{ value: 'd' }], { baseOffset: 0, leaderEpoch: 0, timestampType: 'CreateTime', now: 0 })
  t.equal(new BatchView(batch).baseOffset, 0)
  await t.rejects(log.appendAsFollower(batch, { expectedEndOffset: 0 }), { code: 'INVALID_REQUEST' })
  const marker = { type: 'abort', producerId: 1, producerEpoch: 0 } as const
  await t.rejects(log.appendEndTransaction(marker, { expectedEndOffset: 0 }), { code: 'INVALID_REQUEST' })
  t.equal(log.logEndOffset, 0)
  await log.close()
})

t.test('an append that waited for room is held against the end of then', async t => {
  const { log } = await made()
  const cut = log.truncateTo(0)
  const waited = [
    log.append([{ value: 'a' }], { expectedEndOffset: 0 }),
    log.append([{ value: 'b' }], { expectedEndOffset: 0 }),
    log.append([{ value: 'c' }], { expectedEndOffset: 1 })
  ]
  await cut
  await t.rejects(waited[1] as Promise<unknown>, wrong(0, 1))
  await Promise.all([waited[0], waited[2]])
  t.same(await values(log), ['a', 'c'])
  await log.close()
})
