/** Appends eight records, one after the other, and ends without closing the log. */
import { openLog } from '../helpers/logs.ts'

async function main(dir: string): Promise<void> {
  const log = await openLog(dir)
  for (let i = 0; i < 8; i += 1) await log.append([{ value: `${i}` }])
}

main(process.argv[2]!).catch(error => {
  console.error(error)
  process.exitCode = 1
})
