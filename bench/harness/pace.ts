/** Does something at a steady rate, whatever comes of it meanwhile: an open loop, so that nobody waits for a slow one. */
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Calls `act` with 0, 1, 2 ... at `perSecond` for so many milliseconds, as closely as timers of a millisecond allow:
 * what is due is done at once. Resolves when all that was begun has ended.
 *
 * @returns how many calls there were.
 */
export async function pace(
  { perSecond, milliseconds }: { readonly perSecond: number; readonly milliseconds: number },
  act: (index: number) => Promise<unknown>
): Promise<number> {
  const wanted = Math.ceil((perSecond * milliseconds) / 1000)
  const begun: Promise<unknown>[] = []
  const from = performance.now()
  while (begun.length < wanted) {
    const due = Math.min(wanted, Math.floor(((performance.now() - from) * perSecond) / 1000) + 1)
    while (begun.length < due) begun.push(act(begun.length))
    await sleep(1)
  }
  await Promise.all(begun)
  return wanted
}
