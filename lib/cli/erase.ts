/** `heartwood erase`: takes a key's records out of the files, and prints the receipt. */
import type { EraseReceipt } from '../log/erase-types.ts'
import { type Context, type DirOption, partitionsOf, UsageError, withStore } from './common.ts'
import { decodeText, type Encoding } from './encoding.ts'

export interface EraseCommandOptions extends DirOption {
  readonly topic: string
  readonly key: string
  readonly encoding: Encoding
  readonly partition: number | undefined
  readonly yes: boolean
  readonly json: boolean
}

export async function erase(options: EraseCommandOptions, context: Context): Promise<number> {
  const { dir, topic, yes } = options
  const key = decodeText(options.key, options.encoding)
  if (key.length === 0) throw new UsageError('--key is empty')
  // Without --yes nothing is changed, and a writer may go on beside it.
  return withStore(dir, { readOnly: !yes, createIfMissing: false }, async store => {
    const partitions = partitionsOf(store, topic, options.partition)
    let proven = true
    for (const partition of partitions) {
      const log = await store.openLog(topic, partition)
      await say(await log.eraseKey(key, { dryRun: true }), options, context)
      if (!yes) continue
      const receipt = await log.eraseKey(key)
      proven &&= receipt.proof?.holds === true
      await say(receipt, options, context)
    }
    if (!yes && !options.json) context.say('Nothing was changed: --yes does it.')
    await context.out.flush()
    return proven ? 0 : 1
  })
}

async function say(receipt: EraseReceipt, { json }: EraseCommandOptions, context: Context): Promise<void> {
  if (json) {
    const { topic, partition, ...rest } = receipt
    await context.out.json({ partition: `${topic}-${partition}`, ...rest })
    return
  }
  await context.out.write(`${receipt.topic}-${receipt.partition}: ${sentenceOf(receipt)}\n`)
}

function sentenceOf(receipt: EraseReceipt): string {
  const { dryRun, recordsFound, segmentsFound, proof } = receipt
  if (dryRun || proof === undefined)
    return `${recordsFound} record(s) of the key in ${segmentsFound} segment(s)${recordsFound > 0 ? ' will go' : ''}`
  const { decoded, raw, holds, foundIn } = proof
  const done =
    `${receipt.segmentsRewritten} segment(s) rewritten, ${receipt.recordsRemoved} record(s) and ` +
    `${receipt.bytesRemoved} bytes removed, ${receipt.quarantinePurged} quarantined file(s) purged. `
  const scanned =
    `${decoded.records} records in ${decoded.files} log file(s) decoded, ${raw.bytes} bytes in ${raw.files} file(s) ` +
    `searched for ${raw.values} value(s)${raw.valuesLeftOut > 0 ? ` (${raw.valuesLeftOut} left out)` : ''}: `
  const found = holds ? 'nothing of the key was found' : `something of the key was found in ${foundIn.join(', ')}`
  return done + scanned + found + tombstoneOf(receipt)
}

function tombstoneOf({ tombstoneOffset, tombstoneStaysMs }: EraseReceipt): string {
  if (tombstoneOffset === undefined) return '.'
  const until =
    tombstoneStaysMs === undefined
      ? 'until retention takes its segment'
      : `for ${tombstoneStaysMs} ms after the first cleaning that meets it`
  return `; its tombstone at offset ${tombstoneOffset} stays ${until}.`
}
