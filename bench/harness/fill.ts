/** Writes the log that a question is going to read, through the engine that is going to read it. */
import { loadEngine, RivalMissing } from '../engines/load.ts'
import { appendsOf, recordPool } from './data.ts'
import type { Context, Shape } from './question.ts'

/**
 * Fills `context.kept` as the row's parameters say: `keyBytes`, `valueBytes`, `headers`, `records`, and `batch`, the
 * records of one append. Every append is acknowledged before the next, so that none share a batch.
 *
 * @throws {RivalMissing} when the contestant is not installed or does not append.
 */
export async function fillLog({ contestant, kept, row }: Context): Promise<void> {
  const { params } = row
  const records = Number(params['records'])
  const batch = Number(params['batch'])
  const shape: Shape = {
    keyBytes: Number(params['keyBytes']),
    valueBytes: Number(params['valueBytes']),
    headers: Number(params['headers'] ?? 0)
  }
  const appends = appendsOf(recordPool(shape), batch)
  const appender = await (await loadEngine(contestant)).appender?.(kept, 'written')
  if (appender === undefined) throw new RivalMissing(`${contestant} does not append`)
  for (let i = 0; i < records / batch; i += 1) await appender.append(appends[i % appends.length]!)
  await appender.close()
}
