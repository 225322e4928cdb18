/** What a broker's log says about how it found its data directory. */

const STORAGE =
  / (INFO|WARN|ERROR) (kafka\.log\.|kafka\.cluster\.Partition|org\.apache\.kafka\.storage\.internals\.)\S* - /

/** What the storage classes of 3.9 and 4.3 say between start and service about a directory that was closed cleanly. */
const CLEAN = [
  /Loading logs from log dirs /,
  /Skipping recovery of \d+ logs from \S+ since clean shutdown file was found$/,
  /\] Loading producer state till offset \d+( with message format version 2)?$/,
  // The usual words also where a snapshot makes it a matter of nothing: `rebuilt` below looks closer.
  /\] Reloading from producer snapshot and rebuilding producer state from offset \d+$/,
  /\] Loading producer state from snapshot file 'SnapshotFile\(offset=\d+, file=\S+\)'$/,
  /\] Producer state recovery took \d+ms for snapshot load and \d+ms for segment recovery from offset \d+$/,
  /Deleted producer state snapshot \S+\.snapshot$/,
  /Completed load of Log\(/,
  /Loaded \d+ logs in \d+ms$/,
  /Starting log (cleanup|flusher) with a /,
  /Starting the log cleaner$/,
  /\[kafka-log-cleaner-thread-\d+\]: Starting$/,
  /\] Log loaded for partition \S+ with initial high watermark \d+$/
]

/**
 * Lines that show that the broker did more than open clean files when it started: recovered, rebuilt, truncated,
 * renamed or complained. Its own metadata log, which it always recovers, is left out.
 */
export function startComplaints(log: string): string[] {
  const lines = log.split('\n').filter(line => !line.includes('__cluster_metadata'))
  const served = lines.findIndex(line => line.includes('Kafka Server started'))
  const starting = lines.slice(0, served === -1 ? lines.length : served)
  const odd = starting.filter(line => STORAGE.test(line) && !CLEAN.some(shape => shape.test(line)))
  // At any later time too: a leader that cuts its own log does it when it takes office.
  const cut = lines.filter(line => !line.startsWith('\t') && /truncat|quarantin|stray|corrupt/i.test(line))
  if (!starting.some(line => line.includes('since clean shutdown file was found')))
    odd.push('no clean shutdown was found')
  return [...new Set([...odd, ...cut, ...rebuilt(starting)])]
}

/** Partitions whose producer state did not come whole from the snapshot at the end of the log. */
function rebuilt(lines: readonly string[]): string[] {
  const complaints: string[] = []
  for (const line of lines) {
    const till = /LogLoader partition=(\S+), dir=\S+ Loading producer state till offset (\d+)/.exec(line)
    if (till === null || till[2] === '0') continue
    const loaded = `[ProducerStateManager partition=${till[1]}] Loading producer state from snapshot file 'SnapshotFile(offset=${till[2]},`
    if (!lines.some(other => other.includes(loaded))) {
      complaints.push(`${till[1]}: no producer snapshot at the end of the log, offset ${till[2]}`)
    }
  }
  return complaints
}
