/** Kafka's own verdict on the files of a data directory: DumpLogSegments over every segment. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Agent } from './agent.ts'

const PARTITION = /^(?!__cluster_metadata-).+-\d+$/
const DUMPED = /^\d{20}\.(log|index|timeindex|txnindex|snapshot)$/

/** What the tool prints about sound files, line by line. Anything else is a complaint. */
const SOUND = [
  /^Dumping \S+$/,
  /^Log starting offset: \d+$/,
  /^baseOffset: \d+ .* magic: 2 .* isvalid: true$/,
  /^\| offset: \d+ (CreateTime|LogAppendTime): -?\d+ keySize: -?\d+ valueSize: -?\d+ .*headerKeys: \[.*\]/,
  /^offset: \d+ position: \d+$/,
  /^timestamp: \d+ offset: \d+$/,
  /^version: 0 producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+$/,
  /^producerId: \d+ producerEpoch: -?\d+ coordinatorEpoch: -?\d+ currentTxnFirstOffset: \S+ lastTimestamp: -?\d+/,
  /^\S+ is empty\.$/
]

/**
 * Lines in which DumpLogSegments complains about the partitions of a data directory that nobody is writing.
 * 4.3 calls the first record of every segment but the first "non-consecutive", for it takes the offset before
 * it to be -1 (of Kafka's own files too): that one line, with its heading, is left out.
 *
 * @param options.gaps - the logs are compacted: that offsets are missing is no complaint then, other order is.
 */
export async function dumpComplaints(agent: Agent, data: string, { gaps = false } = {}): Promise<string[]> {
  const complaints: string[] = []
  for (const partition of readdirSync(data).filter(name => PARTITION.test(name))) {
    const names = readdirSync(join(data, partition)).filter(name => DUMPED.test(name))
    const files = names.map(name => join(data, partition, name))
    if (files.length === 0) continue
    const { out, err } = await agent.dump(files)
    const odd = lines(out).filter(line => !SOUND.some(shape => shape.test(line)))
    const told = lines(err.replace(/^Non-consecutive offsets in \S+\n {2}-1 is followed by \d+\n(?! {2})/gm, ''))
    const wrong = gaps ? told.filter(line => !isGap(line)) : told
    complaints.push(...[...odd, ...wrong].map(line => `${partition}: ${line}`))
    if (lines(out).filter(line => line.startsWith('Dumping ')).length !== files.length) {
      complaints.push(`${partition}: it did not come to the last file`)
    }
  }
  return complaints
}

function isGap(line: string): boolean {
  const [, from, to] = /^ {2}(-?\d+) is followed by (\d+)$/.exec(line) ?? []
  return /^Non-consecutive offsets in /.test(line) || (from !== undefined && Number(from) < Number(to))
}

function lines(text: string): string[] {
  return text.split('\n').filter(line => line.trim() !== '')
}
