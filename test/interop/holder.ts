/**
 * Opens a store for writing and holds it until its input ends: `holder DIR`. Prints {"lock"}, or {"code","message"} when
 * it was refused.
 */
import { isLogError, Store } from '../../lib/index.ts'

async function main(dir: string): Promise<void> {
  let store: Store
  try {
    store = await Store.open(dir)
  } catch (problem) {
    if (!isLogError(problem)) throw problem
    console.log(JSON.stringify({ code: problem.code, message: problem.message }))
    return
  }
  console.log(JSON.stringify({ lock: store.status().directories[0]?.lock }))
  await new Promise(resolve => process.stdin.on('end', resolve).resume())
  await store.close()
}

main(process.argv[2] ?? '').catch(problem => {
  console.error(problem)
  process.exitCode = 1
})
