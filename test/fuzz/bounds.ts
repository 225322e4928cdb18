/**
 * Runs a decoder on one input and holds it against what is promised of every decoder: it decodes, or refuses with a
 * code of its own; it takes at most 8 bytes of memory for a byte of input and output, and 16 MiB; and at most 1 ms of
 * processor time for a KiB of both, and 50 ms.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isLogError } from '../../lib/util/errors.ts'
import { KiB, MiB } from '../../lib/util/sizes.ts'
import type { Target } from './target.ts'

const LEAST_MEMORY = 16 * MiB
const MEMORY_A_BYTE = 8
const LEAST_MS = 50
const MS_A_KIB = 1
/** A collection of garbage may fall into one run, and a busy machine slows others: the best of so many counts. */
const TRIES = 5

/** `undefined` if it was decoded, else the code of the refusal. */
export type Verdict = string | undefined

/** @throws whatever else the decoder throws, and what it took beyond its bounds. */
export async function verdictOf(target: Target, input: Buffer): Promise<Verdict> {
  for (let attempt = 1; ; attempt += 1) {
    if (attempt > 1) collectGarbage()
    const { verdict, excess } = await measured(target, input)
    if (excess === undefined) return verdict
    if (attempt === TRIES) throw new Error(excess)
  }
}

async function measured(target: Target, input: Buffer): Promise<{ verdict: Verdict; excess: string | undefined }> {
  // The decoder may keep what it is given, or a view of it.
  const given = Buffer.from(input)
  const memoryBefore = memory()
  const timeBefore = process.cpuUsage()
  let verdict: Verdict
  let output = 0
  try {
    const decoded = target.decode(given)
    output = typeof decoded === 'number' ? decoded : await decoded
  } catch (error) {
    if (!isLogError(error) || !target.refusals.includes(error.code)) throw error
    verdict = error.code
  }
  const { user, system } = process.cpuUsage(timeBefore)
  const took = (user + system) / 1000
  // Garbage counts too, so this is above what is held at any time.
  const grown = memory() - memoryBefore
  const bytes = input.length + output
  if (!given.equals(input)) throw new Error('the decoder changed its input')
  const mayTake = LEAST_MS + (MS_A_KIB * bytes) / KiB
  if (took > mayTake) return { verdict, excess: `${took.toFixed(0)} ms of processor time for ${bytes} bytes` }
  if (grown > MEMORY_A_BYTE * bytes + LEAST_MEMORY) return { verdict, excess: `${grown} bytes of memory for ${bytes}` }
  return { verdict, excess: undefined }
}

function memory(): number {
  // `process.memoryUsage` says the same and reads a file of the kernel each time.
  const { used_heap_size, external_memory } = getHeapStatistics()
  return used_heap_size + external_memory
}

let collect: (() => void) | undefined

function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
}
