/** The checker is checked: each thing that it is there to find is put before it. */
import t from 'tap'
import type { FoundBatch, FoundLog } from './found.ts'
import type { Line } from './lines.ts'
import { LogModel } from './model.ts'
import { TOPICS } from './topics.ts'

const EVENTS = TOPICS['events']!

/** Appends of one record each, acknowledged as synced at 0, 1, 2 … */
function written(count: number, rules = EVENTS): LogModel {
  const model = new LogModel('events', rules)
  for (let i = 0; i < count; i += 1) for (const line of append(i, i)) model.tell(line)
  return model
}

function append(sent: number, at: number, level: 'synced' | 'written' | 'accepted' = 'synced'): Line[] {
  return [
    { sent, log: 'events', records: [[null, `v${sent}`]] },
    { acked: sent, at, level, duplicate: false }
  ]
}

const batch = (offset: number, number: number, value = `v${number}`): FoundBatch => ({
  base: offset,
  last: offset,
  producerId: -1,
  transactional: false,
  marker: undefined,
  records: [{ offset, key: null, value, number, place: 0 }]
})

function log(batches: readonly FoundBatch[], more: Partial<FoundLog> = {}): FoundLog {
  const end = (batches.at(-1)?.last ?? -1) + 1
  const committed = batches.flatMap(({ records }) => records.map(({ offset }) => offset))
  return { start: batches[0]?.base ?? 0, end, lastStableOffset: end, batches, committed, ...more }
}

t.test('what is there as it was acknowledged is right after any ending', async t => {
  for (const ending of ['close', 'kill', 'power'] as const)
    t.same(written(3).check(log([batch(0, 0), batch(1, 1), batch(2, 2)]), ending, true), [])
})

t.test('each thing that must not be is found', async t => {
  const found = (what: FoundLog, model = written(3)): string => model.check(what, 'power', true).join('; ')
  t.match(found(log([batch(0, 0), batch(1, 1)])), 'acknowledged as synced at 2 and is lost')
  t.match(found(log([batch(0, 0), batch(1, 2)])), 'append 2 at 1 was acknowledged at 2')
  t.match(found(log([batch(0, 0), batch(2, 2)])), 'after 0 comes 2')
  t.match(found(log([batch(0, 0), batch(1, 1), batch(2, 2, 'else')])), 'another content')
  t.match(found(log([batch(0, 0), batch(1, 1), batch(2, 2), batch(3, 2)])), 'there twice')
  t.match(found(log([batch(0, 0), batch(1, 1), batch(2, 2), batch(3, 9)])), 'never sent')
  t.match(found(log([batch(1, 1), batch(2, 2)], { start: 1 })), 'it may begin at 0 to 0')
  t.match(found(log([batch(0, 0), batch(1, 1), batch(2, 2)], { committed: [0, 2] })), 'read_committed reader misses 1')
  t.match(found(log([batch(0, 0), batch(1, 1), batch(2, 2)], { lastStableOffset: 2 })), 'last stable offset is 2')
})

t.test('levels are worth what they say: written outlives the process, accepted does not', async t => {
  const model = (level: 'written' | 'accepted'): LogModel => {
    const made = written(1, TOPICS['clicks']!)
    for (const line of append(1, 1, level)) made.tell(line)
    return made
  }
  const found = log([batch(0, 0)])
  t.match(model('written').check(found, 'kill', true).join(), 'acknowledged as written at 1 and is lost')
  t.same(model('written').check(found, 'power', true), [])
  t.same(model('accepted').check(found, 'kill', true), [])
  t.match(model('accepted').check(found, 'close', true).join(), 'is lost')
})

t.test('what was cut off, refused or found lost does not come back', async t => {
  const cut = written(3)
  cut.tell({ cutting: 'events', to: 1 })
  cut.tell({ cut: 'events' })
  t.match(cut.check(log([batch(0, 0), batch(1, 1)]), 'power', true).join(), 'append 1 at 1 is back')
  // The first cut was refused, the second one made: what lies between is there still.
  const again = written(4)
  for (const to of [1, 3]) again.tell({ cutting: 'events', to })
  again.tell({ cut: 'events' })
  t.same(again.check(log([batch(0, 0), batch(1, 1), batch(2, 2)]), 'power', true), [])
  const refused = written(1)
  refused.tell({ sent: 1, log: 'events', records: [[null, 'v1']] })
  refused.tell({ refused: 1, code: 'NO_SPACE' })
  t.match(refused.check(log([batch(0, 0), batch(1, 1)]), 'power', true).join(), 'append 1 at 1 is back')
  const lost = written(1)
  lost.tell({ sent: 1, log: 'events', records: [[null, 'v1']] })
  t.same(lost.check(log([batch(0, 0)]), 'power', true), [])
  t.match(lost.check(log([batch(0, 0), batch(1, 1)]), 'power', true).join(), 'append 1 at 1 is back')
})

t.test('an append that is tried again is there once, and told to be a duplicate', async t => {
  const model = written(2)
  model.tell({ sent: 1, log: 'events', records: [[null, 'v1']] })
  t.throws(() => model.tell({ acked: 1, at: 2, level: 'synced', duplicate: false }), /was at 1, and is appended again/)
})

t.test('a sequence of unknown fate is tried again by its own append, or its epoch is over', async t => {
  const model = new LogModel('events', EVENTS)
  const send = (sent: number): void => {
    const producer = { id: 1, epoch: 4, sequence: sent, transactional: false }
    model.tell({ sent, log: 'events', records: [[null, `v${sent}`]], producer })
  }
  for (const sent of [0, 1, 2]) send(sent)
  t.match(model.resume(), { epoch: 4, nextSequence: 3, retries: [{ sent: 0 }, { sent: 1 }, { sent: 2 }] })
  send(3)
  t.match(model.resume(), { epoch: 5, nextSequence: 0, retries: [] })
})

t.test('of a compacted log, a record goes only if a later one of its key is there', async t => {
  const model = new LogModel('table', TOPICS['table']!)
  const send = (sent: number, key: string, at: number): void => {
    model.tell({ sent, log: 'table', records: [[key, `v${sent}`]] })
    model.tell({ acked: sent, at, level: 'synced', duplicate: false })
  }
  send(0, 'a', 0)
  send(1, 'b', 1)
  send(2, 'a', 2)
  const keyed = (offset: number, key: string): FoundBatch => {
    const plain = batch(offset, offset)
    return { ...plain, records: plain.records.map(record => ({ ...record, key })) }
  }
  const start = { start: 0 }
  t.same(model.check(log([keyed(1, 'b'), keyed(2, 'a')], start), 'power', false), [])
  t.match(model.check(log([keyed(0, 'a'), keyed(2, 'a')], start), 'power', true).join(), 'append 1 was acknowledged')
})
