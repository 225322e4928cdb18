/** R8: what indexes, caches and side files answer is what a scan finds, and what the outside world was told. */
import type { PartitionLog } from '../../lib/log/partition-log.ts'
import { type History, Violation } from './history.ts'
import type { Observation } from './observation.ts'
import type { Random } from './random.ts'

const LOOKUPS = 3

export async function checkLookups(log: PartitionLog, seen: Observation, random: Random): Promise<void> {
  const records = seen.batches.flatMap(batch => batch.records).filter(({ offset }) => offset >= seen.start)
  if (records.length === 0) return
  for (let n = 0; n < LOOKUPS; n += 1) {
    const { offset, value, timestamp } = random.pick(records)
    const got = await log.get(offset)
    if ((got?.value?.toString() ?? null) !== value)
      throw new Violation(`R8: get ${offset} is ${got?.value}, not ${value}`)
    const { batches, baseOffset, nextOffset } = await log.read(offset, { maxBytes: random.between(1, 800) })
    if (batches.length === 0 || baseOffset === undefined || baseOffset > offset || nextOffset <= offset)
      throw new Violation(`R8: reading at ${offset} gives ${baseOffset} to ${nextOffset}`)
    const wanted = timestamp - random.below(2)
    const first = records.find(record => record.timestamp >= wanted)
    const found = await log.offsetForTimestamp(wanted)
    if (found?.offset !== first?.offset)
      throw new Violation(`R8: the first record from ${wanted} on is ${first?.offset}, and ${found?.offset} was found`)
  }
}

/** Of a log that was opened and has not been written to since. */
export async function checkDerived(log: PartitionLog, history: History, seen: Observation): Promise<void> {
  checkEpochs(log, history, seen)
  checkHold(log, history)
  await checkOpenTransactions(log, history)
}

/** An epoch ends behind its last batch, and no later than the next one begins. */
function checkEpochs(log: PartitionLog, { name }: History, { batches, start, end }: Observation): void {
  for (const [index, { leaderEpoch, nextOffset }] of batches.entries()) {
    const next = batches[index + 1]
    if (nextOffset <= start || next?.leaderEpoch === leaderEpoch) continue
    const found = log.endOffsetFor(leaderEpoch)
    const latest = next?.baseOffset ?? end
    if (found?.epoch !== leaderEpoch || found.endOffset < nextOffset || found.endOffset > latest)
      throw new Violation(
        `R8: ${name}: epoch ${leaderEpoch} ends between ${nextOffset} and ${latest}, not ${JSON.stringify(found)}`
      )
  }
}

/** A hold that was promised is there after every crash, and keeps no less than was promised. */
function checkHold(log: PartitionLog, { name, hold }: History): void {
  if (hold === undefined) return
  const found = log.holds().find(each => each.name === 'reader')
  if (found === undefined || found.brokenMs !== undefined || found.offset > hold)
    throw new Violation(`${name} was held from ${hold} on: ${JSON.stringify(found)}`)
}

async function checkOpenTransactions(log: PartitionLog, history: History): Promise<void> {
  // What of them may have been forgotten is not known yet.
  if (history.missingBefore.length > 0) return
  const firsts = new Map<number, number>()
  for (const [offset, { attempt, outcome }] of history.inOrder()) {
    const producer = attempt.producerId as number
    if (attempt.kind === 'transact' && outcome === undefined && !firsts.has(producer)) firsts.set(producer, offset)
  }
  const wanted = [...firsts].sort(([, a], [, b]) => a - b).map(([producer, offset]) => `${producer} from ${offset}`)
  const open = await log.openTransactions()
  const found = open.map(({ producerId, firstOffset }) => `${producerId} from ${firstOffset}`)
  if (found.join() !== wanted.join())
    throw new Violation(`T1: ${history.name}: open are the transactions of ${found.join()}, not of ${wanted.join()}`)
}
