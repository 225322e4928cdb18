/** What heartwood aims at, by number; the limits themselves are in the rows of the questions. */
export const GOALS: readonly (readonly [name: string, says: string])[] = [
  ['P1', 'append 100 B records, 1,000 an append, not synced'],
  ['P2', 'append 1 KiB records, 100 an append, not synced'],
  ['P3', 'append one 100 B record a call, not synced, a promise for each call'],
  ['P4', 'durable, one record an acknowledgement, 1 and 64 writers'],
  ['P5', 'scan 100 B records with the CRC checked: cursor, lazy records, eager objects'],
  ['P6', 'point read by offset from a warm log of a million records'],
  ['P7', 'open: time does not depend on the size of the log; 1,000 and 10,000 partitions'],
  ['P8', 'recovery after a kill, against the rate of the CRC'],
  ['P9', 'bytes on the disk for a 100 B record, indexes included'],
  ['P10', 'memory over 10 GB, memory when idle, stalls of the event loop'],
  ['P11', 'growth: what a step costs at 100 GB against 100 MB'],
  ['P12', 'compaction: its rate, what appends beside it feel, memory beyond the map'],
  ['P13', 'the set-up of the Kafka paper: 250,000 msg/s in, 550,000 msg/s out, and ten times both'],
  ['P14', 'served over the Kafka protocol']
]

/** Goals that no question can measure yet, and why. */
export const LATER: Readonly<Record<string, string>> = {
  P14: 'comes with the server'
}
