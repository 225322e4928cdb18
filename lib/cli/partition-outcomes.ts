/** What commands over many partitions say of them: what was done for some, and why not for others. */
import type { Context } from './common.ts'

interface Named {
  readonly topic: string
  readonly partition: number
}

interface Failed extends Named {
  readonly error: { readonly code: string; readonly message: string }
}

export const nameOf = ({ topic, partition }: Named): string => `${topic}-${partition}`

/** Those for which it went well. */
export function succeeded<T extends Named>(partitions: readonly (T | Failed)[]): T[] {
  return partitions.flatMap(each => ('error' in each ? [] : [each]))
}

/** Says of each of the others why not, after all that was printed. @returns the exit status. */
export async function tellFailures(
  partitions: readonly (Named | Failed)[],
  { json }: { readonly json: boolean },
  context: Context
): Promise<number> {
  let status = 0
  for (const each of partitions) {
    if (!('error' in each)) continue
    status = 1
    const { code, message } = each.error
    if (json) await context.out.json({ partition: nameOf(each), error: { code, message } })
    else context.say(`heartwood: ${nameOf(each)}: ${code}: ${message}`)
  }
  await context.out.flush()
  return status
}
