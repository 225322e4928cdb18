/**
 * What the engine loads when it first needs it comes when the machine has it, after any number of turns of the event
 * loop. Simulated time goes by turns, so all of it is loaded before.
 */
import { makeKeyHash } from '../../lib/compaction/key-hash.ts'
import { MemoryFileSystem } from '../../lib/fs/memory-file-system.ts'
import { digestOf } from '../../lib/log/segment-digest.ts'

let done: Promise<void> | undefined

export function warmUp(): Promise<void> {
  done ??= load()
  return done
}

async function load(): Promise<void> {
  const fs = new MemoryFileSystem()
  const path = '/00000000000000000000.log'
  await (await fs.open(path, 'create')).close()
  await digestOf(fs, path)
  await makeKeyHash(Uint32Array.of(1, 2, 3, 4))
}
