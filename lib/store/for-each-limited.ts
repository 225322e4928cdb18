/**
 * Calls `f` for every item, at most `limit` at a time, in order of beginning.
 *
 * @throws what the first failing call threw, after those that had begun have settled. None begins after a failure.
 */
export async function forEachLimited<T>(
  items: Iterable<T>,
  limit: number,
  f: (item: T) => Promise<void>
): Promise<void> {
  const waiting = items[Symbol.iterator]()
  let failure: { error: unknown } | undefined
  const work = async (): Promise<void> => {
    while (failure === undefined) {
      const next = waiting.next()
      if (next.done === true) return
      try {
        await f(next.value)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, work))
  if (failure !== undefined) throw failure.error
}
