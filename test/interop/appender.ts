/**
 * Appends to a partition until it is killed: `appender DIR TOPIC PARTITION LABEL`. Prints {"index","offset"} for every
 * record as it is acknowledged. Some appends are always under way.
 */
import { Store } from '../../lib/index.ts'
import { openPartition, toInput } from './heartwood.ts'
import { testRecords } from './workload.ts'

const AT_ONCE = 16

async function main([dir = '', topic = '', partition = '0', label = '']: string[]): Promise<void> {
  process.stdin.on('end', () => process.exit(1)).resume()
  const store = await Store.open(dir)
  const log = await openPartition(store, topic, Number(partition))
  let next = 0
  const work = async (): Promise<void> => {
    for (;;) {
      const index = next
      next += 1
      const ack = await log.append(testRecords(label, 1, { from: index }).map(toInput))
      process.stdout.write(`${JSON.stringify({ index, offset: ack.baseOffset, level: ack.level })}\n`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

main(process.argv.slice(2)).catch(problem => {
  console.error(problem)
  process.exitCode = 1
})
